"""Run the study, or what is left of it, and write down what it says."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantum_rerank.console import run
from quantum_rerank.errors import ConfigError, OutputError
from quantum_rerank.output_streams import as_a_display
from quantum_rerank.paths import expanded
from quantum_rerank.training.data_description import describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from experiments.plan import Dataset, Setup, Task
    from experiments.report import Told
    from experiments.results import Result

TUNED_FILES = {
    "tuned": Path("configs/tuned_config.yaml"),
    "tuned_twin": Path("configs/tuned_twin.yaml"),
}
"""Row -> what the project's own search found for it."""

DOCS = Path("docs")
REPORT, FIGURES, PICTURES = "experiments.md", "experiments.json", "experiments"
SEEDS, ENCODER = 5, "minilm"

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@as_a_display()
def main(
    tuned: Annotated[
        Path,
        typer.Option(
            help="YAML with the tuned numbers, as nested sections or dotted keys. Its model is "
            "hybrid or hybrid_amplitude; its data and seed are not read."
        ),
    ] = TUNED_FILES["tuned"],
    tuned_twin: Annotated[
        Path, typer.Option(help="The same of the model mlp_twin, tuned for itself.")
    ] = TUNED_FILES["tuned_twin"],
    output: Annotated[
        Path, typer.Option(help="Folder of the results, a file per training.")
    ] = Path("runs/experiments"),
    docs: Annotated[
        Path | None,
        typer.Option(
            help="Folder for experiments.md, experiments.json and the pictures. If not given: docs "
            "for the whole experiment, else the folder of the results."
        ),
    ] = None,
    beir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of BEIR folders: scifact, cran, cisi, npl, cosqa and med are taken from "
            "it where they are there."
        ),
    ] = None,
    collections: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            "--collections",
            help="Only this one: icd10, gpe, zaragoza, or one of --beir's six. Repeatable.",
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "--models", help="Only this one beside cosine. Repeatable."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Trainings of each model: seeds 1 to this.")
    ] = SEEDS,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Trainings at once, a core each; all cores if not given."),
    ] = None,
    encoder: Annotated[str, typer.Option(help="Who embeds the texts.")] = ENCODER,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="One value for all models, as `--set training.max_epochs=2`. Not of data, seed or "
            "model, which the study decides.",
        ),
    ] = None,
) -> None:
    """Train every model on every data set and seed, and tell the differences with intervals.

    The models: `default` (the hybrid, untuned), `tuned`, `tuned_twin` (its classical twin, tuned in
    the same budget), the controls with the tuned hybrid's numbers, and the baselines cosine, bm25
    and bm25_cosine. All have the same data and splits.

    The controls have the epochs and the patience of `tuned`, while `default` has its own. Both
    tuned rows were searched for and chosen on ICD-10's validation queries and its chapters 7 and 8
    only: on other data sets they are transferred. No other control was searched for itself: a lead
    of `tuned` over one may be the search's.

    Each result is on disk as soon as it is there. The same command goes on where a study was
    stopped or killed, and trains again only what other numbers or data decide. Example:

        python -m experiments --beir data --seeds 5

        python -m experiments --collection zaragoza --seeds 2 \\
            --model default --model tuned --output runs/short
    """
    from experiments.analysis import all_pairs, measured
    from experiments.pictures import require_matplotlib
    from experiments.plan import choose_datasets, read_tuned, setups, tasks
    from experiments.report import Told
    from quantum_rerank.config import parse_override
    from quantum_rerank.machine import cores
    from quantum_rerank.plain_console import make_console

    require_matplotlib()
    console = make_console()
    overrides = dict(parse_override(text) for text in set_ or [])
    files = {"tuned": tuned, "tuned_twin": tuned_twin}
    rows = _only(models, setups(read_tuned(tuned), read_tuned(tuned_twin), overrides))
    chosen = choose_datasets(beir, collections or ())
    for name, why in chosen.left_out.items():
        console.print(f"{name} is left out: {why}", soft_wrap=True)
    planned = tasks(chosen.datasets, rows, range(1, seeds + 1), encoder)
    results, skipped = _results(planned, chosen.datasets, output, jobs or cores(), console)
    found = measured(results)
    console.print("Comparing the models over queries, which takes a minute or two ...")
    searched = frozenset(name for name, file in files.items() if file == TUNED_FILES[name])
    changes = _changes(files, collections, models, seeds, encoder, set_)
    whole = not changes and not chosen.left_out
    told = Told(
        command=_command(changes, beir, docs),
        seeds=range(1, seeds + 1),
        rows=rows,
        searched=searched,
        datasets=chosen.datasets,
        left_out=chosen.left_out,
        skipped=skipped,
        results=results,
        found=found,
        pairs=all_pairs(found),
    )
    _write(told, docs or (DOCS if whole else output), console)


def _only(models: Sequence[str] | None, rows: Mapping[str, Setup]) -> dict[str, Setup]:
    """The rows asked for, and the cosine, which all are held against."""
    from quantum_rerank.evaluation import COSINE

    if unknown := [name for name in models or () if name not in rows]:
        known = ", ".join(rows)
        raise ConfigError(
            [f"`{name}` is no model of the study. Known: {known}." for name in unknown]
        )
    return {name: row for name, row in rows.items() if not models or name in (COSINE, *models)}


