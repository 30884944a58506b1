"""Time, disk and memory of an index of a million texts with vectors, states and terms.

    python -m benchmarks.million_index --json

The texts have 10 to 30 words by Zipf's law; their vectors are random. The model has the size of
`configs/tuned_config.yaml`, with the gate and BM25 of stems and n-grams, and is untrained. The
index is built from mapped vectors, opened again and ranked from. `anonymous` is the memory that
belongs to the process alone, Linux's RssAnon. `with pages` adds the resident pages of the mapped
files, which the system takes back when it needs memory (Private_Clean and Private_Dirty). Both are
peaks. At the full size some 12 GiB of disk are needed. One thread; the query's vector is given.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
import typer

from benchmarks.corpora import LEXICAL, TUNED, RandomTexts, unit_rows, write_untrained
from benchmarks.measuring import AsJson, milliseconds, show, table
from benchmarks.million import MIB, private, random_vectors
from quantum_rerank.document_index import DocumentIndex
from quantum_rerank.embeddings.mapped import open_mapped, write_rows
from quantum_rerank.reranker import Reranker
from tuning.limits.memory_watchdog import MemoryWatchdog

N_WORDS, N_CANDIDATES = 200_000, 100

Result = TypeVar("Result")


class Steps:
    """The seconds and the peaks of memory of each step."""

    def __init__(self) -> None:
        self.taken: dict[str, dict[str, float]] = {}

    def run(self, name: str, do: Callable[[], Result]) -> Result:
        """Run a step and record it."""
        started = time.perf_counter()
        # The second reading walks all pages, and is made less often.
        with (
            MemoryWatchdog(sys.maxsize, anonymous, lambda _: None, 0.02) as alone,
            MemoryWatchdog(sys.maxsize, private, lambda _: None, 0.5) as mapped,
        ):
            result = do()
        seconds = time.perf_counter() - started
        peaks = {"anonymous_mib": alone.peak / MIB, "with_pages_mib": mapped.peak / MIB}
        self.taken[name] = {"seconds": seconds, **peaks}
        return result


def anonymous() -> int:
    """Return the bytes of anonymous memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(row.split()[1]) for row in status.splitlines() if "RssAnon" in row) * 1024


def write_vectors(path: Path, n_documents: int) -> None:
    """Write random unit vectors, block by block."""
    with path.open("wb") as file:
        write_rows(file, n_documents, random_vectors(n_documents, np.random.default_rng(0)))


def latencies(
    reranker: Reranker, index: DocumentIndex, queries: list[str], n_candidates: int | None
) -> list[float]:
    """Return the milliseconds of each query. The first is not measured."""
    rng = np.random.default_rng(2)
    taken = []
    for query in queries:
        vector = unit_rows(1, rng)[0]
        rows = None
        if n_candidates is not None:
            rows = rng.choice(len(index), n_candidates, replace=False).tolist()
        taken.append(milliseconds(_scoring(reranker, index, query, vector, rows)))
    return taken[1:]


def _scoring(reranker: Reranker, index: DocumentIndex, *query: Any) -> Callable[[], Any]:
    text, vector, rows = query
    return lambda: reranker.scores_of_indexed(vector, index, rows, text)


def measure(folder: Path, n_documents: int, n_queries: int) -> tuple[Steps, dict[str, Any]]:
    """Build and use the index, and return what each step and each query took."""
    steps, texts = Steps(), RandomTexts(N_WORDS, np.random.default_rng(0))
    changes = {**TUNED, "fusion.gate": "nearest", "data.lexical": LEXICAL}
    bundle = write_untrained(folder / "bundle", changes, list(texts.draw(1000)))
    reranker, path = Reranker.load(bundle), folder / "index"
    steps.run("writing the vectors", lambda: write_vectors(folder / "corpus.npy", n_documents))
    corpus = [steps.run("drawing the texts", lambda: list(texts.draw(n_documents)))]
    n_words = sum(len(text.split()) for text in corpus[0])
    vectors = open_mapped(folder / "corpus.npy")
    steps.run("building", lambda: reranker.index_embeddings(vectors, path, corpus.pop()))
    index = steps.run("opening", lambda: reranker.open_index(path))
    queries = list(texts.draw(n_queries + 1, 5, 12))
    some = f"{N_CANDIDATES} documents"
    ways: dict[str, tuple[list[str], int | None]] = {
        f"{some}, pages not mapped": (queries, N_CANDIDATES),
        "all documents": (queries[:11], None),
        some: (queries, N_CANDIDATES),
    }
    taken = {name: latencies(reranker, index, *way) for name, way in ways.items()}
    # Once more, since reading the memory takes time.
    steps.run("ranking", lambda: [latencies(reranker, index, *way) for way in ways.values()])
    sizes = {file.name: file.stat().st_size for file in sorted(path.iterdir())}
    ms = {name: _percentiles(values) for name, values in taken.items()}
    return steps, {"ms": ms, "words": n_words, "bytes": sizes}


def _percentiles(values: list[float]) -> dict[str, float]:
    median, p95 = np.percentile(values, (50, 95)).tolist()
    return {"median": median, "p95": p95}


def main(
    documents: Annotated[int, typer.Option(min=1000, help="Number of documents.")] = 1_000_000,
    queries: Annotated[int, typer.Option(min=20, help="Number of queries.")] = 200,
    folder: Annotated[Path | None, typer.Option(help="Folder of the temporary files.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print what building, opening and ranking take."""
    torch.set_num_threads(1)
    with TemporaryDirectory(dir=folder) as name:
        steps, record = measure(Path(name), documents, queries)
    of_terms = sum(size for file, size in record["bytes"].items() if file.count(".") > 1)
    total = sum(record["bytes"].values())
    memory = [
        (step, *(f"{taken[key]:,.{digits}f}" for key, digits in _COLUMNS.items()))
        for step, taken in steps.taken.items()
    ]
    speed = [
        (way, f"{taken['median']:,.2f}", f"{taken['p95']:,.2f}")
        for way, taken in record["ms"].items()
    ]
    title = (
        f"{documents:,} documents of {record['words'] / documents:.0f} words; index of "
        f"{total / 2**30:.2f} GiB, {of_terms / 2**30:.2f} of them terms"
    )
    tables = [
        table(title, ("step", "s", "anonymous MiB", "with pages MiB"), memory),
        table("milliseconds per query", ("candidates", "median", "95%"), speed),
    ]
    show({"documents": documents, **record, "steps": steps.taken}, tables, as_json)


_COLUMNS = {"seconds": 1, "anonymous_mib": 0, "with_pages_mib": 0}

if __name__ == "__main__":
    typer.run(main)
