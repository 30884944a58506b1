"""Tell ended runs together: curves, seeds, models with intervals, and the worst queries."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantum_rerank.console import run
from quantum_rerank.errors import OutputError, QuantumRerankError

if TYPE_CHECKING:
    from quantum_rerank.cli.ended_runs import Group
    from quantum_rerank.cli.result_tables import Paired, Tabular, TextOf

_SHOWN = 200  # characters of a text

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def main(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of trainings, and of searches."),
    ],
    html: Annotated[
        Path | None, typer.Option(help="New file for the same as a page with pictures.")
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst queries.")] = 10,
    force: Annotated[bool, typer.Option("--force", help="Write over the page.")] = False,
) -> None:
    """Put the results of several trainings side by side.

    Trainings that differ in nothing but their seed are one group: their spread is told, and
    models are compared query by query on the mean over seeds, with a 95 % interval over queries.
    The worst queries are those that lost most against the cosine, with their texts where the
    collections are still in place. Example:

        for seed in 1 2 3; do python -m quantum_rerank.cli.train_hybrid_model \\
            --data icd10:5 --set seed=$seed --output runs/seed-$seed; done

        python -m quantum_rerank.cli.analyze_training_results runs/seed-* \\
            --html results.html
    """
    from quantum_rerank.cli.ended_runs import grouped, read_runs
    from quantum_rerank.cli.result_tables import paired, runs_table, search_table
    from quantum_rerank.plain_console import make_console

    if html and html.exists() and not force:
        raise OutputError(f"`{html}` exists already. Name another file, or pass --force.")
    trainings, searches = read_runs(runs)
    groups, console = grouped(trainings), make_console()
    pairs = {group.name: {role: paired(group, role) for role in group.roles} for group in groups}
    tables = [runs_table(groups)] if groups else []
    text_of = _texts(groups, console) if worst else None
    of_group = {group.name: _tables(group, pairs[group.name], text_of, worst) for group in groups}
    of_searches = [search_table(search) for search in searches]
    for table in chain(tables, *of_group.values(), of_searches):
        console.print(table.rich())
    if html:
        _write_page(html, groups, tables, of_group, pairs, of_searches)
        console.print(f"Wrote {html}.", soft_wrap=True)


def _tables(
    group: Group, pairs: dict[str, list[Paired]], text_of: TextOf | None, worst: int
) -> list[Tabular]:
    from quantum_rerank.cli.result_tables import (
        paired_table,
        seeds_table,
        targets_table,
        worst_table,
    )

    tables = [seeds_table(group), targets_table(group)]
    tables += [paired_table(group, role, found) for role, found in pairs.items()]
    if text_of:
        tables += [worst_table(group, role, text_of, worst) for role in group.roles]
    return tables


def _write_page(
    path: Path,
    groups: Sequence[Group],
    tables: list[Tabular],
    of_group: dict[str, list[Tabular]],
    pairs: dict[str, dict[str, list[Paired]]],
    of_searches: list[Tabular],
) -> None:
    from quantum_rerank.cli.result_page import curves, differences, spread, write_page

    parts: list[Any] = [*tables]
    if groups:
        parts += [
            curves(groups, "train_loss", "Training loss"),
            curves(groups, "objective", "Best validation objective so far"),
            spread(groups),
        ]
    for group in groups:
        title = f"{group.name}: models, paired over queries"
        parts += [differences(title, pairs[group.name]), *of_group[group.name]]
    write_page(path, "Results of training", [*parts, *of_searches])


def _texts(groups: Sequence[Group], console: Any) -> TextOf:
    """Find the texts of queries; of a collection that is no longer there, say so once."""
    from quantum_rerank.config import build_config
    from quantum_rerank.datasets import Collection, load_collection

    collections: dict[str, Collection] = {}
    data = [build_config(group.runs[0].record["config"]).data for group in groups]
    specs = {spec: config for config in data for spec in (*config.seen, *config.unseen_test)}
    for spec, config in specs.items():
        try:
            loaded = load_collection(spec, config)
        except QuantumRerankError as error:
            console.print(f"No texts of {spec}: {error}", soft_wrap=True)
            continue
        collections[loaded.domain] = loaded

    def text_of(domain: str, query: str) -> tuple[str, str]:
        found = collections.get(domain)
        if found is None or query not in found.queries:
            return "", ""
        judged = found.qrels[query]
        best = max(judged, key=judged.__getitem__)
        return _short(found.queries[query]), _short(found.corpus[best])

    return text_of


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


if __name__ == "__main__":
    run(app)
