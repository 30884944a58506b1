"""The command `python -m experiments.anchors`: train the anchors, and write their page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.__main__ import DOCS, SEEDS, TUNED_FILES
from experiments.options import Jobs
from quantum_rerank.console import run
from quantum_rerank.errors import ConfigError
from quantum_rerank.output_streams import as_a_display

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.plan import Dataset, Setup, Task

PAGE = "anchors.md"


@dataclass(frozen=True)
class _Options:
    """The options that select a part of the anchors.

    Attributes:
        beir: The folder of BEIR folders.
        collections: The selected collections; all if empty.
        models: The anchors to train.
        encoder_on: The collections to fine-tune the encoder on; all if empty.
        seeds: The number of seeds.
        encoder_seeds: That of the encoder.
    """

    beir: Path | None
    collections: tuple[str, ...]
    models: tuple[str, ...]
    encoder_on: tuple[str, ...]
    seeds: int
    encoder_seeds: int

    def changes(self) -> list[str]:
        """Return the options that select a part of the whole page."""
        changes = [f"--collection {name}" for name in self.collections]
        changes += [f"--model {name}" for name in self.models] if len(self.models) == 1 else []
        changes += [f"--seeds {self.seeds}"] if self.seeds != SEEDS else []
        return changes

    def command(self) -> str:
        """Return the command that prints the same page."""
        parts = ["python -m experiments.anchors", *(["--beir FOLDER"] if self.beir else [])]
        parts += [*self.changes(), *(f"--encoder-on {name}" for name in self.encoder_on)]
        if self.encoder_seeds != self.seeds:
            parts.append(f"--encoder-seeds {self.encoder_seeds}")
        return " ".join(parts)


app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@as_a_display()
def main(
    output: Annotated[
        Path, typer.Option(help="Folder of the results of the experiments, which are used again.")
    ] = Path("runs/experiments"),
    docs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the page anchors.md. Default: docs if nothing is left out, otherwise "
            "the folder of the results."
        ),
    ] = None,
    beir: Annotated[
        Path | None, typer.Option(help="Folder that contains BEIR folders, as of the experiments.")
    ] = None,
    collections: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            "--collections",
            help="Use only this collection, as of the experiments. Repeatable.",
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "--models", help="Train only lambdamart or encoder. Repeatable."),
    ] = None,
    encoder_on: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder-on",
            help="Fine-tune the encoder on this collection only. Repeatable. Default: on all.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of trainings of each model, with seeds 1, 2, ...")
    ] = SEEDS,
    encoder_seeds: Annotated[
        int | None, typer.Option(min=1, help="Number of trainings of the encoder, if it differs.")
    ] = None,
    jobs: Jobs = None,
) -> None:
    """Train usual rerankers on the data of the experiments, and compare `tuned` with them.

    `lambdamart` has the cosine, BM25 and their ranks as features. `encoder` is the encoder,
    fine-tuned on the same training queries; `encoder_bm25` fuses it with the cosine and BM25.
    All have the candidates, splits and test queries of the experiments, of whose rows `tuned`,
    `discriminant` and the baselines are shown, and trained where they have no result. Each result
    is written when its training ends, and the same command resumes. Examples:

        python -m experiments.anchors --beir data

        python -m experiments.anchors --collection zaragoza --seeds 2
    """
    from experiments.anchors.lambdamart import require_lightgbm
    from experiments.anchors.plan import LAMBDAMART, TRAINED

    names = tuple(name for name in TRAINED if not models or name in models)
    if unknown := [name for name in models or () if name not in TRAINED]:
        raise ConfigError(
            [f"`{name}` is not an anchor. Valid: {', '.join(TRAINED)}." for name in unknown]
        )
    if LAMBDAMART in names:
        require_lightgbm()
    options = _Options(
        beir=beir,
        collections=tuple(collections or ()),
        models=names,
        encoder_on=tuple(encoder_on or ()),
        seeds=seeds,
        encoder_seeds=min(encoder_seeds or seeds, seeds),
    )
    _run(options, output, docs, jobs)


def _run(options: _Options, output: Path, docs: Path | None, jobs: int | None) -> None:
    """Train what has no result, and write the page."""
    from experiments.analysis import measured
    from experiments.anchors.latency import LATENCY, read_or_measure, timed_dataset
    from experiments.anchors.measuring import measure_anchor, rows_of
    from experiments.anchors.plan import COMPARED
    from experiments.anchors.report import Comparison, document, sentences
    from experiments.plan import choose_datasets, read_tuned, setups, tasks
    from experiments.training import all_results
    from quantum_rerank.atomic import output_errors, write_text
    from quantum_rerank.machine import cores
    from quantum_rerank.plain_console import make_console

    console, jobs = make_console(), jobs or cores()
    tuned, twin = (read_tuned(file) for file in TUNED_FILES.values())
    rows = setups(tuned, twin, {})
    chosen = choose_datasets(options.beir, options.collections)
    for name, reason in chosen.left_out.items():
        console.print(f"Skipping {name}: {reason}", soft_wrap=True)
    compared = {name: rows[name] for name in COMPARED}
    seeds = range(1, options.seeds + 1)
    planned = tasks(chosen.datasets, compared, seeds, "minilm")
    results, _ = all_results(planned, chosen.datasets, output, jobs, console)
    planned = _anchors(options, chosen.datasets, rows)
    trained, _ = all_results(planned, chosen.datasets, output, jobs, console, measure_anchor)
    timed = timed_dataset(chosen.datasets)
    comparison = Comparison(
        command=options.command(),
        results=[*results, *(row for result in trained for row in rows_of(result))],
        milliseconds=read_or_measure(output / LATENCY, timed, rows),
        timed_on=timed.name,
    )
    is_whole = not options.changes() and not chosen.left_out
    page = (docs or (DOCS if is_whole else output)) / PAGE
    with output_errors(page):
        write_text(page, document(comparison))
    for sentence in sentences(measured(comparison.results)):
        console.print(sentence, soft_wrap=True)
    console.print(f"Wrote {page}.", soft_wrap=True)


def _anchors(
    options: _Options, datasets: tuple[Dataset, ...], rows: Mapping[str, Setup]
) -> list[Task]:
    """Return the trainings of the anchors."""
    from experiments.anchors.plan import ENCODER, anchor_tasks
    from quantum_rerank.training.models import FIRST_STAGE

    planned = []
    for name in options.models:
        is_encoder = name == ENCODER
        selected = [
            dataset
            for dataset in datasets
            if not (is_encoder and options.encoder_on) or dataset.name in options.encoder_on
        ]
        seeds = range(1, (options.encoder_seeds if is_encoder else options.seeds) + 1)
        planned += anchor_tasks(selected, rows[FIRST_STAGE], [name], seeds)
    return planned


if __name__ == "__main__":
    run(app)
