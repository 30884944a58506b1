"""Folder of a run: its files, its record and its study."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from quantum_rerank.atomic import write_json
from quantum_rerank.config import build_config
from quantum_rerank.errors import DataError, OutputError
from quantum_rerank.paths import require_exists
from quantum_rerank.records import first_mistake
from quantum_rerank.regular_files import read_json, reason
from tuning.space import Budget, Header, Parameter, Space
from tuning.study import attributes
from tuning.study.checking import require_sound
from tuning.study.named_places import name_as_recorded, refuse_unnamed, remember
from tuning.study.storage import (
    PATIENCE_SECONDS,
    TRIALS,
    StorageConfig,
    check_recorded,
    connect,
    connect_to_read,
    is_locked,
    is_read_only,
    masked,
)

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from quantum_rerank.training.trial_data import PreparedData

SUMMARY, BEST, RECORD = "summary.json", "best", "run.json"
EVENTS, LOG = "events.jsonl", "search.log"
PARETO = "pareto.html"
_RUN, _PLACES, _DATA, _ENCODER = "run", "storage", "data_fingerprint", "encoder_fingerprint"
_TRACKED = "is_tracked"
_NEEDED = ("space", "parameters", "base", _DATA)  # keys of the record


def write_record(
    space: Space,
    prepared: PreparedData,
    folder: Path,
    places: StorageConfig | None = None,
    is_tracked: bool = True,
) -> None:
    """Write the record of a search before it starts: its space, data and storage.

    Storage outside of the folder is trusted from then on, see `named_places`.

    Args:
        space: Space of the search.
        prepared: Data of the search.
        folder: Folder of the run.
        places: Storage of the run.
        is_tracked: Whether its trials are logged to W&B.
    """
    places = places or StorageConfig()
    remember(places, folder)
    record = {
        _RUN: secrets.token_hex(16),
        "space": space.header.model_dump(mode="json"),
        "parameters": {
            name: parameter.model_dump(mode="json") for name, parameter in space.parameters.items()
        },
        "base": space.base.model_dump(mode="json"),
        _PLACES: asdict(places),
        _DATA: prepared.fingerprint,
        _ENCODER: prepared.encoder_fingerprint,
        _TRACKED: is_tracked,
        "splits": prepared.splits,
    }
    write_json(folder / RECORD, record)


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a run.

    Raises:
        OutputError: The record is missing or damaged.
    """
    require_exists(folder, OutputError)
    try:
        record = dict(read_json(folder / RECORD))
    except FileNotFoundError:
        raise OutputError(f"`{folder}` holds no run: there is no {RECORD} in it.") from None
    except OSError as error:
        raise OutputError(f"`{folder / RECORD}` cannot be read: {reason(error)}.") from None
    except (TypeError, ValueError):
        raise OutputError(f"`{folder / RECORD}` is damaged.") from None
    if missing := [key for key in _NEEDED if key not in record]:
        raise OutputError(
            f"`{folder / RECORD}` is damaged, or of another version: it has no "
            f"{', '.join(missing)}."
        )
    return record


def recorded_run(record: Mapping[str, Any]) -> str:
    """Return the identifier of a run, which the files of its trials have too."""
    return str(record.get(_RUN, ""))


def is_tracked(record: Mapping[str, Any]) -> bool:
    """Return whether a run was started with W&B, which a resumed session keeps."""
    return bool(record.get(_TRACKED, True))


def recorded_encoder(record: Mapping[str, Any]) -> str:
    """Return the fingerprint of the encoder of a run; empty if it has none."""
    return str(record.get(_ENCODER, ""))


def refuse_other_data(record: Mapping[str, Any], prepared: PreparedData, folder: Path) -> None:
    """Check that data and vectors are those that a run was started with.

    Args:
        record: Record of the run.
        prepared: Data as loaded now.
        folder: Folder of the run.

    Raises:
        DataError: Data or vectors have changed.
    """
    refuse_other_fingerprints(record, prepared.fingerprint, prepared.encoder_fingerprint, folder)


