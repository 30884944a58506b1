"""A training's output folder while it is not finished: what another process goes on from.

run.json    the configuration, and which data it was read from
progress/   ARM.safetensors: each arm's training as it was last written down
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.errors import BundleError, DataError, OutputError

if TYPE_CHECKING:
    from quantum_rerank.config import ExperimentConfig
    from quantum_rerank.training.progress_file import ProgressFile

RUN_FILE, PROGRESS = "run.json", "progress"


def begin(folder: Path, config: ExperimentConfig, data_fingerprint: str) -> None:
    """Write down what a later process needs to go on with this run."""
    record = {"config": config.model_dump(mode="json"), "data_fingerprint": data_fingerprint}
    write_whole(folder / RUN_FILE, record)


def interrupted(folder: Path, last_written: str) -> tuple[ExperimentConfig, str]:
    """The configuration of a run that was cut short, and the fingerprint of its data.

    last_written: the file whose presence says that the run is finished.
    Raises: OutputError if there is no such run, or nothing left of it to do.
    """
    from quantum_rerank.config import build_config

    if (folder / last_written).exists():
        raise OutputError(f"The run in `{folder}` is finished: see `{folder / last_written}`.")
    try:
        record = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(
            f"`{folder}` holds no run that could go on: it has no {RUN_FILE}. "
            "Start one without --resume."
        ) from None
    except (OSError, ValueError) as error:
        raise BundleError(f"`{folder / RUN_FILE}` cannot be read: {error}.") from None
    return build_config(record["config"]), str(record["data_fingerprint"])


def require_same_data(folder: Path, then: str, now: str) -> None:
    """Raise DataError if the collections are not those that a run began with."""
    if then != now:
        raise DataError(
            f"The collections are not those that the run in `{folder}` was trained on so far: "
            "texts, judgments or splits have changed. Bring them back, or start anew."
        )


def progress_of(folder: Path, arm: str) -> ProgressFile:
    """Where an arm's training is written down."""
    from quantum_rerank.training.progress_file import ProgressFile

    return ProgressFile(folder / PROGRESS / f"{arm}.safetensors")


def clear(folder: Path, bundle: str) -> None:
    """Remove the bundle of a run that was cut short after its trainings, whole or not."""
    for path in (folder / bundle, *folder.glob(f".{bundle}-*")):
        shutil.rmtree(path, ignore_errors=True)


def write_whole(path: Path, record: Mapping[str, Any]) -> None:
    """Write JSON to a file that is whole or not there."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)
