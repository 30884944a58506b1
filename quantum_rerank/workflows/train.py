"""Training runs: one reranker and its baselines, trained and measured in one output folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from quantum_rerank.atomic import output_errors, write_json
from quantum_rerank.config import DataConfig, ExperimentConfig
from quantum_rerank.console import new_folder
from quantum_rerank.embeddings import EmbeddingSource, source_of
from quantum_rerank.errors import DivergedError, SaturatedError
from quantum_rerank.evaluation import COSINE
from quantum_rerank.export import ExportedModel, export_model
from quantum_rerank.folder_lock import locked
from quantum_rerank.regular_files import write_regular
from quantum_rerank.training import run_record
from quantum_rerank.training.best_model import best_model_bytes
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.models import LEXICAL_MODELS, MeasuredModel, measure_model
from quantum_rerank.training.run_record import RunRecord, resumable_run
from quantum_rerank.training.run_results import (
    BEST_MODELS,
    BUNDLE,
    METRICS_FILE,
    RunResults,
    TrainingResult,
    means_by_role,
    metrics_record,
    model_origin,
    report_targets,
)
from quantum_rerank.training.trainer import BestModel, EpochReport
from quantum_rerank.training.trial_data import PreparedData


class RunListener:
    """Observer of a training run; every method does nothing unless overridden."""

    def on_data(self, prepared: PreparedData, config: DataConfig) -> None:
        """Receive the data, and their configuration, before the first model is trained."""

    def on_start(self, model: str, max_epochs: int) -> None:
        """Receive the name of a model before its training."""

    def on_epoch(self, model: str, report: EpochReport) -> None:
        """Receive the report of an epoch."""

    def on_end(self, model: str, measured: MeasuredModel) -> None:
        """Receive a model after its training."""

    def on_failure(self, model: str, reason: str) -> None:
        """Receive the reason for which a model's training ended without a model."""

    def on_message(self, model: str, text: str) -> None:
        """Receive a message about a model's checkpoint."""


@dataclass(frozen=True)
class FinishedRun:
    """Finished training run: its results, and the data that they were measured on."""

    results: RunResults
    prepared: PreparedData


@dataclass(frozen=True)
class _Setup:
    """Folder, data and listener of a run; shared by the trainings of all models."""

    folder: Path
    config: ExperimentConfig
    prepared: PreparedData
    source: EmbeddingSource
    bm25: Bm25
    listener: RunListener


def train_run(
    folder: Path, config: ExperimentConfig, models: Sequence[str], listener: RunListener
) -> FinishedRun:
    """Train the configured model and others on the same data, seed and epochs, and measure them.

    Args:
        folder: New folder for `metrics.json`, the bundle, and the best epoch of every model.
        config: Configuration of the run.
        models: Names of the models to compare with; cosine is always among them.
        listener: Observer of the run.

    Returns:
        The results, as written to the folder.

    Raises:
        OutputError: The folder is not empty, or cannot be written.
        DataError: A collection is missing or unusable.
        DivergedError: The training of the configured model diverged.
        SaturatedError: The configured model gives all texts the same score.
    """
    with locked(new_folder(folder)):
        return _run(folder, config, models, listener)


def resume_run(folder: Path, listener: RunListener) -> FinishedRun:
    """Resume an interrupted run with its own configuration and models.

    Args:
        folder: Output folder of the run.
        listener: Observer of the run.

    Returns:
        The results of the whole run, as if it had not been interrupted.

    Raises:
        OutputError: The folder holds no run, or a finished one, or another process uses it.
        DataError: The collections or the encoder have changed since the run started.
    """
    resumable_run(folder, METRICS_FILE)  # a folder that holds no run gets no lock file
    with locked(folder):
        # Read again: another process may have finished the run in between.
        record = resumable_run(folder, METRICS_FILE)
        return _run(folder, record.config, record.models, listener, record)


