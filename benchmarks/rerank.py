"""Latency of scoring the candidates of one query, compared with plain cosine.

    python -m benchmarks.rerank --json

The model has the default size, is untrained, and is loaded from a bundle. `cold` gets the
embeddings and computes all states. `indexed` computes only the query's state and reads those of
the documents from a `DocumentIndex` on disk, which is mapped into memory and warm. `cosine` is
`documents @ query` with the rows gathered from the vectors of that index. Every call has a new
query and new rows, a list, of a corpus of random unit vectors. One thread, milliseconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.measuring import AsJson, milliseconds, show, table
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.document_index import DocumentIndex
from quantum_rerank.embeddings import Embeddings
from quantum_rerank.export import Manifest, write_bundle
from quantum_rerank.reranker import Reranker
from quantum_rerank.similarity import build_head

EMBEDDING_DIM, N_CANDIDATES = 384, (10, 100, 1000)
ENGINES = ("lightning.qubit", "statevector")
ENCODER = "npy:random"

Score = Callable[[Embeddings, list[int], Embeddings], object]
"""A function of a query, the rows of its candidates, and their vectors."""


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


def write_untrained(folder: Path) -> Path:
    """Write a bundle of the default model before training."""
    config = override(ExperimentConfig(), {"data.encoder": ENCODER})
    torch.manual_seed(0)
    head = build_head(config.resolved(), EMBEDDING_DIM)
    weight = config.fusion.initial_weight
    manifest = Manifest(
        config=config,
        embedding_dim=EMBEDDING_DIM,
        fusion_weight=weight,
        encoder_fingerprint=ENCODER,
        data_fingerprint="untrained",
        metrics={},
    )
    return write_bundle(folder, head.state_dict(), manifest)


def unit_rows(n: int, rng: np.random.Generator) -> Embeddings:
    """Return random unit vectors, (n, dim) float32."""
    rows = rng.normal(size=(n, EMBEDDING_DIM)).astype(np.float32)
    unit: Embeddings = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


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


def measure(
    scores: Mapping[str, Score],
    corpus: Embeddings,
    n_candidates: int,
    repeats: int,
    rng: np.random.Generator,
) -> dict[str, Latency]:
    """Time the functions in turns. The first turn is not measured."""
    taken: dict[str, list[float]] = {name: [] for name in scores}
    for _ in range(repeats + 1):
        for name, score in scores.items():
            query = unit_rows(1, rng)[0]
            rows = rng.choice(len(corpus), n_candidates, replace=False)
            taken[name].append(_timed(score, query, rows.tolist(), corpus[rows]))
    return {name: Latency.of(values[1:]) for name, values in taken.items()}


def _timed(score: Score, query: Embeddings, rows: list[int], documents: Embeddings) -> float:
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
        bundle, index = write_untrained(Path(name) / "bundle"), Path(name) / "index"
        rerankers = {engine: Reranker.load(bundle, engine) for engine in ENGINES}
        rerankers["statevector"].index_embeddings(vectors, index)
        scores = ways(rerankers, index)
        latencies = {n: measure(scores, vectors, n, repeats, rng) for n in N_CANDIDATES}
    rows = [
        (
            way,
            *(f"{value:.3f}" for n in N_CANDIDATES for value in asdict(latencies[n][way]).values()),
        )
        for way in scores
    ]
    record = {
        "ms": {way: {n: asdict(latencies[n][way]) for n in N_CANDIDATES} for way in scores},
        "corpus": corpus,
        "repeats": repeats,
    }
    columns = [column for n in N_CANDIDATES for column in (f"{n} documents", "95%")]
    title = f"milliseconds per query, candidates from {corpus} documents"
    show(record, [table(title, ("way", *columns), rows)], as_json)


if __name__ == "__main__":
    typer.run(main)
