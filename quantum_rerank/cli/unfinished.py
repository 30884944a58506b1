"""A training's output folder while it is not finished: what another process goes on from.

run.json    the configuration, the models beside its own, and which data they were trained on
progress/   ARM.safetensors: each model's training as it was last written down
            ARM.seconds: how long it has taken so far
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantum_rerank.atomic import output_errors, write_json
from quantum_rerank.config import ExperimentConfig, build_config
from quantum_rerank.errors import BundleError, DataError, OutputError
from quantum_rerank.paths import require_exists

if TYPE_CHECKING:
    from quantum_rerank.training.checkpoint_file import CheckpointFile

RUN_FILE, PROGRESS = "run.json", "progress"
FINGERPRINTS = ("data_fingerprint", "encoder_fingerprint")


@dataclass(frozen=True)
class RunRecord:
    """What a run began with. models: to be trained beside the configured one."""

    config: ExperimentConfig
    models: Sequence[str]
    data_fingerprint: str
    encoder_fingerprint: str


def begin(folder: Path, begun: RunRecord) -> None:
    """Write down what a later process needs to go on with this run."""
    record = {
        "config": begun.config.model_dump(mode="json"),
        "models": list(begun.models),
        **{name: getattr(begun, name) for name in FINGERPRINTS},
    }
    with output_errors(folder / RUN_FILE):
        write_json(folder / RUN_FILE, record)


def interrupted(folder: Path, last_written: str) -> RunRecord:
    """What a run began with that was cut short.

    last_written: the file whose presence says that the run is finished.
    Raises: OutputError if there is no such run, or nothing left of it to do.
    """
    require_exists(folder, OutputError)
    if (folder / last_written).exists():
        raise OutputError(f"The run in `{folder}` is finished: see `{folder / last_written}`.")
    try:
        record = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(
            f"`{folder}` holds no run that could go on: it has no {RUN_FILE}. "
            "Start one without --resume, in a new folder."
        ) from None
    except (OSError, ValueError) as error:
        raise BundleError(f"`{folder / RUN_FILE}` cannot be read: {error}.") from None
    if not isinstance(record, dict) or not {"config", "models", *FINGERPRINTS} <= record.keys():
        raise BundleError(f"`{folder / RUN_FILE}` is not what a run writes: it was altered.")
    config = build_config(record["config"])
    return RunRecord(config, tuple(record["models"]), *(str(record[name]) for name in FINGERPRINTS))


def go_on(folder: Path, begun: RunRecord, now: RunRecord, results: Sequence[str]) -> None:
    """Make a folder ready for the rest of its run.

    now: the same as it would begin today.
    results: folders that are written after all trainings, of which a kill may have left parts;
        they are removed.
    Raises: DataError if the collections, or who embeds them, are not those it began with.
    """
    if begun.data_fingerprint != now.data_fingerprint:
        raise DataError(
            f"The collections are not those that the run in `{folder}` was trained on so far: "
            "texts, their order, judgments or splits have changed. Bring them back, or start anew."
        )
    if begun.encoder_fingerprint != now.encoder_fingerprint:
        are_arrays = now.encoder_fingerprint.startswith("npy:")
        way_out = "Put the same vectors back" if are_arrays else "Install the same one"
        raise DataError(
            f"The run in `{folder}` was trained with the encoder `{begun.encoder_fingerprint}`, "
            f"but it is `{now.encoder_fingerprint}` now. {way_out}, or start anew."
        )
    for name in results:
        for path in (folder / name, *folder.glob(f".{name}-*")):
            shutil.rmtree(path, ignore_errors=True)


def progress_of(folder: Path, model: str, tell: Callable[[str], None]) -> CheckpointFile:
    """Where a model's training is written down; `tell` as of `CheckpointFile`."""
    from quantum_rerank.training.checkpoint_file import CheckpointFile

    return CheckpointFile(folder / PROGRESS / f"{model}.safetensors", tell)


def seconds_spent(folder: Path, model: str) -> float:
    """How long earlier processes have trained a model, what was lost with them included."""
    with suppress(OSError, ValueError):
        return float((folder / PROGRESS / f"{model}.seconds").read_text())
    return 0.0


def note_seconds(folder: Path, model: str, seconds: float) -> None:
    """Write that down for the next one."""
    path = folder / PROGRESS / f"{model}.seconds"
    with output_errors(path):
        write_json(path, round(seconds, 3))
