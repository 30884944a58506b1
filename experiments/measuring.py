"""One training of the experiments, from its data to its result file. A worker runs it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.plan import ALONE, Task
from experiments.results import Result, Results, as_domains, fingerprint
from experiments.subsets import reduced
from quantum_rerank.config import DataConfig
from quantum_rerank.embeddings import source_of
from quantum_rerank.errors import DivergedError, SaturatedError
from quantum_rerank.evaluation import Scores
from quantum_rerank.evaluation.ranking import Candidates, score_affinities
from quantum_rerank.machine import machine
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.models import MeasuredModel, measure_model
from quantum_rerank.training.run_results import TrainingResult, report_targets
from quantum_rerank.training.trial_data import PreparedData
from quantum_rerank.training.validation import Validator


@lru_cache(maxsize=1)
def prepared_data(data: DataConfig) -> tuple[PreparedData, Bm25, str]:
    """Return a data set, BM25 over its texts, and their fingerprint.

    The last data set is cached.
    """
    source = source_of(data)
    prepared = prepare(data, source)
    both = f"{prepared.fingerprint} {source.fingerprint}"
    return prepared, Bm25(data), hashlib.sha256(both.encode()).hexdigest()


def task_data(task: Task) -> tuple[PreparedData, Bm25, str]:
    """Return the data of a training, with as many training queries as it has, see above."""
    prepared, bm25, data = prepared_data(task.config.data)
    if task.n_queries is None:
        return prepared, bm25, data
    return reduced(prepared, task.n_queries, task.seed), bm25, f"{data} {task.n_queries}"


def measure(task: Task, collections: Mapping[str, str], folder: Path) -> Result:
    """Train on one thread, score the test queries, and write the result.

    A model that diverges or saturates has a result too, with the reason under `failed`.

    Args:
        task: The training.
        collections: Role of test queries, or domain that is scored by itself -> name of the
            collection.
        folder: The folder of all results.
    """
    torch.set_num_threads(1)
    prepared, bm25, data = task_data(task)
    record = head_of(task, data)
    started, processor = time.monotonic(), time.process_time()
    try:
        measured = measure_model(task.config, task.model, prepared, bm25)
    except (DivergedError, SaturatedError) as error:
        record["failed"] = str(error)
    else:
        timed = TrainingResult(measured, time.monotonic() - started)
        record |= {
            "scores": by_collection(
                {**measured.test, **_alone(measured, prepared, collections)}, collections
            ),
            "seconds": round(timed.seconds, 3),
            "processor_seconds": round(time.process_time() - processor, 3),
            **_validation(task, timed, prepared),
        }
    Results(folder).write(task, record)
    return Result(record)


def head_of(task: Task, data: str) -> dict[str, Any]:
    """Return what identifies a result.

    Args:
        task: The training.
        data: The fingerprint of its data.
    """
    return {
        "dataset": task.dataset,
        "name": task.name,
        "model": task.model,
        "seed": task.seed,
        "failed": "",
        "machine": machine(),
        "fingerprint": fingerprint(task.config, task.model, data),
        "config": task.config.model_dump(mode="json"),
    }


def _alone(
    measured: MeasuredModel, prepared: PreparedData, collections: Mapping[str, str]
) -> dict[str, Scores]:
    """Return the scores of the affinities alone, without first stage and gate, if asked for."""
    if ALONE not in collections or measured.trained is None:
        return {}
    head = measured.trained.head
    affinities = [Candidates(queries).affinities(head) for queries in prepared.test]
    return {ALONE: score_affinities(affinities, 1.0, prepared.test)}


def by_collection(
    test: Mapping[str, Scores], collections: Mapping[str, str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return collection -> domain -> query -> NDCG@10.

    Args:
        test: Role -> scores.
        collections: As in `measure`.
    """
    result: dict[str, dict[str, dict[str, float]]] = {}
    for role, scores in test.items():
        for domain, values in as_domains(scores).items():
            collection = collections.get(domain, collections[role])
            result.setdefault(collection, {})[domain] = values
    return result


def _validation(task: Task, timed: TrainingResult, prepared: PreparedData) -> dict[str, Any]:
    """Return the course of the training and the outcomes of its targets."""
    measured = timed.measured
    record: dict[str, Any] = {
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
        record |= {"best_epoch": trained.best_epoch, "history": history}
        if task.n_queries is not None:
            return record  # no targets are set for a part of the queries
        # The peak memory is that of the worker, including its earlier trainings.
        record |= report_targets(timed, prepared).record()
    return record


def _cosine_objective(task: Task, prepared: PreparedData) -> float:
    """Return the validation objective of cosine alone."""
    seen, unseen = prepared.trial.validation_in_domain, prepared.trial.validation_out_of_domain
    validator = Validator(seen, unseen, task.config.training.objective)
    affinities = [np.zeros(queries.candidates.shape) for queries in (*seen, *unseen)]
    return validator.of(affinities, (0.0,)).objective
