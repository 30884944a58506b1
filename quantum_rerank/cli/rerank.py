"""Rerank the results of a first retrieval: a TREC run or JSONL in, the same reranked out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from quantum_rerank.atomic import output_errors, write_text
from quantum_rerank.cli.reading_options import Columns, reading_as
from quantum_rerank.cli.retrieved import (
    JSONL,
    Ranked,
    Request,
    Texts,
    from_jsonl,
    from_run,
    json_lines,
    run_lines,
    without_own_documents,
)
from quantum_rerank.cli.trained_model import BatchSize, Device, EncoderName
from quantum_rerank.console import run, say
from quantum_rerank.errors import DataError, OutputError
from quantum_rerank.output_streams import write_result

if TYPE_CHECKING:
    from quantum_rerank.cli.trained_model import TrainedModel
    from quantum_rerank.config import DataConfig
    from quantum_rerank.embeddings import Embeddings, EmbeddingSource, Role, TextEncoder

STDOUT = Path("-")
app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def main(
    retrieved: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="A TREC run, or a file `*.jsonl` that has the texts in it. "
            "Both may be compressed, as `*.gz`.",
        ),
    ],
    bundle: Annotated[
        Path,
        typer.Option(help="The model: a bundle, the folder of a run, or the file of a checkpoint."),
    ],
    output: Annotated[
        Path,
        typer.Option(help="File for the result, of the input's format; `-` is standard output."),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="The collection whose texts a TREC run names, such as `beir:FOLDER`. Where the "
            "model embeds texts, a folder of `beir:` or `trec:` needs no judgments; of any other "
            "source only judged queries are known."
        ),
    ] = None,
    columns: Columns = None,
    top: Annotated[
        int, typer.Option(min=1, help="How many of a query's documents are reranked.")
    ] = 100,
    tag: Annotated[str, typer.Option(help="The run's name, its sixth column.")] = "quantum-rerank",
    ignore_identical: Annotated[
        Literal["auto", "id", "text", "none"] | None,
        typer.Option(
            help="Which documents of a TREC run are the query itself, and left out: those with "
            "its id (`auto`: unless no text of the collection agrees with its id), those with "
            "its text, or none. As the model was trained if not given."
        ),
    ] = None,
    encoder: EncoderName = None,
    device: Device = "cpu",
    batch_size: BatchSize = 32,
    force: Annotated[bool, typer.Option("--force", help="Write over an output file.")] = False,
) -> None:
    """Put the documents that were found for each query into a better order.

    Of a TREC run (`query Q0 document rank score tag`) the order is the one that trec_eval
    reads: by falling score, and of equal scores the larger document id first. What lies
    below --top keeps its order, behind what was reranked. Scores are written so that they
    fall strictly with the rank. Example:

        python -m quantum_rerank.cli.rerank bm25.run --bundle runs/first/bundle \\
            --data beir:FOLDER --output reranked.run

    A line of JSONL needs no collection, and comes back with its documents in the new order,
    each with its new `score`. A `score` that a document came with is kept as its
    `retrieval_score`; all else in the line stays:

        {"query": "fear", "documents": [{"id": "7", "text": "Phobia", "score": 9}]}
    """
    from quantum_rerank.cli.trained_model import load_model, source_for
    from quantum_rerank.datasets import count_lines
    from quantum_rerank.datasets.raw_lines import uncompressed_name

    _require_free(output, force)
    _require_column(tag)
    # Its judgments are not used: how many of them name absent texts does not matter.
    trained = reading_as(load_model(bundle), columns, max_unmatched=1.0)
    is_jsonl = uncompressed_name(retrieved).suffix == JSONL
    config = trained.config.data
    requests, texts = from_jsonl(retrieved) if is_jsonl else from_run(retrieved, data, config)
    if not is_jsonl:  # whose queries have no ids
        rule = ignore_identical or config.ignore_identical
        requests, texts = without_own_documents(requests, texts, rule)
    source = source_for(trained, encoder, device, batch_size)
    named = encoder or config.encoder
    ranked, unread = _reranked(trained, requests, texts, top, source, named)
    for line in count_lines({**texts.skipped, **unread}):
        say(f"{texts.collection or retrieved}: {line}", stderr=True)
    lines = json_lines(ranked) if is_jsonl else run_lines(ranked, tag)
    if output == STDOUT:
        write_result(lines)
    else:
        with output_errors(output.resolve()):
            write_text(output.resolve(), lines)  # a link stays one
        say(f"Reranked {len(requests)} queries into {output}.", stderr=True)


def _reranked(
    trained: TrainedModel,
    requests: Sequence[Request],
    texts: Texts,
    top: int,
    source: EmbeddingSource,
    encoder: str,
) -> tuple[Ranked, dict[str, int]]:
    """Rerank every request behind a progress bar; each text is represented once.

    Returns: also the texts that the encoder does not read in full, as sentence -> count.
    """
    import numpy as np

    from quantum_rerank.embeddings import first_equal
    from quantum_rerank.evaluation.trec_runs import falling
    from quantum_rerank.plain_console import tracked
    from quantum_rerank.similarity import represent, score_represented

    if not any(request.documents for request in requests):  # an encoder takes no empty list
        return [(request, []) for request in requests], {}
    queries, documents = _vectors(trained, requests, texts, top, source, encoder)
    keys = {key: row for row, key in enumerate(documents.keys)}
    asked_keys = {key: row for row, key in enumerate(queries.keys)}
    states, first = documents.represented(trained), first_equal(documents.vectors)
    results: Ranked = []
    for request in tracked(requests, "reranking"):
        query = queries.vectors[asked_keys[request.query]]
        # Equal documents once: what a score is rounded to depends on its place among the others.
        wanted = first[[keys[key] for key in request.documents[:top]]]
        rows, places = np.unique(wanted, return_inverse=True)
        scores = score_represented(
            trained.head,
            trained.fusion_weight,
            query,
            represent(trained.head, query[None, :]),
            documents.vectors[rows],
            states[rows],
        )[places]
        order = np.argsort(-scores, kind="stable")
        below = range(len(scores), len(request.documents))
        # At most as high as any score: what was not reranked is put behind what was.
        lowered = falling([*scores[order].tolist(), *([float("inf")] * len(below))])
        results.append((request, list(zip([*order.tolist(), *below], lowered, strict=True))))
    return results, {**queries.unread, **documents.unread}


@dataclass(frozen=True)
class _Vectors:
    """Texts by key, embedded.

    vectors: (n, dim), a row per key.
    unread: texts that the encoder does not read in full, as sentence -> count.
    """

    keys: Sequence[str]
    vectors: Embeddings
    unread: Mapping[str, int] = field(default_factory=dict)

    def represented(self, trained: TrainedModel, block: int = 2048) -> Any:
        """(n, size) representations, computed block by block: what lies between stays small."""
        import torch

        from quantum_rerank.similarity import represent

        parts = range(0, len(self.keys), block)
        return torch.cat([represent(trained.head, self.vectors[p : p + block]) for p in parts])


def _vectors(
    trained: TrainedModel,
    requests: Sequence[Request],
    texts: Texts,
    top: int,
    source: EmbeddingSource,
    encoder: str,
) -> tuple[_Vectors, _Vectors]:
    """The vectors of the queries and documents that are needed, after all checks."""
    from quantum_rerank.cli.trained_model import require_same_encoder, require_same_width
    from quantum_rerank.embeddings import Role, TextEncoder

    require_same_encoder(trained, source, encoder)
    needed_queries = {request.query for request in requests}
    needed = {key for request in requests for key in request.documents[:top]}
    _require_texts("queries", needed_queries, texts.queries)
    _require_texts("documents", needed, texts.documents)
    if blank := sorted(key for key in needed_queries if not texts.queries[key].strip()):
        raise DataError(f"{len(blank)} queries have no text: {', '.join(blank[:5])}.")
    if isinstance(source, TextEncoder):
        found = [
            _embedded(source, {key: known[key] for key in keys}, f"the {what}", role)
            for what, role, known, wanted in (
                ("queries", Role.QUERY, texts.queries, needed_queries),
                ("documents", Role.DOCUMENT, texts.documents, needed),
            )
            if (keys := _worth_embedding(known, wanted))
        ]
    else:
        config = trained.config.data
        found = _array_vectors(source, texts.collection, config, needed_queries)
    queries, documents = found
    require_same_width(trained, documents.vectors.shape[1], encoder)
    return queries, documents


def _embedded(encoder: TextEncoder, by_key: Mapping[str, str], label: str, role: Role) -> _Vectors:
    """Embed texts of one role."""
    texts = list(by_key.values())
    vectors = encoder.encode(texts, label, role)
    return _Vectors(list(by_key), vectors, encoder.coverage(texts, label, role).counts(role))


def _worth_embedding(known: Mapping[str, str], wanted: set[str]) -> list[str]:
    """The keys that are wanted; all, in their order, where that is half of them or more.

    A corpus that a training has embedded is in the cache as a whole.
    """
    is_most = 2 * len(wanted) >= len(known)
    return [key for key in known if is_most or key in wanted]


def _array_vectors(
    source: Any, collection: str, config: DataConfig, queries: set[str]
) -> list[_Vectors]:
    """All vectors of a collection that were computed elsewhere."""
    from quantum_rerank.datasets import load_collection

    if not collection:
        raise DataError(
            "The model was trained on vectors that were computed elsewhere, and cannot embed the "
            "texts of a JSONL file. Rerank a TREC run, with --data."
        )
    loaded = load_collection(collection, config)
    _require_texts("queries with a vector", queries, loaded.queries)
    found = zip((loaded.queries, loaded.corpus), source.embed(loaded), strict=True)
    return [_Vectors(list(texts), vectors) for texts, vectors in found]


def _require_texts(what: str, wanted: set[str], known: Mapping[str, str]) -> None:
    """Refuse keys that have no text: the run is of another collection."""
    unknown = sorted(wanted - known.keys())
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise DataError(
            f"{len(unknown)} of {len(wanted)} {what} are not in the collection: {shown}. "
            "Name the collection that was searched, with --data."
        )


def _require_column(tag: str) -> None:
    """Refuse what would be no column, or several, of a TREC run."""
    if tag.split() != [tag]:
        raise DataError(
            f"`--tag` is {tag!r}, but must be one word: a TREC run has white space between columns."
        )


def _require_free(output: Path, force: bool) -> None:
    """Before anything is computed: refuse a file that exists or cannot be made."""
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
