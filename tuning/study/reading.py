"""Reading a study without disturbing its search."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from quantum_rerank.errors import OutputError
from quantum_rerank.regular_files import open_regular, reason, require_at_most
from tuning.study.database import MAX_STUDY, open_database, require_tables
from tuning.study.run_folder import (
    checked_trials,
    find_study,
    recorded_places,
    refuse_no_study,
    shown,
    unreadable,
)
from tuning.study.storage import (
    SQLITE,
    STUDY,
    StorageConfig,
    connect,
    connect_to_read,
    of_this_optuna,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


_BUSY_SECONDS = 10.0  # that the study may be locked by its search; a write takes milliseconds


def read_study(folder: Path, places: StorageConfig) -> tuple[dict[str, Any], list[FrozenTrial]]:
    """Return the attributes and the trials of a run's study; empty while it is created.

    Args:
        folder: Folder of the run.
        places: Storage of the run.

    Raises:
        OutputError: There is no study, or it cannot be read.
    """
    refuse_no_study(folder, places)
    if places.storage == SQLITE:
        return read_file(folder / STUDY)
    from optuna.exceptions import StorageInternalError

    try:
        reader = connect(folder, places) if places.file else connect_to_read(places)
        study = find_study(reader, folder, places)
        return dict(study.user_attrs), checked_trials(study, shown(folder, places))
    except (StorageInternalError, OSError, ValueError) as error:
        raise unreadable(error, folder, places) from None


def read_trials(folder: Path) -> list[FrozenTrial]:
    """Return the trials of a run's study, which is only read.

    Raises:
        OutputError: See `read_study`.
    """
    return read_study(folder, recorded_places(folder))[1]


def read_file(path: Path) -> tuple[dict[str, Any], list[FrozenTrial]]:
    """Return the attributes and the trials of a study in SQLite, all of one moment.

    Raises:
        OutputError: The study is damaged, or stays locked.
    """
    with closing(sqlite3.connect(":memory:")) as memory:
        try:
            copy_database(path, memory)
        except OSError as error:
            raise OutputError(f"`{path}` cannot be read: {reason(error)}.") from None
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_BUSY":
                raise OutputError(f"`{path}` is being written to. Try again.") from None
            raise OutputError(f"`{path}` is damaged: {error}.") from None
        with of_this_optuna(str(path)):
            return _study_in(memory, path)


def copy_database(path: Path, into: sqlite3.Connection) -> None:
    """Copy a database as it was last committed, without writing to its folder.

    Args:
        path: Database.
        into: Connection to copy to.

    Raises:
        OSError: The file is larger than MAX_STUDY, or no regular file.
        sqlite3.DatabaseError: The database is damaged, stays locked, or holds views or triggers.
    """
    with open_regular(path) as file:
        require_at_most(MAX_STUDY, file, path)
    with closing(open_database(path, _BUSY_SECONDS, read_only=True)) as source:
        try:
            # Locked before it is copied, since a copy would wait for its lock without end.
            source.execute("BEGIN")
            require_tables(source)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorname", "") != "SQLITE_READONLY_ROLLBACK":
                raise
            _copy_undoing(path, into)
        else:
            source.backup(into)


def _copy_undoing(path: Path, into: sqlite3.Connection) -> None:
    """Copy a database that a killed process had half written, as it was before."""
    with TemporaryDirectory(prefix="study-") as scratch:
        for file in (path, path.with_name(f"{path.name}-journal")):
            shutil.copy(file, scratch)
        with closing(open_database(Path(scratch) / path.name, _BUSY_SECONDS)) as copy:
            require_tables(copy)
            copy.backup(into)


def _study_in(memory: sqlite3.Connection, path: Path) -> tuple[dict[str, Any], list[FrozenTrial]]:
    import optuna
    from sqlalchemy.exc import DatabaseError
    from sqlalchemy.pool import StaticPool

    only = {"creator": lambda: memory, "poolclass": StaticPool}
    try:
        storage = optuna.storages.RDBStorage("sqlite://", engine_kwargs=only)
        names = optuna.get_all_study_names(storage)
        if not names:
            return {}, []
        study = optuna.load_study(study_name=names[0], storage=storage)
        return dict(study.user_attrs), checked_trials(study, str(path))
    except (OutputError, AssertionError, RuntimeError):  # of another version
        raise
    except DatabaseError as error:
        raise OutputError(f"`{path}` is damaged: {error.orig}.") from None
    except Exception as error:  # Optuna and SQLAlchemy trust the values in their tables
        raise OutputError(f"`{path}` is damaged: {reason(error)}.") from None
