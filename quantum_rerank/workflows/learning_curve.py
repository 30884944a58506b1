"""Learning curve: what a model reaches with a part of the training queries and with all."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from quantum_rerank.atomic import output_errors, write_json, write_text
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.console import new_folder
from quantum_rerank.embeddings import source_of
from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation import COSINE, NDCG
from quantum_rerank.folder_lock import locked
from quantum_rerank.similarity import MODELS
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.learning_curve import LearningCurve, Point, sizes_of
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.models import FIRST_STAGE, measure_model
from quantum_rerank.training.subsets import with_train_queries
from quantum_rerank.training.trainer import EpochReport
from quantum_rerank.training.trial_data import PreparedData

CURVE_JSON, CURVE_CSV, CURVE_PAGE = (f"learning_curve.{kind}" for kind in ("json", "csv", "html"))
SEEDS = 3


class CurveListener:
    """Observer of a learning curve; every method does nothing unless overridden."""

    def on_data(self, prepared: PreparedData) -> None:
        """Receive the data before the first training."""

    def on_plan(self, trainings: Sequence[tuple[int, int]], max_epochs: int) -> None:
        """Receive the number of queries and the seed of every training, in their order."""

    def on_epoch(self, report: EpochReport) -> None:
        """Receive the report of an epoch."""

    def on_point(self, point: Point) -> None:
        """Receive a training after its end."""


def learn(folder: Path, config: ExperimentConfig, listener: CurveListener) -> LearningCurve:
    """Train with a quarter, a half and all of the training queries, three seeds each.

    The subsets of a seed are nested. Validation and test queries are the same for all trainings.

    Args:
        folder: New folder for the results.
        config: Configuration of the trainings. Its seed is the first one.
        listener: Observer of the trainings.

    Raises:
        ConfigError: The configured model is not trained.
        OutputError: The folder is not empty, or cannot be written.
        DataError: A collection is unusable, or there are too few training queries.
        DivergedError: A training diverged.
        SaturatedError: A model gives all texts the same score.
    """
    if not MODELS[config.model].is_trainable:
        raise ConfigError(
            f"`model` is {config.model}, which no training query changes. For a learning curve, "
            "choose one that is trained, such as `--set model=hybrid`."
        )
    with locked(new_folder(folder)):
        prepared = prepare(config.data, source_of(config.data))
        listener.on_data(prepared)
        sizes = sizes_of(prepared)
        seeds = range(config.seed, config.seed + SEEDS)
        trainings = [(size, seed) for seed in seeds for size in sizes]
        listener.on_plan(trainings, config.training.max_epochs)
        curve = _measured(config, prepared, trainings, listener)
        with output_errors(folder):
            write_json(folder / CURVE_JSON, curve.record())
            write_text(folder / CURVE_CSV, _csv(curve))
    return curve


def _measured(
    config: ExperimentConfig,
    prepared: PreparedData,
    trainings: Sequence[tuple[int, int]],
    listener: CurveListener,
) -> LearningCurve:
    bm25 = Bm25(config.data)
    first_stage = FIRST_STAGE if config.has_lexical_part else "bm25_cosine"
    baselines = {
        name: measure_model(config, name, prepared, bm25) for name in (COSINE, first_stage)
    }
    points = []
    for n_queries, seed in trainings:
        subset = replace(prepared, trial=with_train_queries(prepared.trial, n_queries, seed))
        of_seed = override(config, {"seed": seed})
        measured = measure_model(of_seed, config.model, subset, bm25, listener.on_epoch)
        points.append(Point(n_queries, seed, measured))
        listener.on_point(points[-1])
    return LearningCurve(config, prepared, points, baselines)


def _csv(curve: LearningCurve) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["system", "training queries", "seed", "role", NDCG])
    writer.writerows(curve.rows())
    return text.getvalue()
