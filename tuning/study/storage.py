"""Storage of a study: an SQLite file, a journal, or a PostgreSQL database."""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, quote, urlsplit

from quantum_rerank.errors import ConfigError, MissingPackage, OutputError, first_line
from quantum_rerank.paths import expanded
from quantum_rerank.plain_text import pasted
from tuning.study.database import open_database, require_tables_in
from tuning.study.retrying import RetryingStorage, retry_call

if TYPE_CHECKING:
    import optuna

SQLITE, JOURNAL, _POSTGRESQL = "sqlite", "journal", "postgresql"
STUDY, STUDY_JOURNAL, TRIALS = "study.db", "study.journal", "trials"
_FILES = {SQLITE: STUDY, JOURNAL: STUDY_JOURNAL}

PATIENCE_SECONDS = 60.0  # that a search waits for a study that is locked or away
_SECRETS = ("secret", "password", "token", "key")  # in the name of an option of a URI
_LONGEST_PATH = 504  # bytes: SQLite's 512, less what its own files beside the study add
_BUSY_SECONDS = 2.0  # of these, that SQLite itself tries to get at a locked file
# Connections that break, servers that stop or start, deadlocks, too many connections.
_PASSING_STATES = ("08", "57", "40", "53300")
_TABLES_BEING_MADE = ("23505", "42P07", "42710")  # by another search, at the same moment
_TABLES_SECONDS = 10.0
_WOULD_WRITE = "25006"  # tables, that is: there are none


@dataclass(frozen=True)
class StorageConfig:
    """Storage of a run's study and of the files of its trials.

    Attributes:
        storage: `sqlite`, `journal` or the URL of a PostgreSQL database.
        study: Name of the study.
        trials: Root of the files of trials, a folder or a URI; empty for RUN/trials.
    """

    storage: str = SQLITE
    study: str = ""
    trials: str = ""

    @property
    def file(self) -> str:
        """Name of the study's file in the run's folder; empty if it is in a database."""
        return _FILES.get(self.storage, "")

    def root(self, folder: Path) -> str:
        """Return the root of the files of trials.

        Args:
            folder: Folder of the run.
        """
        return self.trials or str(folder / TRIALS)


def check_storage(text: str) -> str:
    """Return the value of `--storage` after a check.

    Raises:
        ConfigError: The value is not a storage, or contains a password.

    >>> check_storage("postgresql://me@host/studies")
    'postgresql://me@host/studies'
    """
    if text in _FILES:
        return text
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    way_out = "Give sqlite, journal or postgresql://USER@HOST/DATABASE."
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # a text that is no URL may be a misplaced password
        raise ConfigError(f"`--storage` is not a storage. {way_out}") from None
    if url.drivername != _POSTGRESQL:
        raise ConfigError(f"`--storage {url.drivername}` is not a storage. {way_out}")
    if url.password is not None or any("password" in key for key in url.query):
        raise ConfigError(
            "`--storage` has a password in it, which would be written to run.json. Leave it out, "
            "and give it as PGPASSWORD or in ~/.pgpass."
        )
    if not url.database:
        raise ConfigError(f"`--storage {text}` names no database. {way_out}")
    return text


def check_root(text: str) -> str:
    """Return the value of `--storage-path`: a URI, or the absolute path of a folder.

    Raises:
        ConfigError: The URI contains a secret.

    >>> check_root("s3://bucket/runs/7")
    's3://bucket/runs/7'
    """
    if "://" not in text:
        return str(expanded(text).resolve())
    url = urlsplit(text)
    options = "".join(key for key, _ in parse_qsl(url.query, keep_blank_values=True)).lower()
    if ":" in url.netloc.rpartition("@")[0] or any(word in options for word in _SECRETS):
        raise ConfigError(
            "`--storage-path` has a secret in it, which would be written to run.json. Leave it "
            "out, and give it by the environment, such as AWS_SECRET_ACCESS_KEY."
        )
    return text


def check_recorded(places: StorageConfig, record: Path) -> StorageConfig:
    """Return the storage of a run after a check.

    Args:
        places: Storage that the record of the run names.
        record: File of the record.

    Raises:
        OutputError: No search can have written this storage. The message has no password.
    """
    try:
        check_storage(places.storage)
        if places.trials and check_root(places.trials) != places.trials:
            raise ConfigError("`--storage-path` is a folder that depends on where a command runs.")
    except ConfigError as error:
        raise OutputError(f"`{record}` names what no search can have written: {error}") from None
    return places


