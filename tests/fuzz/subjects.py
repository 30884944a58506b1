"""Folders that the fuzzer mutates: runs, trainings, a bundle, an index, data, vectors, a space."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optuna.storages._rdb.storage import _VersionManager
from optuna.trial import TrialState

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.datasets import load_collection
from quantum_rerank.embeddings import source_of
from quantum_rerank.reranker import Reranker
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.run_results import BEST_MODELS, BUNDLE, METRICS_FILE
from quantum_rerank.training.trial_data import PreparedData
from quantum_rerank.workflows.train import RunListener, train_run
from tests.integration.conftest import write_domains
from tests.tuning.trained_trial import train_an_epoch
from tuning.records import FAILURE, PEAK_RSS_MB, SECONDS, Failure, FailureKind
from tuning.reporting.events import EventLog
from tuning.space import Space
from tuning.space.file import load_space
from tuning.study import attributes
from tuning.study.resuming import enqueue_missing
from tuning.study.run_folder import (
    BEST,
    EVENTS,
    LOG,
    RECORD,
    SUMMARY,
    open_study,
    read_record,
    recorded_run,
    write_record,
)
from tuning.study.storage import STUDY, TRIALS
from tuning.study.trial_files import TrialFiles

DATA, RUN, TRAINING, KILLED, INDEX, SPACE = "data", "run", "training", "killed", "index", "space"
DOMAINS = ("seen", "near", "far")

# State of each trial, and its objective by epoch.
_TRIALS = (
    (TrialState.COMPLETE, (0.3, 0.5)),
    (TrialState.PRUNED, (0.4,)),
    (TrialState.FAIL, (0.2,)),
    (TrialState.COMPLETE, (0.3, 0.4)),
)
_SMALL = {
    "circuit.n_qubits": 2,
    "circuit.n_layers": 1,
    "mlp.hidden_layers": [8],
    "warmup.steps": 0,
    "loss.negatives": 3,
    "training.batch_size": 8,
    "training.max_epochs": 2,
}


def isolate(root: Path) -> None:
    """Keep caches, temporary files and the state of the user below a folder, for this process.

    Optuna reads its migrations once, not at each open of a storage, which takes a quarter of a
    second; torch uses one thread, as after a fork.
    """
    for variable, name in (("QUANTUM_RERANK_CACHE", "cache"), ("XDG_STATE_HOME", "state")):
        os.environ[variable] = str(root / "work" / name)
    os.environ |= {"COLUMNS": "150", "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    tempfile.tempdir = str(root)
    torch.set_num_threads(1)
    read, scripts = _VersionManager._create_alembic_script, list[Any]()

    def read_once(manager: _VersionManager) -> Any:
        if not scripts:
            scripts.append(read(manager))
        return scripts[0]

    _VersionManager._create_alembic_script = read_once  # type: ignore[method-assign]


def make_subjects(root: Path) -> None:
    """Write all folders below a root; the paths in them are absolute."""
    write_domains(root / DATA, times=0.1)
    _write_tables(root / DATA)
    config = _config(root)
    source = source_of(config.data)
    prepared = prepare(config.data, source)
    space = _write_space(root)
    _write_training(root, config)
    _write_run(root, space, prepared)
    reranker = Reranker.load(root / RUN / BEST)
    vectors = np.load(root / DATA / "vectors" / "beir-seen" / "corpus.npy")[:20]
    reranker.index_embeddings(np.concatenate([vectors, vectors[:2]]), root / INDEX)


def _config(root: Path) -> ExperimentConfig:
    seen, near, far = (f"beir:{root / DATA / name}" for name in DOMAINS)
    data = {
        "data.seen": [seen],
        "data.unseen_validation": [near],
        "data.unseen_test": [far],
        "data.encoder": f"npy:{root / DATA / 'vectors'}",
        "data.candidates": 5,
    }
    return override(ExperimentConfig(), _SMALL | data)


def _write_tables(folder: Path) -> None:
    """Write a domain in further formats."""
    collection = load_collection(f"beir:{folder / 'seen'}")
    rows = [
        {"query": collection.queries[query], "document": collection.corpus[document], "label": 1}
        for query, judged in list(collection.qrels.items())[:20]
        for document in judged
    ]
    lines = ["query,document,label", *(",".join(map(str, row.values())) for row in rows)]
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows), folder / "table.parquet")


def _write_space(root: Path) -> Space:
    folder = root / SPACE
    folder.mkdir()
    content = _config(root).model_dump(mode="json", include={"data", "circuit", "mlp", "training"})
    (folder / "base.yaml").write_text(json.dumps(content), encoding="utf-8")
    space = {
        "name": "small",
        "base": "base.yaml",
        "fixed": {"warmup.steps": 0, "loss.negatives": 3},
        "objective": {"metric": "ndcg@10", "mode": "max"},
        "budget": {"trials": 6, "epochs": 2, "hours": 0.1, "trial_memory_gb": 1.5},
        "sampler": {"name": "tpe", "seed": 7, "startup_trials": 3},
        "scheduler": {"name": "asha", "grace_period": 1, "reduction_factor": 2},
        "start_from": [{}],
        "top_k": 2,
        "confirm_seeds": 0,
        "parameters": {
            "optimizer.mlp_lr": {"type": "float", "low": 0.0003, "high": 0.3, "log": True},
            "circuit.n_qubits": {"type": "int", "low": 2, "high": 3},
            "loss.name": {"type": "categorical", "choices": ["triplet", "infonce"]},
            "loss.margin": {
                "type": "float", "low": 0.1, "high": 0.8, "when": {"loss.name": ["triplet"]},
            },
        },
    }  # fmt: skip
    (folder / "space.yaml").write_text(json.dumps(space), encoding="utf-8")
    return load_space(folder / "space.yaml", {})


def _write_training(root: Path, config: ExperimentConfig) -> None:
    """Write a finished training, and the same one as a kill leaves it."""
    train_run(root / TRAINING, config, ["mlp_twin"], RunListener())
    shutil.copytree(root / TRAINING, root / KILLED)
    for name in (BUNDLE, BEST_MODELS):
        shutil.rmtree(root / KILLED / name)
    (root / KILLED / METRICS_FILE).unlink()


def _write_run(root: Path, space: Space, prepared: PreparedData) -> None:
    folder = root / RUN
    folder.mkdir()
    write_record(space, prepared, folder)
    run = recorded_run(read_record(folder))
    study, files = open_study(folder, space.header.name), TrialFiles(str(folder / TRIALS))
    attributes.write_budget(study, space.header.budget.model_dump(mode="json"))
    session = {"started": "2026-01-01T00:00:00+00:00", "host": "here", "pid": 1, "seconds": 9.0}
    attributes.write_session(study, 1, {**session, "core_seconds": 8.0, "ended": ""})
    enqueue_missing(study, space)
    events = EventLog(folder / EVENTS)
    for state, values in _TRIALS:
        trial = study.ask()
        config = space.config_for(space.suggest(trial), trial.number)
        events.trial_started(trial.number, config)
        for epoch, value in enumerate(values, start=1):
            trial.report(value, epoch)
            events.trial_reported(trial.number, epoch, {"objective": value, "seconds": epoch})
        trial.set_user_attr(SECONDS, 1.5)
        trial.set_user_attr(PEAK_RSS_MB, 600.0)
        if state == TrialState.FAIL:
            trial.set_user_attr(FAILURE, Failure(FailureKind.WORKER_LOST, "killed").as_record())
        else:
            train_an_epoch(trial, config, prepared.trial, files, run)
        study.tell(trial, values[-1] if state == TrialState.COMPLETE else None, state)
    shutil.copytree(root / TRAINING / BUNDLE, folder / BEST)
    (folder / LOG).write_text("2026-01-01 INFO tuning: started\n", encoding="utf-8")
    confirmed = {"number": 0, "values": [0.5, 0.51], "mean": 0.505, "std": 0.007}
    tested = {"number": 0, "test": {"ndcg@10": 0.5}, "unseen_test": {"ndcg@10": 0.4}}
    summary = {"name": "small", "baselines": {}, "tested": [tested], "confirmed": [confirmed]}
    (folder / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")
    assert (folder / RECORD).is_file() and (folder / STUDY).is_file()
