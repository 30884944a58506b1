"""Latency of scoring the candidates of one query, compared with plain cosine.

    python -m benchmarks.rerank --json

The model has the default size, is untrained, and is loaded from a bundle. `cold` gets the
embeddings and computes all states. `indexed` computes only the query's state and reads those of
the documents from a `DocumentIndex` on disk, which is mapped into memory and warm. `cosine` is
`documents @ query` with the rows gathered from the vectors of that index. Every call has a new
query and new rows, a list, of a corpus of random unit vectors. One thread, milliseconds.

The second table has the model of `configs/tuned_config.yaml`, with and without its gate (of 1,000
training queries) and BM25 of stems and n-grams. Its texts have 10 to 30 words by Zipf's law, its
queries 5 to 12.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.table import Table

from benchmarks.corpora import LEXICAL, TUNED, RandomTexts, unit_rows, write_untrained
from benchmarks.measuring import AsJson, milliseconds, show, table
from quantum_rerank.document_index import DocumentIndex
from quantum_rerank.embeddings import Embeddings
from quantum_rerank.reranker import Reranker

N_CANDIDATES = (10, 100, 1000)
N_WORDS = 20_000
ENGINES = ("lightning.qubit", "statevector")

PARTS: dict[str, dict[str, Any]] = {
    "model": {},
    "model, gate": {"fusion.gate": "nearest"},
    "model, BM25": {"data.lexical": LEXICAL},
    "model, BM25, gate": {"data.lexical": LEXICAL, "fusion.gate": "nearest"},
}

Score = Callable[[Embeddings, Any, Embeddings], object]
"""A function of a query, the rows of its candidates (None for all), and their vectors."""


@dataclass(frozen=True)
class Latency:
    """The median and the 95th percentile of milliseconds."""

    median: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Latency:
        """Return the latency of measurements."""
        median, p95 = np.percentile(values, (50, 95)).tolist()
        return cls(median, p95)


def ways(rerankers: Mapping[str, Reranker], folder: Path) -> dict[str, Score]:
    """Return name -> function that scores candidates."""
    scores: dict[str, Score] = {}
    for engine, reranker in rerankers.items():
        scores[f"{engine}, cold"] = _cold(reranker)
        scores[f"{engine}, indexed"] = _indexed(reranker, reranker.open_index(folder))
    # A plain view: a memmap's own indexing costs more than the rows do.
    vectors = np.asarray(next(iter(rerankers.values())).open_index(folder).embeddings)
    return {**scores, "cosine": lambda query, rows, _: vectors[rows] @ query}


def _cold(reranker: Reranker) -> Score:
    return lambda query, _, documents: reranker.scores_of_embeddings(query, documents)


def _indexed(reranker: Reranker, index: DocumentIndex) -> Score:
    return lambda query, rows, _: reranker.scores_of_indexed(query, index, rows)


def tuned_ways(
    folder: Path, vectors: Embeddings, texts: list[str], queries: list[str]
) -> dict[str, Score]:
    """Return name -> function that scores candidates by the tuned model with some of its parts."""
    scores = {}
    for name, parts in PARTS.items():
        place = folder / name.replace(", ", "-")
        reranker = Reranker.load(write_untrained(place, {**TUNED, **parts}, texts))
        index = reranker.index_embeddings(vectors, place / "index", texts)
        scores[name] = _with_text(reranker, index, cycle(queries))
    return scores


def _with_text(reranker: Reranker, index: DocumentIndex, queries: Iterator[str]) -> Score:
    return lambda query, rows, _: reranker.scores_of_indexed(query, index, rows, next(queries))


def measure(
    scores: Mapping[str, Score],
    corpus: Embeddings,
    n_candidates: int | None,
    repeats: int,
    rng: np.random.Generator,
) -> dict[str, Latency]:
    """Time the functions in turns, of which the first is not measured.

    Without a number of candidates, all documents are scored.
    """
    taken: dict[str, list[float]] = {name: [] for name in scores}
    for _ in range(repeats + 1):
        for name, score in scores.items():
            query = unit_rows(1, rng)[0]
            rows = rng.choice(len(corpus), n_candidates or 1, replace=False)
            picked = rows.tolist() if n_candidates else None
            taken[name].append(_timed(score, query, picked, corpus[rows]))
    return {name: Latency.of(values[1:]) for name, values in taken.items()}


def _timed(score: Score, query: Embeddings, rows: list[int] | None, documents: Embeddings) -> float:
    return milliseconds(lambda: score(query, rows, documents))


def main(
    corpus: Annotated[
        int, typer.Option(min=1000, help="Number of documents in the index.")
    ] = 10_000,
    repeats: int = 200,
    as_json: AsJson = False,
) -> None:
    """Print the median and the 95th percentile of milliseconds per query."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    vectors = unit_rows(corpus, rng)
    with tempfile.TemporaryDirectory() as name:
        bundle, index = write_untrained(Path(name) / "bundle", {}), Path(name) / "index"
        rerankers = {engine: Reranker.load(bundle, engine) for engine in ENGINES}
        rerankers["statevector"].index_embeddings(vectors, index)
        scores = ways(rerankers, index)
        of_ways: Latencies = {n: measure(scores, vectors, n, repeats, rng) for n in N_CANDIDATES}
        drawn = RandomTexts(N_WORDS, rng)
        texts, queries = list(drawn.draw(corpus)), list(drawn.draw(1000, 5, 12))
        tuned = tuned_ways(Path(name), vectors, texts, queries)
        of_parts = {n: measure(tuned, vectors, n, repeats, rng) for n in (*N_CANDIDATES, None)}
    title = f"milliseconds per query, candidates from {corpus} documents"
    tables = [_table(title, "way", of_ways), _table(f"{title}, tuned model", "parts", of_parts)]
    record = {
        "ms": _by_way(of_ways),
        "parts_ms": _by_way(of_parts),
        "corpus": corpus,
        "repeats": repeats,
    }
    show(record, tables, as_json)


Latencies = dict[int | None, dict[str, Latency]]
"""Number of candidates, None for all documents -> way -> latency."""


def _by_way(latencies: Latencies) -> dict[str, dict[str, dict[str, float]]]:
    """Return way -> number of candidates -> latency."""
    names = next(iter(latencies.values()))
    return {way: {str(n or "all"): asdict(latencies[n][way]) for n in latencies} for way in names}


def _table(title: str, first: str, latencies: Latencies) -> Table:
    columns = [column for n in latencies for column in (f"{n or 'all'} documents", "95%")]
    rows = [
        (way, *(f"{value:.3f}" for latency in by_n.values() for value in latency.values()))
        for way, by_n in _by_way(latencies).items()
    ]
    return table(title, (first, *columns), rows)


if __name__ == "__main__":
    typer.run(main)
