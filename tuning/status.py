"""Status of a run, live or over, from another terminal: `python -m tuning.status RUN`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from quantum_rerank.console import run
from quantum_rerank.errors import OutputError
from quantum_rerank.folder_lock import holder
from quantum_rerank.plain_console import make_console
from tuning.commands.options import RunFolder, TrustedStorage, TrustedStoragePath
from tuning.reporting.run_status import RunStatus, run_status
from tuning.reporting.snapshot import read_snapshot
from tuning.reporting.status_tables import as_record, render
from tuning.study.run_folder import has_study, name_places

app = typer.Typer(add_completion=False)


@app.command()
def main(
    run_folder: RunFolder,
    watch: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="Refresh every so many seconds, until the search is over.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON; with --watch, one per refresh.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the search's page with charts too; with --watch, again at each refresh.",
        ),
    ] = None,
    storage: TrustedStorage = None,
    storage_path: TrustedStoragePath = None,
) -> None:
    """Show the status of a search: its trials, best objective, cost, time left, failures.

    The search may be running, or over. The command only reads its folder and study.

    If the study is in a database that this user has not used yet, name it once with --storage.

    The time left is estimated from the epochs and seconds of the trials so far, within the
    budgets. Confirmation and test come on top.

    Exit codes: 0 success; 2 the folder holds no search, or a part of it cannot be read and the
    rest is shown; 130 Ctrl-C.

    Example:

        quantum-rerank status runs/default --watch 10
    """
    console = make_console()
    name_places(run_folder, storage, storage_path)
    if watch is not None:
        _wait_for_study(run_folder, watch)
    read = partial(_read, run_folder, html)
    status = read()
    if watch is None:
        _show(status, as_json, console)
    elif as_json or not console.is_terminal:
        _show_again(status, read, watch, as_json, console)
    else:
        _show_live(status, read, watch, console)


def _read(folder: Path, html: Path | None) -> RunStatus:
    """Return the status of a run, and write its page if one is asked for."""
    snapshot = read_snapshot(folder)
    if html is not None:
        from tuning.reporting.search_page import write_search_page

        write_search_page(snapshot, html)
    return run_status(snapshot)


def _wait_for_study(folder: Path, seconds: float) -> None:
    """Wait for a search that was just started, which loads its data before it has a study."""
    while holder(folder) is not None and not has_study(folder):
        time.sleep(seconds)


def _show(status: RunStatus, as_json: bool, console: Console) -> None:
    if as_json:
        typer.echo(json.dumps(as_record(status)))
    else:
        console.print(render(status))
    _refuse_problems(status)


def _refuse_problems(status: RunStatus) -> None:
    """Raise OutputError, once what can be read is shown, for what cannot."""
    if status.problems:
        raise OutputError("\n".join(status.problems))


def _show_again(
    status: RunStatus,
    read: Callable[[], RunStatus],
    seconds: float,
    as_json: bool,
    console: Console,
) -> None:
    """Print the status again and again until the search is over."""
    _show(status, as_json, console)
    while status.life.state == "running":
        time.sleep(seconds)
        status = read()
        _show(status, as_json, console)


def _show_live(
    status: RunStatus, read: Callable[[], RunStatus], seconds: float, console: Console
) -> None:
    """Show the status in place until the search is over."""
    with Live(render(status), console=console, auto_refresh=False) as live:
        while status.life.state == "running":
            time.sleep(seconds)
            status = read()
            live.update(render(status), refresh=True)
            _refuse_problems(status)


if __name__ == "__main__":
    run(app)
