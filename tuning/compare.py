"""Command `compare`: several searches side by side; python -m tuning.compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantum_rerank.console import run
from quantum_rerank.errors import ConfigError, OutputError
from quantum_rerank.plain_console import make_console
from tuning.commands.options import TrustedStorage, TrustedStoragePath
from tuning.study.run_folder import name_places

app = typer.Typer(add_completion=False)


@app.command()
def main(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of searches.")],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="New file for the comparison as a page.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="New file for the best objective after each trial."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    storage: TrustedStorage = None,
    storage_path: TrustedStoragePath = None,
) -> None:
    """Compare searches that are running or over.

    The tables show their cost, the best validation objective after the same core time, the keys
    in which the best trials differ, the importance of each parameter, and the difference of the
    winners on the test queries that two searches share, with 95 % intervals and p-values that are
    corrected by Holm's method.

    Example:

        quantum-rerank compare runs/tpe runs/random --html comparison.html
    """
    from tuning.reporting.search_comparison import (
        comparison_tables,
        progress_rows,
        read_searches,
        write_comparison,
    )

    if len({folder.resolve() for folder in runs}) < max(len(runs), 2):
        raise ConfigError("Name two different searches at least, each once.")
    for path in (html, csv):
        if path is not None and path.exists() and not force:
            raise OutputError(f"`{path}` exists already. Name another file, or pass --force.")
    for folder in runs:
        name_places(folder, storage, storage_path)
    console, searches = make_console(), read_searches(runs)
    for table in comparison_tables(searches):
        console.print(table.rich())
    if csv is not None:
        _write_csv(csv, progress_rows(searches))
    if html is not None:
        write_comparison(html, searches)
    for path in (csv, html):
        if path is not None:
            console.print(f"Wrote {path}.", soft_wrap=True)


def _write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    import pandas as pd

    from quantum_rerank.atomic import output_errors, write_text
    from quantum_rerank.plain_text import table_cell

    with output_errors(path):
        write_text(path, pd.DataFrame(rows).map(table_cell).to_csv(index=False))


if __name__ == "__main__":
    run(app)
