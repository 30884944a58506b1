"""A run, live or over, seen from another terminal: `python -m tuning.status RUN`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from quantum_rerank.console import run
from quantum_rerank.folder_lock import holder
from quantum_rerank.plain_console import make_console
from tuning.commands.options import TrustedStorage, TrustedStoragePath
from tuning.reporting.run_status import (
    Standing,
    standing,
)
from tuning.reporting.snapshot import read_snapshot
from tuning.reporting.status_tables import as_record, render
from tuning.study.run_folder import has_study, name_places

app = typer.Typer(add_completion=False)


@app.command()
def main(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a search.")],
    watch: Annotated[
        float | None,
        typer.Option(
            min=0.1, metavar="SECONDS", help="Look again this often, until the search is over."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON instead; with --watch, one each time.")
    ] = False,
    storage: TrustedStorage = None,
    storage_path: TrustedStoragePath = None,
) -> None:
    """Show how a search stands: its trials, best objective, cost, time left, failures.

    For a search that runs in another terminal, or one that is over. It reads the
    run's folder and writes nothing; the search does not notice.

    A run may keep its study in a database. No connection is made to one where this user has
    not started a search, until it is named with --storage. It is then remembered.

    Time left is what trials to come may need, by how far trials came and how fast
    they were, within the budgets; the conclusion comes on top.

    Exit codes: 0 shown (with --watch: until the search was over); 2 the folder holds
    no run; 130 Ctrl-C.
    """
    console = make_console()
    name_places(run_folder, storage, storage_path)
    if watch is not None:
        _wait_for_study(run_folder, watch)
    now = standing(read_snapshot(run_folder))
    if watch is None or as_json or not console.is_terminal:
        _show(now, as_json, console)
        while watch is not None and now.life.state == "running":
            time.sleep(watch)
            now = standing(read_snapshot(run_folder))
            _show(now, as_json, console)
        return
    with Live(render(now), console=console, auto_refresh=False) as live:
        while now.life.state == "running":
            time.sleep(watch)
            now = standing(read_snapshot(run_folder))
            live.update(render(now), refresh=True)


def _wait_for_study(folder: Path, seconds: float) -> None:
    """A search that was just started loads its data before it has a study."""
    while holder(folder) is not None and not has_study(folder):
        time.sleep(seconds)


def _show(now: Standing, as_json: bool, console: Console) -> None:
    if as_json:
        typer.echo(json.dumps(as_record(now)))
    else:
        console.print(render(now))


if __name__ == "__main__":
    run(app)
