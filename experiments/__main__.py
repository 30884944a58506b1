"""The command `python -m experiments`: run the experiments, or render their page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.options import Encoder, Jobs
from quantum_rerank.console import run
from quantum_rerank.output_streams import as_a_display
from quantum_rerank.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from experiments.summarising import Experiments

TUNED_FILES = {
    "tuned": Path("configs/tuned_config.yaml"),
    "tuned_twin": Path("configs/tuned_twin.yaml"),
}
"""Row -> the configuration that the project's own search found for it."""

DOCS = Path("docs")
SEEDS, ENCODER = 5, "minilm"

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@dataclass(frozen=True)
class Options:
    """The options that select a part of the experiments or change them.

    Attributes:
        files: Row -> file of its configuration.
        beir: The folder of BEIR folders.
        collections: The selected collections; all if empty.
        models: The selected rows; all if empty.
        seeds: The number of seeds.
        encoder: The name of the encoder.
        overrides: `key=value` for all rows.
    """

    files: Mapping[str, Path]
    beir: Path | None
    collections: tuple[str, ...]
    models: tuple[str, ...]
    seeds: int
    encoder: str
    overrides: tuple[str, ...]

    def changes(self) -> list[str]:
        """Return the options that differ from the whole experiments, as the page shows them.

        The user's own paths are replaced by a word.
        """
        changes = [
            f"--{name.replace('_', '-')} {'FILE' if file.is_absolute() else file}"
            for name, file in self.files.items()
            if file != TUNED_FILES[name]
        ]
        changes += [f"--collection {name}" for name in self.collections]
        changes += [f"--model {name}" for name in self.models]
        changes += [f"--seeds {self.seeds}"] if self.seeds != SEEDS else []
        if self.encoder.startswith("npy:"):
            changes.append("--encoder npy:FOLDER")
        elif expanded(self.encoder).exists():
            changes.append("--encoder FOLDER")
        elif self.encoder != ENCODER:
            changes.append(f"--encoder {self.encoder}")
        return changes + [f"--set {text}" for text in self.overrides]

    def command(self, docs: Path | None) -> str:
        """Return the command that prints the same page."""
        changes = [*self.changes(), *(["--docs FOLDER"] if docs else [])]
        arguments = f' ARGS="{" ".join(changes)}"' if changes else ""
        return f"make experiments{' BEIR=FOLDER' if self.beir else ''}{arguments}"


