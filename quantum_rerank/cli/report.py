"""Command `report`: compare finished trainings and searches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantum_rerank.console import run
from quantum_rerank.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console

    from quantum_rerank.reports.runs import Group
    from quantum_rerank.reports.tables import TextOf

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Folders of trainings and of searches.")
]
Html = Annotated[
    Path | None, typer.Option("--html", help="New file for the report as a page with charts.")
]
Worst = Annotated[
    int, typer.Option("--worst", min=0, help="Number of queries with the largest loss to list.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing page.")]


@app.command()
def report(runs: Runs, html: Html = None, worst: Worst = 10, force: Force = False) -> None:
    """Compare finished trainings and searches.

    Trainings that differ only in their seed form a group, whose spread is reported. Models are
    compared per query, on the mean over seeds, with a 95 % confidence interval over queries. The
    queries with the largest loss relative to cosine are listed, with their texts if the
    collections are available. Example:

        for seed in 1 2 3; do quantum-rerank train --data icd10:5 \\
            --set seed=$seed --output runs/seed-$seed; done

        quantum-rerank report runs/seed-* --html results.html
    """
    from quantum_rerank.plain_console import make_console
    from quantum_rerank.reports.charts import write_report
    from quantum_rerank.reports.report import Report
    from quantum_rerank.reports.runs import grouped, read_runs

    if html and html.exists() and not force:
        raise OutputError(f"`{html}` exists already. Name another file, or pass --force.")
    trainings, searches = read_runs(runs)
    groups, console = grouped(trainings), make_console()
    text_of = _texts(groups, console) if worst else None
    contents = Report.of(groups, searches, text_of, worst)
    for table in contents.tables():
        console.print(table.rich())
    if html:
        write_report(html, contents)
        console.print(f"Wrote {html}.", soft_wrap=True)


def _texts(groups: list[Group], console: Console) -> TextOf:
    """Return the texts of queries; print a line for every collection that is missing."""
    from quantum_rerank.reports.texts import query_texts

    text_of, problems = query_texts(groups)
    for problem in problems:
        console.print(problem, soft_wrap=True)
    return text_of


if __name__ == "__main__":
    run(app)
