"""The command `python -m experiments.few_labels`: the tuned model with few training queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.options import Encoder, Jobs
from quantum_rerank.console import run
from quantum_rerank.output_streams import as_a_display

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.plan import Dataset, Setup, Task
    from experiments.results import Result

FEW = (20, 50, 100)
"""Numbers of training queries that every collection is cut to, as far as it has them."""
CURVE = (20, 50, 100, 200, 500, 1000)
"""Numbers of training queries of the learning curve, and all where there are fewer."""
CURVE_COLLECTIONS = ("icd10", "gpe", "scifact", "cosqa")
FEW_COLLECTIONS = ("zaragoza", "scifact", "cran", "cosqa", "npl", "cisi", "med")
CURVE_ONLY = tuple(name for name in CURVE_COLLECTIONS if name not in FEW_COLLECTIONS)
COMPARED = ("cosine", "bm25_cosine", "first_stage", "tuned", "discriminant")
SEEDS = 5
DRAWS = 4
"""Times as many seeds with 20 training queries: which 20 they are matters more than the model."""

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@as_a_display()
def main(
    render: Annotated[
        bool,
        typer.Option(help="Train nothing: print the page of the results that are in --output."),
    ] = False,
    beir: Annotated[
        Path | None, typer.Option(help="Folder with the BEIR folders of the experiments.")
    ] = None,
    collections: Annotated[
        list[str] | None,
        typer.Option("--collection", "--collections", help="Only this collection. Repeatable."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 1.")] = SEEDS,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/few-labels"),
    docs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the page. Default: docs with all collections and seeds, otherwise the "
            "folder of the results."
        ),
    ] = None,
    tuned: Annotated[Path, typer.Option(help="YAML of the tuned configuration.")] = Path(
        "configs/tuned_config.yaml"
    ),
    encoder: Encoder = "minilm",
    jobs: Jobs = None,
) -> None:
    """Cut the training queries to 20, 50 and 100, and up to 1,000 for a learning curve.

    Validation queries are cut in the same proportion; test queries are not. Results are files:
    the same command resumes. Example:

        python -m experiments.few_labels --beir data
    """
    from experiments.plan import choose_datasets
    from experiments.training import all_results
    from quantum_rerank.machine import cores
    from quantum_rerank.plain_console import make_console

    console = make_console()
    if render:
        _write(docs or output, *stored(output), seeds, (), console)
        return
    names = tuple(collections or dict.fromkeys((*FEW_COLLECTIONS, *CURVE_COLLECTIONS)))
    chosen = choose_datasets(beir, names)
    for name, reason in chosen.left_out.items():
        console.print(f"Skipping {name}: {reason}", soft_wrap=True)
    numbers = range(1, seeds + 1)
    cuts = [cut for dataset in chosen.datasets for cut in cuts_of(dataset, numbers, encoder)]
    models = rows(tuned)
    planned = list(tasks_of(cuts, models, numbers, encoder))
    del models["discriminant"]
    drawn = [cut for cut in cuts if has_draws(cut)]
    more = range(seeds + 1, DRAWS * seeds + 1)
    planned += tasks_of(drawn, models, more, encoder)
    results, _ = all_results(planned, cuts, output, jobs or cores(), console)
    whole = not collections and not chosen.left_out and seeds == SEEDS
    folder = docs or (Path("docs") if whole else output)
    _write(folder, cuts, results, seeds, tuple(chosen.left_out), console)


def _write(
    folder: Path,
    cuts: Sequence[Dataset],
    results: Sequence[Result],
    seeds: int,
    left_out: Sequence[str],
    console: Console,
) -> None:
    from experiments.few_labels_page import PAGE, document, measured_cuts
    from quantum_rerank.atomic import output_errors, write_text

    drawn = [cut for cut in cuts if has_draws(cut)]
    of_seeds = [result for result in results if result.seed <= seeds]
    tables = measured_cuts(cuts, of_seeds), measured_cuts(drawn, results)
    with output_errors(folder / PAGE):
        write_text(folder / PAGE, document(*tables, seeds, left_out))
    console.print(f"Wrote {folder / PAGE}.", soft_wrap=True)


def stored(folder: Path) -> tuple[list[Dataset], list[Result]]:
    """Return the cuts and the results below a folder, whose data are not checked.

    Raises:
        ConfigError: The folder has no results.
    """
    from experiments.plan import Dataset
    from experiments.results import Result
    from quantum_rerank.errors import ConfigError
    from quantum_rerank.regular_files import read_json

    results = [Result(read_json(path)) for path in sorted(folder.glob("*/*/*.json"))]
    if not results:
        raise ConfigError(f"`{folder}` has no results. Run the experiments without --render.")
    cuts = dict[str, Dataset]()
    for result in results:
        data = result.record["config"]["data"]
        for name in result.scores:
            cuts[result.dataset] = Dataset(
                result.dataset,
                tuple(data["seen"]),
                {"test": name},
                train_queries=data["train_queries"],
            )
    order = (*FEW_COLLECTIONS, *CURVE_ONLY)

    def place(cut: Dataset) -> tuple[int, int]:
        name = cut.name.rpartition("-")[0]
        known = order.index(name) if name in order else len(order)
        return known, cut.train_queries or 0

    return sorted(cuts.values(), key=place), results


def rows(tuned: Path) -> dict[str, Setup]:
    """Return the compared models, all with the data of the tuned one.

    Args:
        tuned: File of the tuned configuration.
    """
    from experiments.plan import read_tuned, setups

    config = read_tuned(tuned)
    # The twin of the tables is not compared here: any configuration of it stands in.
    twin = config.model_copy(update={"model": "mlp_twin"})
    of_all = setups(config, twin, {})
    return {name: of_all[name] for name in COMPARED if name in of_all}


def cuts_of(dataset: Dataset, seeds: Sequence[int], encoder: str) -> Iterator[Dataset]:
    """Yield a data set with every number of training queries, the fewest first.

    The last is not cut where all its training queries are fewer than those of the largest cut.

    Args:
        dataset: Data set of the experiments. Its domains that are not trained on are left out:
            whoever has few labels has none of another domain to choose on.
        seeds: Seeds, each with its own split.
        encoder: Name of the encoder.
    """
    from quantum_rerank.training.run_collections import split_collections

    dataset = replace(
        dataset,
        unseen_validation=(),
        unseen_test=(),
        collections={"test": dataset.collections["test"]},
    )
    splits = [split_collections(dataset.data(encoder, seed)).splits for seed in seeds]
    available = min(sum(len(split.train) for split in of_seed.values()) for of_seed in splits)
    sizes = [n for n in sizes_of(dataset.name) if len(dataset.seen) <= n < available]
    for n_queries in sizes:
        yield replace(dataset, name=f"{dataset.name}-{n_queries}", train_queries=n_queries)
    if not sizes or (dataset.name in CURVE_COLLECTIONS and available <= CURVE[-1]):
        yield replace(dataset, name=f"{dataset.name}-{available}", train_queries=available)


def has_draws(cut: Dataset) -> bool:
    """Return whether a cut is measured on DRAWS times as many seeds."""
    name = cut.name.rpartition("-")[0]
    return name not in CURVE_ONLY and (cut.train_queries or 0) <= FEW[0]


def sizes_of(name: str) -> tuple[int, ...]:
    """Return the numbers of training queries of a data set."""
    return CURVE if name in CURVE_COLLECTIONS else FEW


def tasks_of(
    cuts: Sequence[Dataset], models: Mapping[str, Setup], seeds: Sequence[int], encoder: str
) -> Iterator[Task]:
    """Yield every training, ordered by its data, which a worker caches once prepared.

    All models have the data of the tuned one. The discriminant is measured on the small cuts.
    """
    from experiments.plan import TUNED, Task

    of_tuned = models[TUNED].config.data
    for cut in cuts:
        for seed in seeds:
            data = cut.data(encoder, seed).model_copy(
                update={"lexical": of_tuned.lexical, "language": of_tuned.language}
            )
            for name, setup in models.items():
                if name == "discriminant" and (cut.train_queries or 0) > FEW[-1]:
                    continue
                config = setup.config.model_copy(update={"data": data, "seed": seed})
                yield Task(cut.name, name, setup.model, config)


if __name__ == "__main__":
    run(app)
