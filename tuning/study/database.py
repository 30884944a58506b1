"""Connections to a study in SQLite, whose file may come from anybody.

A schema is a program: views are computed as they are read, triggers run as something is written,
and both may call functions. Optuna makes tables and indexes only, so nothing else is accepted.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from quantum_rerank.regular_files import require_regular

MAX_STUDY = 2**27
"""Largest study that is read into memory, in bytes: some 10,000 trials of 50 epochs."""

_LONGEST_VALUE = 2**24  # bytes of a text
_BESIDE = ("", "-journal", "-wal", "-shm")  # SQLite's own files
_COMPUTED = re.compile(r"^\s*CREATE\s+VIRTUAL|\bGENERATED\b|\bAS\s*\(", re.IGNORECASE)


def open_database(path: Path, timeout: float, read_only: bool = False) -> sqlite3.Connection:
    """Open a study's file, which is made if it is not there and may be written.

    Args:
        path: File.
        timeout: Seconds to wait while it is locked.
        read_only: Whether nothing is written, and a missing file is an error.

    Raises:
        OSError: The file, or one of SQLite's beside it, is a link or no regular file.
        sqlite3.DatabaseError: It is no database, or computes something.
    """
    for suffix in _BESIDE:
        require_regular(f"{path}{suffix}")
    # Opened by its path where it is written: in a URI, `?`, `%` and braces mean something else.
    name = f"{path.resolve().as_uri()}?mode=ro" if read_only else str(path)
    # The pool hands a connection from one thread to another, but never to two at once.
    connection = sqlite3.connect(name, timeout=timeout, check_same_thread=False, uri=read_only)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def require_tables(connection: sqlite3.Connection) -> None:
    """Check that a database has nothing but tables of stored values, and indexes.

    Raises:
        sqlite3.DatabaseError: It is damaged, or has a view, a trigger, a virtual table or a
            computed column.
    """
    try:
        schema = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    except UnicodeDecodeError:  # SQLite's message quotes the bytes of a damaged schema
        raise sqlite3.DatabaseError("database disk image is malformed") from None
    for kind, name, sql in schema:
        if kind not in ("table", "index") or _COMPUTED.search(str(sql)):
            raise sqlite3.DatabaseError(f"the {kind} `{name}` is none that a search makes")


def require_tables_in(path: Path, timeout: float) -> None:
    """Check a study's file before it is opened to be written; a missing file is accepted.

    Raises:
        OSError: The file is a link or no regular file.
        sqlite3.DatabaseError: It is no database, or computes something.
    """
    if path.exists():
        with closing(open_database(path, timeout)) as connection:
            require_tables(connection)