def masked(place: str) -> str:
    """Return a URL or path with its passwords masked.

    >>> masked("postgresql://me:secret@host/studies?sslpassword=secret&sslmode=require")
    'postgresql://me:***@host/studies?sslpassword=***&sslmode=require'
    """
    shown = re.sub(r"(://[^:/?@]*:).*@", r"\1***@", place, flags=re.DOTALL)
    secret = "|".join(_SECRETS)
    return re.sub(rf"([?&][^=&]*(?:{secret})[^=&]*=)[^&]*", r"\1***", shown, flags=re.IGNORECASE)


def refuse_long_path(folder: Path, places: StorageConfig) -> None:
    """Check that SQLite can open the file of a study.

    Args:
        folder: Folder of the run.
        places: Storage of the run.

    Raises:
        ConfigError: The path is too long for SQLite.
    """
    n_bytes = len(os.fsencode(folder / STUDY))
    if places.storage == SQLITE and n_bytes > _LONGEST_PATH:
        raise ConfigError(
            f"The path of the study, `{folder / STUDY}`, has {n_bytes} bytes, but SQLite takes "
            f"{_LONGEST_PATH} at most. Name a folder with a shorter path, or take "
            "`--storage journal`."
        )


@contextmanager
def of_this_optuna(where: str) -> Iterator[None]:
    """Report a study that another version of Optuna has written.

    Args:
        where: File or URL of the study.

    Raises:
        OutputError: The installed Optuna cannot read the study.
    """
    try:
        yield
    except (RuntimeError, AssertionError) as error:
        if isinstance(error, RuntimeError) and "optuna" not in str(error):
            raise
        import optuna

        wrote = f"`{where}` was written by another version of Optuna than {optuna.__version__}"
        way_out = "Install the version that wrote it, or start a new search"
        if "storage upgrade" in str(error):
            url = sqlite_url(Path(where)) if "://" not in where else where
            way_out = (
                "Install the version that wrote it, or upgrade the study with "
                f"`optuna storage upgrade --storage {pasted(url)}`"
            )
        raise OutputError(f"{wrote}, which is installed. {way_out}.") from None


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file for other programs, with reserved characters escaped.

    >>> sqlite_url(Path("/runs/lr=1%?/study.db"))
    'sqlite:////runs/lr%3D1%25%3F/study.db'
    """
    return f"sqlite:///{quote(str(path))}"


def new_study_name(storage: str, space: str, folder: Path) -> str:
    """Return a name for the study of a new run; it is unique in a shared database.

    Args:
        storage: Storage of the study.
        space: Name of the space.
        folder: Folder of the run.
    """
    return space if storage in _FILES else f"{space}-{folder.name}-{secrets.token_hex(4)}"


def connect(
    folder: Path, places: StorageConfig, patience: float = PATIENCE_SECONDS
) -> optuna.storages.BaseStorage:
    """Open the storage of a run's study, and create it if it does not exist.

    Args:
        folder: Folder of the run.
        places: Storage of the run.
        patience: Seconds to wait, now and in later calls, for storage that is locked or
            unreachable.

    Raises:
        OutputError: A database does not answer.
        OSError: A file cannot be opened; SQLAlchemy has errors of its own for this.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage: optuna.storages.BaseStorage
    if places.storage == JOURNAL:
        from tuning.study.journal import WholeLines

        with of_this_optuna(str(folder / STUDY_JOURNAL)):
            storage = optuna.storages.JournalStorage(WholeLines(folder / STUDY_JOURNAL))
        passes = never
    elif places.storage == SQLITE:
        refuse_long_path(folder, places)
        storage, passes = _sqlite_file(folder / STUDY, patience), is_locked
    else:
        storage, passes = _server(places.storage, {}), is_away
    # Whatever Optuna asks of a storage, this one has as well.
    return cast("optuna.storages.BaseStorage", RetryingStorage(storage, passes, patience))


