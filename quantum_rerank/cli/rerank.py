"""Command `rerank`: rerank a TREC run or a JSONL file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from quantum_rerank.atomic import output_errors, write_text
from quantum_rerank.cli.model_options import BatchSize, Device, EncoderName, ModelPath
from quantum_rerank.cli.reading_options import Columns, with_reading_options
from quantum_rerank.console import run, say
from quantum_rerank.errors import DataError, OutputError
from quantum_rerank.plural import counted

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

STDOUT = Path("-")

Input = Annotated[
    Path,
    typer.Option(
        "--input",
        help="A TREC run, or a file `*.jsonl` that holds the texts. Both may be compressed, as "
        "`*.gz`.",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output", help="File for the result, in the input's format; `-` is standard output."
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Collection with the texts of a TREC run, such as `beir:FOLDER`. A folder of `beir:` "
        "or `trec:` needs no judgments if the model embeds texts; other sources have judged "
        "queries only.",
    ),
]
Top = Annotated[int, typer.Option("--top", min=1, help="Number of documents per query to rerank.")]
Tag = Annotated[str, typer.Option("--tag", help="Name of the run, the sixth column of a TREC run.")]
Identical = Annotated[
    Literal["auto", "id", "text", "none"] | None,
    typer.Option(
        "--ignore-identical",
        help="Documents of a TREC run that are left out as the query itself: those with its id, "
        "its text, or none. `auto` is `id` if ids and texts of the collection agree. Default: the "
        "setting of the training.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing output file.")]


@app.command()
def rerank(
    bundle: ModelPath,
    input_: Input,
    output: Output,
    data: Data = None,
    columns: Columns = None,
    top: Top = 100,
    tag: Tag = "quantum-rerank",
    ignore_identical: Identical = None,
    encoder: EncoderName = None,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
    force: Force = False,
) -> None:
    """Rerank the documents that a first-stage retrieval returned for each query.

    A TREC run (`query Q0 document rank score tag`) is read in the order of trec_eval: by
    descending score, and by descending document id for equal scores. Documents below --top keep
    their order, after the reranked documents. The written scores decrease strictly with the rank.
    Example:

        quantum-rerank rerank runs/first --input bm25.run \\
            --data beir:FOLDER --output reranked.run

    A line of JSONL holds its texts and needs no collection. The output has the documents in the
    new order, each with its new `score`; a previous `score` becomes `retrieval_score`:

        {"query": "fear", "documents": [{"id": "7", "text": "Phobia", "score": 9}]}
    """
    from quantum_rerank.datasets import count_lines
    from quantum_rerank.export.trained_model import encoder_for, load_model
    from quantum_rerank.workflows import rerank as workflow

    _require_free(output, force)
    _require_one_word(tag)
    # Judgments are not used, so that any number of them may name absent texts.
    model = with_reading_options(load_model(bundle), columns, max_unmatched=1.0)
    config = model.config.data
    first_stage = workflow.read_first_stage(input_, data, config, ignore_identical)
    text_encoder = encoder_for(model, encoder, device, batch_size)
    reranking = workflow.rerank(model, first_stage, top, text_encoder)
    for line in count_lines(reranking.skipped):
        say(f"{first_stage.texts.collection or input_}: {line}", stderr=True)
    _write(reranking.lines(tag), output)
    if output != STDOUT:
        say(f"Reranked {counted(len(first_stage.requests), 'query')} into {output}.", stderr=True)


def _write(lines: Iterable[str], output: Path) -> None:
    from quantum_rerank.output_streams import write_result

    if output == STDOUT:
        write_result(lines)
    else:
        with output_errors(output.resolve()):
            write_text(output.resolve(), lines)  # a link stays a link


def _require_one_word(tag: str) -> None:
    """Raise DataError if a tag is not one column of a TREC run."""
    if tag.split() != [tag]:
        raise DataError(
            f"`--tag` is {tag!r}, but must be one word: a TREC run has white space between columns."
        )


def _require_free(output: Path, force: bool) -> None:
    """Raise OutputError, before any computation, if an output file exists or cannot be made."""
    if output == STDOUT:
        return
    if output.exists() and not output.is_file():
        raise OutputError(f"`{output}` is no file. Name one, or `-` for standard output.")
    if output.exists() and not force:
        raise OutputError(f"`{output}` exists already. Name another file, or pass --force.")
    if not output.parent.is_dir():
        raise OutputError(f"`{output.parent}` is no folder to write `{output.name}` into.")


if __name__ == "__main__":
    run(app)