def refuse_other_fingerprints(
    record: Mapping[str, Any], data: str, encoder: str, folder: Path
) -> None:
    """Check the fingerprints of data and encoder, see `refuse_other_data`.

    Args:
        record: Record of the run.
        data: Fingerprint of the data; not compared if empty.
        encoder: Fingerprint of the encoder; not compared if empty.
        folder: Folder of the run.

    Raises:
        DataError: Data or vectors have changed.
    """
    for what, recorded, now in (
        ("data", str(record[_DATA]), data),
        ("vectors of the data", recorded_encoder(record), encoder),
    ):
        if now and recorded not in ("", now):
            raise DataError(
                f"The {what} have changed since `{folder}` was started ({recorded[:12]}, now "
                f"{now[:12]}). Put them back, or search again."
            )


def recorded_space(record: Mapping[str, Any]) -> Space:
    """Return the space that a run was started with.

    Raises:
        OutputError: The record is damaged, or of another version.
    """
    parameters = TypeAdapter(dict[str, Annotated[Parameter, Field(discriminator="type")]])
    try:
        return Space(
            Header.model_validate(record["space"]),
            build_config(record["base"]),
            parameters.validate_python(record["parameters"]),
        )
    except ValidationError as error:
        raise OutputError(
            f"The run's {RECORD} is damaged, or of another version: {first_mistake(error)}."
        ) from None


def last_budget(budget: Budget, study: Mapping[str, Any], folder: Path) -> Budget:
    """Return the budget of a run's last session.

    Args:
        budget: Budget of its space.
        study: Attributes of its study.
        folder: Folder of the run, for the message.

    Raises: OutputError if what the study has is no budget.
    """
    try:
        return Budget.model_validate(budget.model_dump() | attributes.budget_changes(study))
    except ValidationError as error:
        raise OutputError(
            f"The study of `{folder}` is damaged: {first_mistake(error, 'budget')}."
        ) from None


def recorded_places(folder: Path) -> StorageConfig:
    """Return the storage of a run; its folder if nothing else is recorded.

    Raises:
        OutputError: The record is damaged, or names storage that this user does not trust.
    """
    places = _written_places(folder)
    refuse_unnamed(places, folder)
    return places


def name_places(folder: Path, storage: str | None = None, trials: str | None = None) -> None:
    """Trust the storage of a run, as far as a command line names it.

    Args:
        folder: Folder of the run.
        storage: Value of `--storage`.
        trials: Value of `--storage-path`.

    Raises:
        ConfigError: The run has recorded other storage.
    """
    if storage is not None or trials is not None:
        name_as_recorded(_written_places(folder), folder, storage, trials)


def _written_places(folder: Path) -> StorageConfig:
    if not (folder / RECORD).exists():
        return StorageConfig()
    try:
        places = StorageConfig(**read_record(folder).get(_PLACES, {}))
        if not all(isinstance(value, str) for value in asdict(places).values()):
            raise TypeError
    except TypeError:
        raise OutputError(f"The run's {RECORD} is damaged, or of another version.") from None
    return check_recorded(places, folder / RECORD)


def open_study(
    folder: Path,
    name: str,
    directions: Sequence[Literal["maximize", "minimize"]] = ("maximize",),
    places: StorageConfig | None = None,
    patience: float = PATIENCE_SECONDS,
) -> optuna.Study:
    """Open the study of a search, and create it if it does not exist.

    Args:
        folder: Folder of the run.
        name: Name of the study, unless its storage has another.
        directions: Directions of the objectives, see `Objective.directions`.
        places: Storage of the run.
        patience: Seconds to wait, now and in later calls, for storage that is locked or
            unreachable.
    """
    import optuna

    places = places or StorageConfig()
    return optuna.create_study(
        storage=connect(folder, places, patience),
        study_name=places.study or name,
        directions=directions,
        load_if_exists=True,
    )


