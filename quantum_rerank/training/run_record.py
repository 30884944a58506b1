"""Output folder of a training run while it trains, and the files that it resumes from.

run.json       configuration, models to compare with, fingerprints of the data and the encoder
checkpoints/   MODEL.safetensors: the latest checkpoint of each model
               MODEL.seconds: the model's training time until then
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from quantum_rerank.atomic import output_errors, write_json
from quantum_rerank.config import ExperimentConfig, build_config
from quantum_rerank.errors import BundleError, DataError, OutputError
from quantum_rerank.paths import require_exists
from quantum_rerank.records import read_record
from quantum_rerank.regular_files import read_json
from quantum_rerank.training.checkpoint_file import CheckpointFile
from quantum_rerank.training.models import check_model_names

RUN_FILE, CHECKPOINTS = "run.json", "checkpoints"
FINGERPRINTS = ("data_fingerprint", "encoder_fingerprint")


@dataclass(frozen=True)
class RunRecord:
    """Configuration and data of a training run, as recorded at its start.

    Attributes:
        config: Configuration of the run; names the configured model.
        models: Names of the models trained for comparison.
        data_fingerprint: See `PreparedData.fingerprint`.
        encoder_fingerprint: See `EmbeddingSource.fingerprint`.
    """

    config: ExperimentConfig
    models: Sequence[str]
    data_fingerprint: str
    encoder_fingerprint: str


def write_run_record(folder: Path, record: RunRecord) -> None:
    """Write `run.json`, which `resumable_run` reads."""
    content = {
        "config": record.config.model_dump(mode="json"),
        "models": list(record.models),
        **{name: getattr(record, name) for name in FINGERPRINTS},
    }
    with output_errors(folder / RUN_FILE):
        write_json(folder / RUN_FILE, content)


def resumable_run(folder: Path, final_file: str) -> RunRecord:
    """Return the record of an interrupted run.

    Args:
        folder: Output folder of the run.
        final_file: Name of the file that a run writes last, so that its presence marks the run
            as finished.

    Raises:
        OutputError: The folder holds no run, or a finished one.
        BundleError: The record is damaged.
    """
    require_exists(folder, OutputError)
    if (folder / final_file).exists():
        raise OutputError(f"The run in `{folder}` is finished: see `{folder / final_file}`.")
    if not (folder / RUN_FILE).exists():
        raise OutputError(
            f"`{folder}` holds no run to resume: it has no {RUN_FILE}. "
            "Start a run without --resume, in a new folder."
        )
    content = read_record(folder / RUN_FILE, ("config", "models", *FINGERPRINTS))
    models = content["models"]
    if not isinstance(models, list) or not all(isinstance(name, str) for name in models):
        raise BundleError(f"`{folder / RUN_FILE}` was changed: its models are not a list of names.")
    if not isinstance(content["config"], dict) or "data" not in content["config"]:
        # The default data are not those of this run.
        raise BundleError(f"`{folder / RUN_FILE}` was changed: its configuration has no data.")
    return RunRecord(
        config=build_config(content["config"]),
        models=check_model_names(models),
        data_fingerprint=str(content["data_fingerprint"]),
        encoder_fingerprint=str(content["encoder_fingerprint"]),
    )


def prepare_resume(
    folder: Path, recorded: RunRecord, current: RunRecord, result_folders: Sequence[str]
) -> None:
    """Check that a run can be resumed, and remove its partial results.

    Args:
        folder: Output folder of the run.
        recorded: Record that the run has written at its start.
        current: Record that a new run of the same configuration would write today.
        result_folders: Names of the folders that are written after all trainings. An
            interrupted run may have left parts of them; they are removed.

    Raises:
        DataError: The collections or the encoder have changed since the run started.
    """
    if recorded.data_fingerprint != current.data_fingerprint:
        raise DataError(
            f"The collections are not those that the run in `{folder}` was started with: texts, "
            "their order, judgments or splits have changed. Restore them, or start a new run."
        )
    if recorded.encoder_fingerprint != current.encoder_fingerprint:
        has_vectors = current.encoder_fingerprint.startswith("npy:")
        way_out = "Restore the same vectors" if has_vectors else "Install the same encoder"
        raise DataError(
            f"The run in `{folder}` was trained with the encoder `{recorded.encoder_fingerprint}`, "
            f"but the encoder is `{current.encoder_fingerprint}` now. "
            f"{way_out}, or start a new run."
        )
    for name in result_folders:
        for path in (folder / name, *folder.glob(f".{name}-*")):
            shutil.rmtree(path, ignore_errors=True)


def checkpoint_file(folder: Path, model: str, report: Callable[[str], None]) -> CheckpointFile:
    """Return the checkpoint file of a model's training.

    Args:
        folder: Output folder of the run.
        model: Name of the model.
        report: Receives messages about checkpoints that cannot be used.
    """
    return CheckpointFile(folder / CHECKPOINTS / f"{model}.safetensors", report)


def seconds_spent(folder: Path, model: str) -> float:
    """Return the seconds that earlier processes have trained a model, lost epochs included."""
    with suppress(OSError, TypeError, ValueError):
        return float(read_json(folder / CHECKPOINTS / f"{model}.seconds"))
    return 0.0


def record_seconds(folder: Path, model: str, seconds: float) -> None:
    """Write the training time of a model for `seconds_spent`."""
    with output_errors(folder / CHECKPOINTS / f"{model}.seconds"):
        write_json(folder / CHECKPOINTS / f"{model}.seconds", round(seconds, 3))