def _run(
    folder: Path,
    config: ExperimentConfig,
    models: Sequence[str],
    listener: RunListener,
    recorded: RunRecord | None = None,
) -> FinishedRun:
    """Train and measure every model, and write all results.

    Args:
        recorded: Record of the run that is resumed; None for a new run.
    """
    started = time.monotonic()
    source = source_of(config.data)
    prepared = prepare(config.data, source)
    current = RunRecord(config, tuple(models), prepared.fingerprint, source.fingerprint)
    if recorded:
        run_record.prepare_resume(folder, recorded, current, (BUNDLE, BEST_MODELS))
    else:
        run_record.write_run_record(folder, current)
    listener.on_data(prepared, config.data)
    setup = _Setup(
        folder=folder,
        config=config,
        prepared=prepared,
        source=source,
        bm25=Bm25(config.data),
        listener=listener,
    )
    results = _train_models(setup, models)
    _write_bundle(setup, results)
    _write_best_models(setup, results)
    # The file is written last: its presence marks the run as finished.
    record = metrics_record(results, prepared, time.monotonic() - started)
    with output_errors(folder / METRICS_FILE):
        write_json(folder / METRICS_FILE, record)
    return FinishedRun(results, prepared)


def _train_models(setup: _Setup, models: Sequence[str]) -> RunResults:
    """Train every model, the configured one last; models that cannot be trained are skipped."""
    configured = setup.config.model
    results: dict[str, TrainingResult] = {}
    skipped: dict[str, str] = {}
    baselines = [name for name in dict.fromkeys([COSINE, *models]) if name != configured]
    for name in baselines:
        try:
            results[name] = _train_model(setup, name)
        except (DivergedError, SaturatedError) as error:
            skipped[name] = str(error)
            setup.listener.on_failure(name, str(error))
    results[configured] = _train_model(setup, configured)
    report = report_targets(results[configured], setup.prepared)
    return RunResults(configured, results, skipped, report)


def _train_model(setup: _Setup, model: str) -> TrainingResult:
    """Train and score one model, from its checkpoint if there is one."""
    folder, listener = setup.folder, setup.listener
    has_one_epoch = model in (COSINE, *LEXICAL_MODELS)
    listener.on_start(model, 1 if has_one_epoch else setup.config.training.max_epochs)
    started, previous = time.monotonic(), run_record.seconds_spent(folder, model)

    def watch(report: EpochReport) -> None:
        listener.on_epoch(model, report)
        run_record.record_seconds(folder, model, previous + time.monotonic() - started)

    def message(text: str) -> None:
        listener.on_message(model, text)

    measured = measure_model(
        setup.config,
        model,
        setup.prepared,
        setup.bm25,
        watch=watch,
        checkpoint=run_record.checkpoint_file(folder, model, message),
    )
    listener.on_end(model, measured)
    return TrainingResult(measured, previous + time.monotonic() - started)


def _write_bundle(setup: _Setup, results: RunResults) -> None:
    """Write the configured model as a bundle."""
    trained, prepared = results.trained[results.model], setup.prepared
    means = means_by_role(results, prepared)
    model = ExportedModel(
        head=trained.head,
        config=trained.config,
        fusion_weight=trained.validation.fusion_weight,
        encoder_fingerprint=setup.source.fingerprint,
        data_fingerprint=prepared.fingerprint,
        metrics={"validation": trained.validation.metrics}
        | {role: models[results.model] for role, models in means.items()},
        examples=prepared.examples,
        lexicon=prepared.lexicon,
        training=asdict(results.report.summary),
    )
    export_model(setup.folder / BUNDLE, model)


def _write_best_models(setup: _Setup, results: RunResults) -> None:
    """Write the best epoch of every model that has weights."""
    folder, prepared = setup.folder / BEST_MODELS, setup.prepared
    folder.mkdir()
    for name, trained in results.trained.items():
        best = BestModel(trained.best_epoch, trained.head.state_dict(), trained.validation)
        origin = model_origin(name, prepared.fingerprint)
        content = best_model_bytes(best, trained.config, prepared.trial.embedding_dim, origin)
        write_regular(folder / f"{name}.safetensors", content)
