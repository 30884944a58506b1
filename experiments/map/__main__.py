"""The command `python -m experiments.map`: train the models of the map, and print its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.options import Encoder, Jobs
from quantum_rerank.console import run
from quantum_rerank.output_streams import as_a_display

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.map.summarising import Map

TUNED = Path("configs/tuned_config.yaml")
DOCS = Path("docs/experiments")
COLLECTIONS = ("icd10:5", "icd10:9", "icd10:11")
OUTPUTS, QUERIES = (8, 16, 32, 64), (50, 100, 200, 500)
SEEDS, ENCODER = 10, "minilm"

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@dataclass(frozen=True)
class Options:
    """The options that select a part of the map or change it.

    Attributes:
        tuned: The file of the configuration.
        collections: The collections.
        outputs: The numbers of outputs.
        queries: The numbers of training queries.
        models: The selected models; all if empty.
        seeds: The number of seeds.
        circuit_seeds: The number of seeds of trained circuits.
        encoder: The name of the encoder.
        overrides: `key=value` for all models.
    """

    tuned: Path
    collections: tuple[str, ...]
    outputs: tuple[int, ...]
    queries: tuple[int, ...]
    models: tuple[str, ...]
    seeds: int
    circuit_seeds: int
    encoder: str
    overrides: tuple[str, ...]

    def command(self) -> str:
        """Return the command that prints the same page, the user's own paths as words."""
        from quantum_rerank.datasets import domain_of

        parts = ["--tuned FILE"] if self.tuned != TUNED else []
        if self.collections != COLLECTIONS:
            parts += [f"--collection {domain_of(spec)}" for spec in self.collections]
        parts += self._repeated("outputs", self.outputs, OUTPUTS)
        parts += self._repeated("queries", self.queries, QUERIES)
        parts += [f"--model {name}" for name in self.models]
        parts += [f"--seeds {self.seeds}"] if self.seeds != SEEDS else []
        if self.circuit_seeds != self.seeds:
            parts.append(f"--circuit-seeds {self.circuit_seeds}")
        if self.encoder != ENCODER:
            is_path = self.encoder.startswith("npy:") or Path(self.encoder).exists()
            parts.append(f"--encoder {'FOLDER' if is_path else self.encoder}")
        return " ".join(
            ["python -m experiments.map", *parts, *(f"--set {text}" for text in self.overrides)]
        )

    @staticmethod
    def _repeated(name: str, values: tuple[int, ...], default: tuple[int, ...]) -> list[str]:
        return [f"--{name} {value}" for value in values] if values != default else []


@app.command()
@as_a_display()
def main(
    render: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Train nothing: render the page and its pictures from this summary "
            "(docs/experiments/map.json) into its folder, or into --docs.",
        ),
    ] = None,
    tuned: Annotated[
        Path,
        typer.Option(help="YAML with the configuration of all models. Its sizes are ignored."),
    ] = TUNED,
    collections: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            "--collections",
            help="A collection by its source, such as beir:FOLDER or csv:FILE; its queries are "
            "split into train, validation and test. Repeatable. Default: chapters 5, 9 and 11 of "
            "ICD-10.",
        ),
    ] = None,
    outputs: Annotated[
        list[int] | None,
        typer.Option(help="Number of outputs of each model: 8, 16, 32, 64 or 128. Repeatable."),
    ] = None,
    queries: Annotated[
        list[int] | None, typer.Option(min=1, help="Number of training queries. Repeatable.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "--models", help="Train only this model. Repeatable."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of trainings of each model in each cell.")
    ] = SEEDS,
    circuit_seeds: Annotated[
        int | None,
        typer.Option(min=1, help="The same of the slow models with circuits. Default: --seeds."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/map"),
    docs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of map.md, map.json and the pictures. Default: docs/experiments for the "
            "whole map, otherwise the folder of the results."
        ),
    ] = None,
    jobs: Jobs = None,
    encoder: Encoder = ENCODER,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Set a value for all models, such as `--set training.max_epochs=20`. Repeatable.",
        ),
    ] = None,
) -> None:
    """Compare circuits with classical models of equal size over outputs and training queries.

    Every cell of the map is a number of outputs (the angles of a circuit, the amplitudes, or the
    outputs of a classical model) and a number of training queries. The training queries of a
    cell are among those of a cell with more; each seed draws its own. All cells have the same
    test queries.

    Each result is written when its training ends, and the same command resumes. Examples:

        python -m experiments.map --seeds 3 --outputs 8 --queries 50 --queries 200

        python -m experiments.map --collection csv:clicks.csv --output runs/clicks-map

    python -m experiments.map --render docs/experiments/map.json
    """
    from experiments.map.page import PAGE, write_page
    from experiments.map.summary import read_summary
    from experiments.pictures import require_matplotlib
    from quantum_rerank.plain_console import make_console

    require_matplotlib()
    console = make_console()
    if render is not None:
        folder = docs or render.parent
        write_page(folder, read_summary(render))
        console.print(f"Wrote {folder / PAGE} and its pictures.", soft_wrap=True)
        return
    options = Options(
        tuned=tuned,
        collections=tuple(collections or COLLECTIONS),
        outputs=tuple(sorted(set(outputs or OUTPUTS))),
        queries=tuple(sorted(set(queries or QUERIES))),
        models=tuple(models or ()),
        seeds=seeds,
        circuit_seeds=circuit_seeds or seeds,
        encoder=encoder,
        overrides=tuple(set_ or ()),
    )
    finished = _run(options, output, jobs, console)
    is_whole = options.command() == "python -m experiments.map"
    _write(finished, docs or (DOCS if is_whole else output), console)


def _run(options: Options, output: Path, jobs: int | None, console: Console) -> Map:
    """Run the trainings that have no result."""
    from experiments.map.plan import CIRCUITS, Cell, check_overrides, dataset, setups, tasks
    from experiments.map.summarising import Map
    from experiments.plan import read_tuned, selected_rows
    from experiments.training import all_results
    from quantum_rerank.config import parse_override
    from quantum_rerank.machine import cores

    overrides = dict(parse_override(text) for text in options.overrides)
    check_overrides(overrides)
    tuned = read_tuned(options.tuned)
    cells = [Cell(o, q) for q in options.queries for o in options.outputs]
    rows = {
        cell: selected_rows(options.models, setups(tuned, cell, overrides), "map") for cell in cells
    }
    data = {cell: dataset(options.collections, cell) for cell in cells}
    seeds = {
        name: options.circuit_seeds if name in CIRCUITS else options.seeds
        for of_cell in rows.values()
        for name in of_cell
    }
    planned = tasks({cell: (data[cell], rows[cell]) for cell in cells}, seeds, options.encoder)
    results, skipped = all_results(planned, list(data.values()), output, jobs or cores(), console)
    return Map(
        command=options.command(),
        collections=options.collections,
        rows=rows,
        results=results,
        skipped=skipped,
    )


def _write(finished: Map, folder: Path, console: Console) -> None:
    """Write the summary, the page and its pictures, and print the main results."""
    from experiments.map.page import PAGE, SUMMARY, sentences, write_page, write_summary
    from experiments.map.summarising import summarise

    console.print("Comparing the models over queries, which takes a few minutes ...")
    summary = summarise(finished)
    write_summary(folder, summary)
    write_page(folder, summary)
    for sentence in sentences(summary):
        console.print(sentence, soft_wrap=True)
    console.print(f"Wrote {folder / PAGE}, {folder / SUMMARY} and the pictures.", soft_wrap=True)


if __name__ == "__main__":
    run(app)
