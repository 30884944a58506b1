"""What every command shares: errors without a traceback, and fresh output folders."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.errors import USAGE_EXIT_CODE, OutputError, QuantumRerankError
from quantum_rerank.folder_lock import LOCK
from quantum_rerank.paths import expanded

if TYPE_CHECKING:
    import typer

INTERRUPTED_EXIT_CODE = 130
_OF_A_PATH = (errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP)


def run(app: typer.Typer) -> None:
    """Run a command line; a leading `~` of each path in it is the home folder.

    Exit codes: 0 done; 1 a fault of ours, with its traceback, or of the disk, with a
    message; 2 a mistake in what was given, with a message, a path that may not be read among
    them; 130 interrupted (typer sees to that).
    """
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _with_home(command.callback)
    try:
        app()
    except QuantumRerankError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        # Even asking whether something is there fails so, wherever a path is first looked at.
        if error.errno not in _OF_A_PATH or error.filename is None:
            raise
        print(f"error: `{error.filename}`: {error.strerror}.", file=sys.stderr)
        sys.exit(USAGE_EXIT_CODE)


def _with_home(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same command with `~` expanded in its paths; in `--x=~/y` a shell does not do so."""

    @wraps(command)
    def called(**arguments: Any) -> Any:
        return command(**{name: _expanded(value) for name, value in arguments.items()})

    return called


def _expanded(value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    return expanded(value) if isinstance(value, Path) else value


def pasted(*words: object) -> str:
    """Write a command so that it can be pasted into a shell, whatever is in its paths.

    >>> pasted("python", "-m", "tuning.search", "--resume", "runs/lr=1 or 2?")
    "python -m tuning.search --resume 'runs/lr=1 or 2?'"
    """
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    """A word of a command; line breaks and the like as escapes, which bash and zsh read."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = "".join(c if c.isprintable() and c not in "'\\" else _escape(c) for c in word)
    return f"$'{escaped}'"


def _escape(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def new_folder(path: Path, but: Sequence[str] = ()) -> Path:
    """Make a folder for a run's output; one that was locked, and nothing more, is new.

    but: names of files that a run leaves which fails before it begins.

    Raises: OutputError if it holds something already or cannot be written.
    """
    try:
        if path.exists() and (not path.is_dir() or {p.name for p in path.iterdir()} - {LOCK, *but}):
            raise OutputError(
                f"`{path}` exists and is not empty; it may hold another run. "
                "Name a new folder with --output, or remove this one."
            )
        path.mkdir(parents=True, exist_ok=True)
        (path / ".writable").touch()
        (path / ".writable").unlink()
    except OSError as error:
        raise OutputError(f"`{path}` cannot be written: {error.strerror}.") from None
    return path