def load_study(folder: Path, patience: float = PATIENCE_SECONDS) -> optuna.Study:
    """Open the study of a run.

    Args:
        folder: Folder of the run.
        patience: Seconds to wait for storage that is locked or unreachable.

    Raises:
        OutputError: There is no study, or it is damaged.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DatabaseError

    places = recorded_places(folder)
    refuse_no_study(folder, places)
    try:
        study = find_study(connect(folder, places, patience), folder, places)
        checked_trials(study, shown(folder, places))
    except OutputError:
        raise
    except (DatabaseError, StorageInternalError, OSError) as error:
        raise unreadable(error, folder, places) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Optuna trusts the values in its tables.
        raise unreadable(error, folder, places) from None
    return study


def checked_trials(study: optuna.Study, where: str) -> list[FrozenTrial]:
    """Return the trials of a study, all of which have been checked.

    where: file or URL of the study, for the message.

    Raises: OutputError if it is damaged: see `require_sound`.
    """
    trials = study.get_trials(deepcopy=False)
    require_sound(study.user_attrs, trials, len(study.directions), where)
    return trials


def has_study(folder: Path) -> bool:
    """Return whether a search, which loads its data first, has created its study.

    Raises:
        OutputError: A database does not answer.
    """
    if not (folder / RECORD).exists():
        return False
    places = recorded_places(folder)
    if places.file:
        return (folder / places.file).exists()
    reader = connect_to_read(places)
    return reader is not None and any(
        study.study_name == places.study for study in reader.get_all_studies()
    )


def is_unbegun(folder: Path) -> bool:
    """Return whether a run was killed before its first trial; its study may be incomplete."""
    is_begun = (folder / EVENTS).exists() or (folder / TRIALS).exists()
    return not is_begun and (folder / RECORD).exists()


def refuse_no_study(folder: Path, places: StorageConfig) -> None:
    """Check that the file of a study exists; a database is not checked.

    Args:
        folder: Folder of the run.
        places: Storage of the run.

    Raises:
        OutputError: The file does not exist.
    """
    if places.file and not (folder / places.file).is_file():
        raise OutputError(f"`{folder}` holds no run: there is no {places.file} in it.")


def find_study(
    storage: optuna.storages.BaseStorage | None, folder: Path, places: StorageConfig
) -> optuna.Study:
    """Return the study of a run in its storage.

    Args:
        storage: Storage that was opened; None if there is none.
        folder: Folder of the run.
        places: Storage of the run.

    Raises:
        OutputError: The storage has no such study.
    """
    import optuna

    if storage is not None:
        names = [places.study] if places.study else optuna.get_all_study_names(storage)
        with suppress(IndexError, KeyError):
            return optuna.load_study(study_name=names[0], storage=storage)
    raise OutputError(f"`{shown(folder, places)}` holds no study.")


def shown(folder: Path, places: StorageConfig) -> str:
    """Return the file or the URL of a study, for messages."""
    return str(folder / places.file) if places.file else masked(places.storage)


def unreadable(error: Exception, folder: Path, places: StorageConfig) -> OutputError:
    """Return the error for a study that cannot be read.

    Args:
        error: Error of Optuna or SQLAlchemy.
        folder: Folder of the run.
        places: Storage of the run.
    """
    where, cause = shown(folder, places), error.__cause__ or error
    if is_locked(error):
        return OutputError(f"`{where}` is being written to. Try again.")
    if is_read_only(error):
        return OutputError(f"`{where}` cannot be written: {getattr(cause, 'orig', cause)}.")
    if isinstance(error, OSError):
        return OutputError(f"`{where}` cannot be used: {reason(error)}.")
    return OutputError(f"`{where}` is damaged: {getattr(cause, 'orig', cause)}.")