@app.command()
@as_a_display()
def main(
    render: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Train nothing: render the page and the pictures of this summary "
            "(docs/experiments.json) into its folder, or into --docs.",
        ),
    ] = None,
    tuned: Annotated[
        Path,
        typer.Option(
            help="YAML with the tuned configuration, as nested sections or dotted keys. Its model "
            "must be hybrid or hybrid_amplitude. Its data and seed are ignored."
        ),
    ] = TUNED_FILES["tuned"],
    tuned_twin: Annotated[
        Path, typer.Option(help="YAML with the tuned configuration of the model mlp_twin.")
    ] = TUNED_FILES["tuned_twin"],
    output: Annotated[
        Path, typer.Option(help="Folder of the results, one file per training.")
    ] = Path("runs/experiments"),
    docs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of experiments.md, experiments.json and the pictures. Default: docs for "
            "the whole experiments, otherwise the folder of the results."
        ),
    ] = None,
    beir: Annotated[
        Path | None,
        typer.Option(
            help="Folder that contains BEIR folders, of which scifact, cran, cisi, npl, cosqa and "
            "med are used."
        ),
    ] = None,
    collections: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            "--collections",
            help="Use only this collection: icd10, gpe, zaragoza, one of the six of --beir, or one "
            "of your own by its source, such as beir:FOLDER or csv:FILE. Repeatable.",
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "--models", help="Train only this model and cosine. Repeatable."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of trainings of each model, with seeds 1, 2, ...")
    ] = SEEDS,
    jobs: Jobs = None,
    encoder: Encoder = ENCODER,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Set a value for all models, such as `--set training.max_epochs=2`. Keys of "
            "data, seed and model cannot be set. Repeatable.",
        ),
    ] = None,
) -> None:
    """Train every model on every data set and seed, and compare them with intervals.

    The models are `default` (the hybrid, not tuned), `tuned`, `tuned_twin` (its classical twin,
    tuned with the same budget), the controls with the configuration of `tuned`, and the baselines
    cosine, bm25 and bm25_cosine. All have the same data and splits.

    The controls have the epochs and the patience of `tuned`, while `default` has its own. Both
    searches used the validation queries of ICD-10 and its chapters 7 and 8 only: on other data
    sets their configurations are transferred. The controls were not tuned themselves: where
    `tuned` is better than one of them, the search may be the reason.

    Each result is written when its training ends. The same command resumes interrupted
    experiments, and trains again only where the configuration or the data changed. Examples:

        python -m experiments --beir data --seeds 5

        python -m experiments --collection zaragoza --seeds 2 \\
            --model default --model tuned --output runs/short

        python -m experiments --collection csv:clicks.csv --output runs/clicks-all

    python -m experiments --render docs/experiments.json
    """
    from experiments.page import PAGE, write_page
    from experiments.pictures import require_matplotlib
    from experiments.summary import read_summary
    from quantum_rerank.plain_console import make_console

    require_matplotlib()
    console = make_console()
    if render is not None:
        folder = docs or render.parent
        write_page(folder, read_summary(render))
        console.print(f"Wrote {folder / PAGE} and its pictures.", soft_wrap=True)
        return
    options = Options(
        files={"tuned": tuned, "tuned_twin": tuned_twin},
        beir=beir,
        collections=tuple(collections or ()),
        models=tuple(models or ()),
        seeds=seeds,
        encoder=encoder,
        overrides=tuple(set_ or ()),
    )
    experiments = _run(options, output, docs, jobs, console)
    is_whole = not options.changes() and not experiments.left_out
    _write(experiments, docs or (DOCS if is_whole else output), console)


def _run(
    options: Options, output: Path, docs: Path | None, jobs: int | None, console: Console
) -> Experiments:
    """Run the trainings that have no result."""
    from experiments.plan import choose_datasets, read_tuned, selected_rows, setups, tasks
    from experiments.summarising import Experiments
    from experiments.training import all_results
    from quantum_rerank.config import parse_override
    from quantum_rerank.evaluation import COSINE
    from quantum_rerank.machine import cores

    overrides = dict(parse_override(text) for text in options.overrides)
    configs = {name: read_tuned(file) for name, file in options.files.items()}
    everything = setups(configs["tuned"], configs["tuned_twin"], overrides)
    rows = selected_rows(options.models, everything, "experiments", always=[COSINE])
    chosen = choose_datasets(options.beir, options.collections)
    for name, reason in chosen.left_out.items():
        console.print(f"Skipping {name}: {reason}", soft_wrap=True)
    seeds = range(1, options.seeds + 1)
    planned = tasks(chosen.datasets, rows, seeds, options.encoder)
    results, skipped = all_results(planned, chosen.datasets, output, jobs or cores(), console)
    return Experiments(
        command=options.command(docs),
        seeds=seeds,
        rows=rows,
        searched=frozenset(
            name for name, file in options.files.items() if file == TUNED_FILES[name]
        ),
        datasets=chosen.datasets,
        left_out=chosen.left_out,
        skipped=skipped,
        results=results,
    )


def _write(experiments: Experiments, folder: Path, console: Console) -> None:
    """Write the summary, the page and its pictures, and print the main results."""
    from experiments.page import PAGE, PICTURES, SUMMARY, write_page, write_summary
    from experiments.report import sentences
    from experiments.summarising import summarise

    console.print("Comparing the models over queries, which takes a minute or two ...")
    summary = summarise(experiments)
    write_summary(folder, summary)
    write_page(folder, summary)
    for sentence in sentences(summary):
        console.print(sentence, soft_wrap=True)
    files = f"{folder / PAGE}, {folder / SUMMARY} and {folder / PICTURES}"
    console.print(f"Wrote {files}.", soft_wrap=True)


if __name__ == "__main__":
    run(app)
