"""Time and memory of a training on a corpus that is larger than its memory.

    python -m benchmarks.million --json

A folder of random texts and unit vectors of 384 dimensions is written to disk in blocks. It is
then read, searched for candidates and trained on for two epochs by the same code as any other
collection. `private` is the private memory of the process, Linux's Private_Clean and
Private_Dirty, including resident pages of a mapped file. Its peak is sampled every 20 ms. The
vectors take 1.4 GiB of disk at the full size.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
import typer

from benchmarks.measuring import AsJson, show, table
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.embeddings import Embeddings, embedding_source, take
from quantum_rerank.embeddings.mapped import BLOCK, open_mapped, write_rows
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.hybrid_trainer import make_trainer
from tuning.limits.memory_watchdog import MemoryWatchdog

EMBEDDING_DIM = 384
WATCHED_EVERY = 0.02  # seconds
MIB = 2**20

Result = TypeVar("Result")


class Measured:
    """The seconds and the peak of private memory of each step."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}

    def step(self, name: str, do: Callable[[], Result]) -> Result:
        """Run a step and record its seconds and its peak of memory."""
        started = time.perf_counter()
        with MemoryWatchdog(sys.maxsize, private, lambda _: None, WATCHED_EVERY) as memory:
            result = do()
        seconds = time.perf_counter() - started
        self.steps[name] = {"seconds": seconds, "private_peak_mib": memory.peak / MIB}
        return result


def private() -> int:
    """Return the bytes of private memory of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def write_collection(folder: Path, n_documents: int, n_queries: int) -> None:
    """Write texts, judgments and vectors, with each query near the document that answers it."""
    rng = np.random.default_rng(0)
    answers = rng.choice(n_documents, n_queries, replace=False)
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for row in range(n_documents):
            file.write(
                json.dumps({"_id": f"d{row}", "text": f"The text of document {row}."}) + "\n"
            )
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as file:
        for row in range(n_queries):
            file.write(json.dumps({"_id": f"q{row}", "text": f"the question {row}"}) + "\n")
    judged = [f"q{row}\td{answer}\t1" for row, answer in enumerate(answers)]
    rows = ["query-id\tcorpus-id\tscore", *judged]
    (folder / "qrels" / "test.tsv").write_text("\n".join(rows), encoding="utf-8")
    with (folder / "corpus.npy").open("wb") as file:
        write_rows(file, n_documents, random_vectors(n_documents, rng))
    documents = open_mapped(folder / "corpus.npy")
    noise = rng.standard_normal((n_queries, EMBEDDING_DIM), dtype=np.float32)
    np.save(folder / "queries.npy", unit(take(documents, answers) + 0.05 * noise))


def random_vectors(n_rows: int, rng: np.random.Generator) -> Iterator[Embeddings]:
    """Yield blocks of vectors of length 1."""
    for start in range(0, n_rows, BLOCK):
        size = (min(BLOCK, n_rows - start), EMBEDDING_DIM)
        yield unit(rng.standard_normal(size, dtype=np.float32))


def unit(rows: Embeddings) -> Embeddings:
    """Return rows divided by their lengths."""
    lengths: Embeddings = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def configuration(folder: Path, loss: str) -> ExperimentConfig:
    """Return a configuration of two epochs over the collection."""
    return override(
        ExperimentConfig(),
        {
            "loss.name": loss,
            "training.max_epochs": 2,
            "data.seen": [f"beir:{folder}"],
            "data.unseen_validation": [],
            "data.unseen_test": [],
            "data.encoder": f"npy:{folder}",
        },
    )


def measure(folder: Path, n_documents: int, n_queries: int, loss: str) -> Measured:
    """Write, prepare and train, measuring each step."""
    measured = Measured()
    config = configuration(folder, loss)
    source = embedding_source(config.data.encoder, folder / "cache")
    measured.step("writing", lambda: write_collection(folder, n_documents, n_queries))
    prepared = measured.step("preparing", lambda: prepare(config.data, source))
    trainer = measured.step("assembling", lambda: make_trainer(config, prepared.trial))
    measured.step("training", lambda: list(trainer.epochs()))
    return measured


def main(
    documents: Annotated[int, typer.Option(min=1000, help="Number of documents.")] = 1_000_000,
    queries: Annotated[int, typer.Option(min=20, help="Number of queries.")] = 300,
    loss: Annotated[str, typer.Option(help="Value of `loss.name`.")] = "infonce_candidates",
    as_json: AsJson = False,
) -> None:
    """Print the seconds and the peak of private memory of each step."""
    torch.set_num_threads(1)
    imported = private() / MIB
    with TemporaryDirectory() as folder:
        steps = measure(Path(folder) / "random", documents, queries, loss).steps
    peak = max(step["private_peak_mib"] for step in steps.values())
    record: dict[str, Any] = {
        "documents": documents,
        "queries": queries,
        "loss": loss,
        "vectors_mib": 4 * EMBEDDING_DIM * documents / MIB,
        "private_after_imports_mib": imported,
        "private_peak_mib": peak,
        "steps": steps,
    }
    rows = [("imports", "", f"{imported:.0f}")]
    rows += [
        (name, f"{step['seconds']:.1f}", f"{step['private_peak_mib']:.0f}")
        for name, step in steps.items()
    ]
    title = (
        f"{documents:,} documents, {record['vectors_mib']:.0f} MiB of vectors, {queries} queries"
    )
    show(record, [table(title, ("step", "s", "private MiB at peak"), rows)], as_json)


if __name__ == "__main__":
    typer.run(main)
