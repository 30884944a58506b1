"""One training of the study, from its data to its record: what a worker does."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.plan import Task
from experiments.results import Result, Results, as_domains, fingerprint
from quantum_rerank.config import DataConfig
from quantum_rerank.embeddings import source_of
from quantum_rerank.errors import DivergedError, SaturatedError
from quantum_rerank.machine import machine
from quantum_rerank.training.data_manager import PreparedData, prepare
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.models import MeasuredModel, measure_model
from quantum_rerank.training.ranking import Validator
from quantum_rerank.training.run_results import TrainingResult as TimedModel
from quantum_rerank.training.run_results import report_targets as judge


@lru_cache(maxsize=1)
def prepared_data(data: DataConfig) -> tuple[PreparedData, Bm25, str]:
    """A data set, BM25 over its texts, and their fingerprint; the last one asked for is kept."""
    source = source_of(data)
    prepared = prepare(data, source)
    both = f"{prepared.fingerprint} {source.fingerprint}"
    return prepared, Bm25(data), hashlib.sha256(both.encode()).hexdigest()


def measure(task: Task, collections: Mapping[str, str], folder: Path) -> Result:
    """Train on one thread, score on test, and write the result down.

    collections: role of test queries -> collection of the study.
    A model that diverges or saturates has a result too, which says so.
    """
    torch.set_num_threads(1)
    prepared, bm25, data = prepared_data(task.config.data)
    record: dict[str, Any] = {
        "dataset": task.dataset,
        "name": task.name,
        "model": task.model,
        "seed": task.seed,
        "failed": "",
        "machine": machine(),
        "fingerprint": fingerprint(task.config, task.model, data),
        "config": task.config.model_dump(mode="json"),
    }
    started, processor = time.monotonic(), time.process_time()
    try:
        measured = measure_model(task.config, task.model, prepared, bm25)
    except (DivergedError, SaturatedError) as error:
        record["failed"] = str(error)
    else:
        timed = TimedModel(measured, time.monotonic() - started)
        record |= {
            "scores": {collections[role]: as_domains(one) for role, one in measured.test.items()},
            "seconds": round(timed.seconds, 3),
            "processor_seconds": round(time.process_time() - processor, 3),
            **_standing(task, timed, prepared),
        }
    Results(folder).write(task, record)
    return Result(record)


def _standing(task: Task, timed: TimedModel, prepared: PreparedData) -> dict[str, Any]:
    """How the training went and what came of it, beside the scores."""
    measured: MeasuredModel = timed.measured
    found: dict[str, Any] = {
        "objective": measured.validation.objective,
        "cosine_objective": _cosine_objective(task, prepared),
        "fusion_weight": measured.validation.fusion_weight,
        "n_trained": measured.n_trained,
        "epochs": measured.epochs,
    }
    if trained := measured.trained:
        history = [
            {key: epoch[key] for key in ("epoch", "objective", "train_loss")}
            for epoch in trained.history
        ]
        # Peak memory is of the worker, whose earlier trainings count: at most this.
        found |= {"best_epoch": trained.best_epoch, "history": history}
        found |= judge(timed, prepared).record()
    return found


def _cosine_objective(task: Task, prepared: PreparedData) -> float:
    """What the validation objective is where nothing is fused with the cosine."""
    seen, unseen = prepared.trial.seen, prepared.trial.unseen
    validator = Validator(seen, unseen, task.config.training.objective)
    nothing = [np.zeros(queries.candidates.shape) for queries in (*seen, *unseen)]
    return validator.of(nothing, (0.0,)).objective
