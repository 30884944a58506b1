"""The folder of a search: what lies where in it, who may write to it, and its study."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from quantum_rerank.config import build_config
from quantum_rerank.errors import DataError, OutputError
from tuning.space import Header, Parameter, Space

if TYPE_CHECKING:
    import optuna

    from quantum_rerank.training.data_manager import PreparedData

STUDY, SUMMARY, BEST, RECORD = "study.db", "summary.json", "best", "run.json"
PARETO = "pareto.html"
TRIALS, EVENTS, LOG, _LOCK = "trials", "events.jsonl", "search.log", ".lock"
BUDGET = "budget"  # attribute of the study: trials and hours, as they were extended
_BUSY_SECONDS = 60.0  # that a study waits for another process to write


def write_record(space: Space, prepared: PreparedData, folder: Path) -> None:
    """Write down what is searched on which data, before it starts."""
    record = {
        "space": space.header.model_dump(mode="json"),
        "parameters": {
            name: parameter.model_dump(mode="json") for name, parameter in space.parameters.items()
        },
        "base": space.base.model_dump(mode="json"),
        "data_fingerprint": prepared.fingerprint,
        "splits": prepared.splits,
    }
    unfinished = folder / f"{RECORD}.unfinished"
    unfinished.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(folder / RECORD)


def read_record(folder: Path) -> dict[str, Any]:
    """What `write_record` wrote; OutputError if it is not there or damaged."""
    try:
        return dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise OutputError(f"`{folder}` holds no run: there is no {RECORD} in it.") from None
    except (OSError, TypeError, ValueError):
        raise OutputError(f"`{folder / RECORD}` is damaged.") from None


def refuse_other_data(record: Mapping[str, Any], fingerprint: str, folder: Path) -> None:
    """Raise DataError where the data are no longer those that a run was started with."""
    recorded = record["data_fingerprint"]
    if recorded != fingerprint:
        raise DataError(
            f"The data have changed since `{folder}` was started ({recorded[:12]}, now "
            f"{fingerprint[:12]}). Put them back, or search again."
        )


def recorded_space(record: Mapping[str, Any]) -> Space:
    """The space that a run was started with."""
    parameters = TypeAdapter(dict[str, Annotated[Parameter, Field(discriminator="type")]])
    try:
        return Space(
            Header.model_validate(record["space"]),
            build_config(record["base"]),
            parameters.validate_python(record["parameters"]),
        )
    except (KeyError, ValidationError) as error:
        raise OutputError(
            f"The run's {RECORD} is damaged, or of another version: {error}"
        ) from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder alone; the system lets go of it when the process dies.

    Raises: OutputError if another process holds it.
    """
    with (folder / _LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise OutputError(
                f"Another process searches into `{folder}` (process {file.read() or 'unknown'}). "
                "Wait for it, or end it first."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(folder: Path) -> int | None:
    """The process that searches into a folder, 0 if it has not said which; None if none does.

    The lock is asked for and let go of within microseconds, since only the system
    knows whether who wrote a process number is still alive.
    """
    try:
        with (folder / _LOCK).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                number = file.read()
                return int(number) if number.isdigit() else 0
    except OSError:  # no lock was ever taken, or none that this user may see
        pass
    return None


def study_storage(folder: Path) -> optuna.storages.BaseStorage:
    """The SQLite study of a run folder."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    patient = {"connect_args": {"timeout": _BUSY_SECONDS}}
    return optuna.storages.RDBStorage(f"sqlite:///{folder / STUDY}", engine_kwargs=patient)


def open_study(
    folder: Path, name: str, directions: Sequence[Literal["maximize", "minimize"]] = ("maximize",)
) -> optuna.Study:
    """The study of a search, made if there is none; directions: see `Objective.directions`."""
    import optuna

    return optuna.create_study(
        storage=study_storage(folder), study_name=name, directions=directions, load_if_exists=True
    )


def load_study(folder: Path) -> optuna.Study:
    """Open the study of a run folder; OutputError if it holds none."""
    import optuna

    if not (folder / STUDY).is_file():
        raise OutputError(f"`{folder}` holds no run: there is no {STUDY} in it.")
    from sqlalchemy.exc import DatabaseError

    try:
        storage = study_storage(folder)
        names = optuna.get_all_study_names(storage)
    except DatabaseError as error:
        raise OutputError(f"`{folder / STUDY}` is damaged: {error.orig}.") from None
    if not names:
        raise OutputError(f"`{folder / STUDY}` holds no study.")
    return optuna.load_study(study_name=names[0], storage=storage)
