"""One training of an anchor, from its data to its result file. A worker runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.anchors.encoder import EncoderSetup, data_texts, fine_tune
from experiments.anchors.lambdamart import train_lambdamart
from experiments.anchors.plan import ENCODER, ENCODER_BM25, LAMBDAMART
from experiments.measuring import by_collection, head_of, prepared_data
from experiments.plan import Task
from experiments.results import Result, Results
from quantum_rerank.evaluation import Scores
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import FloatArray, score_affinities
from quantum_rerank.similarity import FUSION_GRID
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.trial_data import PreparedData
from quantum_rerank.training.validation import Validator

Affinities = Callable[[QuerySet], FloatArray]


def measure_anchor(task: Task, collections: Mapping[str, str], folder: Path) -> Result:
    """Train on one thread, score the test queries, and write the result.

    Args:
        task: The training. Its model is LAMBDAMART or ENCODER.
        collections: Role of test queries, or domain that is scored by itself -> name of the
            collection.
        folder: The folder of all results.
    """
    torch.set_num_threads(1)
    prepared, bm25, data = prepared_data(task.config.data)
    train = {LAMBDAMART: _lambdamart, ENCODER: _encoder}[task.model]
    record = head_of(task, data) | train(task, prepared, bm25, collections)
    Results(folder).write(task, record)
    return Result(record)


def rows_of(result: Result) -> list[Result]:
    """Return the rows of a result: the fine-tuned encoder has one with BM25 as well."""
    beside = result.record.get(ENCODER_BM25)
    if beside is None:
        return [result]
    return [result, Result({**result.record, **beside, "name": ENCODER_BM25})]


def _lambdamart(
    task: Task, prepared: PreparedData, bm25: Bm25, collections: Mapping[str, str]
) -> dict[str, Any]:
    clock = _Clock()
    model = train_lambdamart(prepared.trial, bm25, task.seed, task.config.training.objective)
    return {
        **clock.seconds(),
        "objective": model.objective,
        "parameters": dict(model.parameters),
        "trees": model.n_trees,
        "scores": by_collection(_alone(model.affinities, prepared), collections),
    }


def _encoder(
    task: Task, prepared: PreparedData, _: Bm25, collections: Mapping[str, str]
) -> dict[str, Any]:
    setup, objective = EncoderSetup(), task.config.training.objective
    texts = data_texts(task.config.data, setup.n_layers)
    clock = _Clock()
    model = fine_tune(setup, texts, prepared.trial, task.seed, objective)
    record = {
        **clock.seconds(),
        "objective": model.history[model.best_epoch],
        "best_epoch": model.best_epoch,
        "history": list(model.history),
    }
    fused = fuse_with_first_stage(model.affinities, prepared, objective)
    return record | {
        "scores": by_collection(_alone(fused.affinities, prepared), collections),
        ENCODER_BM25: {
            "scores": by_collection(fused.scores(prepared), collections),
            "lexical_weight": fused.lexical_weight,
            "fusion_weight": fused.fusion_weight,
        },
    }


def _alone(affinities: Affinities, prepared: PreparedData) -> dict[str, Scores]:
    return {
        role: score_affinities(list(map(affinities, sets)), 1.0, sets)
        for role, sets in prepared.test_roles.items()
    }


class _Clock:
    def __init__(self) -> None:
        self._started, self._processor = time.monotonic(), time.process_time()

    def seconds(self) -> dict[str, float]:
        """Return the time since the start."""
        return {
            "seconds": round(time.monotonic() - self._started, 3),
            "processor_seconds": round(time.process_time() - self._processor, 3),
        }


@dataclass(frozen=True)
class Fused:
    """A score beside the first stage: (1 - w) ((1 - l) cosine + l BM25) + w score.

    Attributes:
        affinities: The score, which is computed once for each query set.
        lexical_weight: l, the weight of the row `first_stage`.
        fusion_weight: w, fitted after it.
    """

    affinities: Affinities
    lexical_weight: float
    fusion_weight: float

    def scores(self, prepared: PreparedData) -> dict[str, Scores]:
        """Score the test queries: role -> scores."""
        return {
            role: score_affinities(
                list(map(self.affinities, sets)),
                self.fusion_weight,
                [with_first_stage(queries, self.lexical_weight) for queries in sets],
            )
            for role, sets in prepared.test_roles.items()
        }


def fuse_with_first_stage(affinities: Affinities, prepared: PreparedData, objective: str) -> Fused:
    """Fit the weights of BM25 and of a score on validation, one after the other.

    Args:
        affinities: The score of a query set's candidates.
        prepared: The data, with a lexical score.
        objective: The metric that is maximised.
    """
    once = _Once(affinities)
    seen, unseen = prepared.trial.validation_in_domain, prepared.trial.validation_out_of_domain
    lexical = [queries.lexical for queries in (*seen, *unseen) if queries.lexical is not None]
    weight = Validator(seen, unseen, objective).of(lexical, FUSION_GRID).fusion_weight
    seen_stage, unseen_stage = (
        [with_first_stage(queries, weight) for queries in sets] for sets in (seen, unseen)
    )
    validator = Validator(seen_stage, unseen_stage, objective)
    fused = validator.of(list(map(once, (*seen, *unseen))), FUSION_GRID)
    return Fused(once, weight, fused.fusion_weight)


def with_first_stage(queries: QuerySet, lexical_weight: float) -> QuerySet:
    """Return a query set whose cosine is its mean with BM25."""
    assert queries.lexical is not None
    mean = (1.0 - lexical_weight) * queries.cosine + lexical_weight * queries.lexical
    return replace(queries, cosine=mean.astype(np.float32))


class _Once:
    """A score that keeps its value for each query set."""

    def __init__(self, affinities: Affinities) -> None:
        self._affinities = affinities
        self._values: dict[int, tuple[QuerySet, FloatArray]] = {}

    def __call__(self, queries: QuerySet) -> FloatArray:
        if id(queries) not in self._values:
            self._values[id(queries)] = (queries, self._affinities(queries))
        return self._values[id(queries)][1]