def _results(
    planned: Sequence[Task],
    datasets: Sequence[Dataset],
    folder: Path,
    jobs: int,
    console: Console,
) -> tuple[list[Result], dict[str, dict[str, int]]]:
    """Every task's result, in their order: read where it is there, else trained.

    And domain -> what was not taken as it was given -> how often in a split, at most.
    """
    from experiments.measuring import prepared_data
    from experiments.results import Results, fingerprint

    kept = Results(folder)
    found: dict[Path, Result] = {}
    left: list[Task] = []
    n_queries: dict[str, int] = {}
    skipped: dict[str, dict[str, int]] = {}
    for task in planned:
        prepared, _, data = prepared_data(task.config.data)
        for domain, counts in prepared.skipped.items():
            known = skipped.setdefault(domain, {})
            known.update({what: max(count, known.get(what, 0)) for what, count in counts.items()})
        if task.dataset not in n_queries:
            n_queries[task.dataset] = sum(len(one.query_ids) for one in prepared.trial.train)
            console.print(*describe(prepared), sep="\n", soft_wrap=True)
        result = kept.of(task, fingerprint(task.config, task.model, data))
        if result is None:
            left.append(task)
        else:
            found[task.place] = result
    prepared_data.cache_clear()  # the workers have their own
    console.print(f"{len(planned)} trainings, {len(found)} of them done before.")
    if left:
        collections = {dataset.name: dataset.collections for dataset in datasets}
        found |= _train(left, collections, n_queries, folder, min(jobs, len(left)), console)
    return [found[task.place] for task in planned], skipped


def _train(
    left: Sequence[Task],
    collections: Mapping[str, Mapping[str, str]],
    n_queries: Mapping[str, int],
    folder: Path,
    jobs: int,
    console: Console,
) -> dict[Path, Result]:
    """Train what is left behind a progress bar whose unit is a query trained on."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from experiments.plan import FIXED
    from experiments.running import run_all
    from quantum_rerank.plain_console import make_progress

    costs = {task: 1 if task.name in FIXED else n_queries[task.dataset] for task in left}
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    found: dict[Path, Result] = {}
    whole_time = 1e6  # the remaining time follows from all that was done, not from the last minute
    with (
        make_progress(*columns, console=console, speed_estimate_period=whole_time) as progress,
        closing(run_all(left, collections, folder, jobs)) as ended,
    ):
        bar = progress.add_task("training", total=sum(costs.values()))
        for task, result in ended:
            found[task.place] = result
            text = f"{len(found)} of {len(left)} trainings"
            progress.update(bar, advance=costs[task], description=text)
            if result.failed:
                place = f"{task.dataset}, {task.name}, seed {task.seed}"
                console.print(f"{place}: {result.failed}", soft_wrap=True)
    return found


def _changes(
    files: Mapping[str, Path],
    collections: Sequence[str] | None,
    models: Sequence[str] | None,
    seeds: int,
    encoder: str,
    set_: Sequence[str] | None,
) -> list[str]:
    """The options by which this is not the whole study with the project's numbers.

    files: row -> file of its numbers. A path that is the user's has a word in its place.
    """
    changes = [
        f"--{name.replace('_', '-')} {'FILE' if file.is_absolute() else file}"
        for name, file in files.items()
        if file != TUNED_FILES[name]
    ]
    changes += [f"--collection {name}" for name in collections or ()]
    changes += [f"--model {name}" for name in models or ()]
    changes += [f"--seeds {seeds}"] if seeds != SEEDS else []
    if encoder.startswith("npy:") or expanded(encoder).exists():
        changes.append("--encoder npy:FOLDER" if encoder.startswith("npy:") else "--encoder FOLDER")
    elif encoder != ENCODER:
        changes.append(f"--encoder {encoder}")
    return changes + [f"--set {text}" for text in set_ or ()]


def _command(changes: Sequence[str], beir: Path | None, docs: Path | None) -> str:
    """What prints the same document."""
    more = [*changes, *(["--docs FOLDER"] if docs else [])]
    arguments = f' ARGS="{" ".join(more)}"' if more else ""
    return f"make experiments{' BEIR=FOLDER' if beir else ''}{arguments}"


def _write(told: Told, docs: Path, console: Console) -> None:
    """Write the document with its figures and pictures, and print its sentences."""
    from experiments.analysis import as_json
    from experiments.pictures import draw
    from experiments.report import document, sentences
    from quantum_rerank.atomic import write_json, write_text

    try:
        drawn = draw(docs / PICTURES, told.results, told.found, told.pairs)
    except OSError as error:
        raise OutputError(f"`{docs / PICTURES}` cannot be written: {error.strerror}.") from None
    pictures = {title: file.relative_to(docs).as_posix() for title, file in drawn.items()}
    figures = as_json(told.results, told.found, told.pairs, told.seeds, told.left_out)
    write_text(docs / REPORT, document(told, pictures))
    write_json(docs / FIGURES, figures)
    for sentence in sentences(told.found, told.pairs):
        console.print(sentence, soft_wrap=True)
    console.print(f"Wrote {docs / REPORT}, {docs / FIGURES} and {docs / PICTURES}.", soft_wrap=True)


if __name__ == "__main__":
    run(app)