def connect_to_read(places: StorageConfig) -> optuna.storages.BaseStorage | None:
    """Open a run's database for reading only.

    Args:
        places: Storage of the run.

    Returns:
        The storage; None if the database never held a study.

    Raises:
        OutputError: The database does not answer.
    """
    from sqlalchemy import NullPool
    from sqlalchemy.exc import DBAPIError

    try:
        options = {"options": "-c default_transaction_read_only=on"}
        return _server(places.storage, options, poolclass=NullPool)
    except DBAPIError:  # it would have had to make the tables first
        return None


def never(error: Exception) -> bool:
    """Return False: the lock of a journal waits by itself."""
    return False


def is_locked(error: Exception) -> bool:
    """Return whether another process holds an SQLite file."""
    return _sqlite_name(error).startswith("SQLITE_BUSY")


def is_read_only(error: Exception) -> bool:
    """Return whether an SQLite file, or its folder, cannot be written to."""
    return _sqlite_name(error).startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN"))


def is_away(error: Exception) -> bool:
    """Return whether a server is stopped, starting or unreachable, which may pass."""
    from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError

    cause = _cause(error)
    if isinstance(cause, PendingRollbackError):  # the connection was lost before
        return True
    if not isinstance(cause, (OperationalError, InterfaceError)):
        return False
    state = _sqlstate(cause)
    return not state or state.startswith(_PASSING_STATES)


def _sqlite_file(path: Path, patience: float) -> optuna.storages.BaseStorage:
    from optuna.storages import RDBStorage, get_storage
    from sqlalchemy.pool import QueuePool

    timeout = min(_BUSY_SECONDS, patience)

    def connection() -> sqlite3.Connection:
        return open_database(path, timeout)

    engine = {"creator": connection, "poolclass": QueuePool}
    with of_this_optuna(str(path)):
        retry_call(lambda: _refuse_computing(path, timeout), is_locked, patience)
        return get_storage(retry_call(lambda: RDBStorage("sqlite://", engine), is_locked, patience))


def _refuse_computing(path: Path, timeout: float) -> None:
    """Check the tables of a file; errors are of the kind that SQLAlchemy raises."""
    from sqlalchemy.exc import DatabaseError

    try:
        require_tables_in(path, timeout)
    except sqlite3.DatabaseError as error:
        raise DatabaseError("", None, error) from None


def _server(url: str, options: Mapping[str, str], **pool: Any) -> optuna.storages.BaseStorage:
    """Open the studies of a PostgreSQL database; its connections close with the storage."""
    from optuna.storages import get_storage
    from sqlalchemy.exc import DBAPIError

    from tuning.study.idempotent_creation import IdempotentCreation

    # Where a host has gone without a word, half a minute; by themselves, connections wait hours.
    timeouts = {
        "connect_timeout": 10,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,
    }
    # A connection that broke while it was idle is then replaced without an error.
    engine = {"connect_args": {**timeouts, **options}, "pool_pre_ping": True, **pool}
    driver = url.replace(f"{_POSTGRESQL}://", f"{_POSTGRESQL}+psycopg://", 1)
    driver = driver.replace("{", "{{").replace("}", "}}")  # Optuna formats what it is given
    try:
        with of_this_optuna(url):
            studies = retry_call(
                lambda: IdempotentCreation(driver, engine), _is_being_made, _TABLES_SECONDS
            )
    except ImportError:
        raise MissingPackage("psycopg[binary]", "postgresql", "A study in PostgreSQL") from None
    except DBAPIError as error:
        if _sqlstate(error) == _WOULD_WRITE:
            raise
        raise OutputError(
            f"`{masked(url)}` does not answer: {first_line(error.orig or error)}. "
            "Start the server, or correct the URL. The password is that of PGPASSWORD or ~/.pgpass."
        ) from None
    weakref.finalize(studies, studies.engine.dispose)
    return get_storage(studies)


def _is_being_made(error: Exception) -> bool:
    return _sqlstate(_cause(error)) in _TABLES_BEING_MADE


def _cause(error: Exception) -> BaseException:
    from optuna.exceptions import StorageInternalError

    return error.__cause__ or error if isinstance(error, StorageInternalError) else error


def _sqlstate(error: BaseException) -> str:
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def _sqlite_name(error: Exception) -> str:
    return getattr(getattr(_cause(error), "orig", None), "sqlite_errorname", "")
