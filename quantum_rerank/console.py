"""Errors, signals, output and output folders, shared by all commands."""

from __future__ import annotations

import errno
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
from quantum_rerank.paths import expanded
from quantum_rerank.plain_text import shown

if TYPE_CHECKING:
    import typer

INTERRUPTED_EXIT_CODE = 130
_format_warning = warnings.formatwarning
_PROBE = ".writable"  # stays where a command is interrupted right then
_OF_A_PATH = (errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP, errno.EFBIG, errno.EISDIR)


def run(app: typer.Typer) -> None:
    """Run a command line and exit.

    Exit codes: 0 success; 1 a bug of this package, with its traceback, or a failure of the disk,
    with a message; 2 invalid input, with a message, such as a path that cannot be read; 130
    Ctrl-C, 143 SIGTERM, 129 SIGHUP; 141 the reader of the command's result is gone, as with
    `| head`.

    Args:
        app: Application of typer. A leading `~` of its path arguments is the home folder.
    """
    expand_paths(app)
    output_streams.install()
    warnings.formatwarning = _plain_warning
    try:
        sys.exit(_exit_code(app) or _written())
    except BaseException:
        with output_streams.as_a_display():  # broken output must not hide the exception
            raise


def _exit_code(app: typer.Typer) -> str | int | None:
    """Run a command line, and print errors that the user can fix without a traceback."""
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
        _print_errors(str(error))
        return error.exit_code
    except OSError as error:
        if output_streams.is_output_error(error):
            return _unwritable(error)
        # `Path.exists` fails like this too, wherever a path is first used.
        if error.errno not in _OF_A_PATH or error.filename is None:
            raise
        _print_errors(f"`{error.filename}`: {error.strerror}.")
        return USAGE_EXIT_CODE
    return None


def _written() -> str | int | None:
    """Write buffered output; return the exit code if that fails."""
    try:
        output_streams.flush()
    except SystemExit as end:
        return end.code
    except OSError as error:
        return _unwritable(error)
    return None


def _unwritable(error: OSError) -> int:
    _print_errors(f"{error.filename} cannot be written: {error.strerror}.")
    return 1


def _print_errors(message: str) -> None:
    for line in message.splitlines():
        print(f"error: {shown(line)}", file=sys.stderr)


def _plain_warning(*args: Any, **kwargs: Any) -> str:
    """Return a warning as Python formats it, without control characters."""
    return shown(_format_warning(*args, **kwargs))


def say(text: str, *, stderr: bool = False) -> None:
    """Print a message of a command, without control characters.

    The command does not fail if the stream is broken.

    Args:
        text: Line to print.
        stderr: Print to standard error.
    """
    with output_streams.as_a_display():
        print(shown(text), file=sys.stderr if stderr else sys.stdout, flush=True)


def expand_paths(app: typer.Typer) -> None:
    """Expand `~` in the path arguments of every command; a shell does not in `--x=~/y`."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _with_expanded_paths(command.callback)


def _with_expanded_paths(command: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(command)
    def expanding(**arguments: Any) -> Any:
        return command(**{name: _expanded(value) for name, value in arguments.items()})

    return expanding


def _expanded(value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    return expanded(value) if isinstance(value, Path) else value


def new_folder(path: Path, but: Sequence[str] = ()) -> Path:
    """Create the output folder of a run; a folder with nothing but a lock file counts as new.

    Args:
        path: Folder to create.
        but: Names of files that may exist, which a run leaves if it fails before its start.

    Returns:
        `path`.

    Raises:
        OutputError: The folder holds another file, or cannot be written.
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
