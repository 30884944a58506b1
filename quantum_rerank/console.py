"""Errors, signals, output and output folders, shared by all commands."""

from __future__ import annotations

import errno
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank import output_streams
from quantum_rerank.errors import USAGE_EXIT_CODE, OutputError, QuantumRerankError
from quantum_rerank.folder_lock import LOCK
from quantum_rerank.interruption import Interrupted, Interruption
from quantum_rerank.output_streams import shown
from quantum_rerank.paths import expanded

if TYPE_CHECKING:
    import typer

INTERRUPTED_EXIT_CODE = 130
_format_warning = warnings.formatwarning
_PROBE = ".writable"  # stays where a command is interrupted right then
_OF_A_PATH = (errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP)


def run(app: typer.Typer) -> None:
    """Run a command line; a leading `~` of each path in it is the home folder.

    Exit codes: 0 done; 1 a fault of ours, with its traceback, or of the disk, with a
    message; 2 a mistake in what was given, with a message, a path that may not be read among
    them; 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP; 141 nobody reads the command's result, as with
    `| head`.
    """
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _with_home(command.callback)
    output_streams.install()
    warnings.formatwarning = _plain_warning
    try:
        sys.exit(_exit_code(app) or _written())
    except BaseException:
        with output_streams.as_a_display():  # output that is broken too hides nothing
            raise


def _exit_code(app: typer.Typer) -> str | int | None:
    """Run a command line to its end, and tell what a user can mend without a traceback."""
    interruption = Interruption()
    try:
        with interruption.listening():
            app()
    except SystemExit as end:
        is_interrupted = end.code == INTERRUPTED_EXIT_CODE  # of any signal, as typer sees it
        return interruption.heard.exit_code if is_interrupted and interruption.heard else end.code
    except Interrupted as interrupted:
        return interrupted.exit_code
    except QuantumRerankError as error:
        _tell(str(error))
        return error.exit_code
    except OSError as error:
        if output_streams.is_output_error(error):
            return _unwritable(error)
        # Even asking whether something is there fails so, wherever a path is first looked at.
        if error.errno not in _OF_A_PATH or error.filename is None:
            raise
        _tell(f"`{error.filename}`: {error.strerror}.")
        return USAGE_EXIT_CODE
    return None


def _written() -> str | int | None:
    """Write what is left of the output; the exit code if that fails."""
    try:
        output_streams.flush()
    except SystemExit as end:
        return end.code
    except OSError as error:
        return _unwritable(error)
    return None


def _unwritable(error: OSError) -> int:
    _tell(f"{error.filename} cannot be written: {error.strerror}.")
    return 1


def _tell(mistakes: str) -> None:
    for line in mistakes.splitlines():
        print(f"error: {shown(line)}", file=sys.stderr)


def _plain_warning(*given: Any, **named: Any) -> str:
    """A warning as Python shows it, but for control characters."""
    return shown(_format_warning(*given, **named))


def say(text: str, *, stderr: bool = False) -> None:
    """Print a line about what a command does or has done, without control characters.

    The command does not fail where nobody can read it.
    """
    with output_streams.as_a_display():
        print(shown(text), file=sys.stderr if stderr else sys.stdout, flush=True)


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
        new = {LOCK, _PROBE, *but}
        if path.exists() and (not path.is_dir() or {p.name for p in path.iterdir()} - new):
            raise OutputError(
                f"`{path}` exists and is not empty; it may hold another run. "
                "Name a new folder with --output, or remove this one."
            )
        path.mkdir(parents=True, exist_ok=True)
        (path / _PROBE).touch()
        (path / _PROBE).unlink()
    except OSError as error:
        raise OutputError(f"`{path}` cannot be written: {error.strerror}.") from None
    return path
