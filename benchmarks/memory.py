"""Memory of a trial: what is its own, and what all trials of a machine share.

    python -m benchmarks.memory --json

A local Ray cluster, the data in its object store, and workers that take it from there,
touch every embedding and train for an epoch, as trials do: 50 training and 50
validation queries with 100 candidates each, over random unit vectors of 384 dimensions.
`own` is a worker's unique set size, what would be freed if it ended; `shared` is the
rest of its resident memory, its libraries included. Two workers hold the data at the
same time, and train one after the other: what the second needs of its own is the price
of one more trial on a machine. Every size has fresh workers; peaks are looked for
every 20 ms; MB are 2^20 bytes.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import typer
from rich.table import Table

from benchmarks.measuring import AsJson, show, table
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.datasets import Collection
from quantum_rerank.embeddings import Embeddings
from quantum_rerank.training.data_manager import QuerySet, TrialData, query_set
from tuning.limits.memory_watchdog import MemoryWatchdog
from tuning.study.trial_files import TrialFiles
from tuning.workers.cluster import ray_cluster
from tuning.workers.training import train
from tuning.workers.trial_context import TrialContext

EMBEDDING_DIM, N_QUERIES, N_CANDIDATES = 384, 50, 100
QUBITS, DOCUMENTS = 4, 10_000
MANY_QUBITS = (2, 4, 8, 12)
MANY_DOCUMENTS = (1_000, 10_000, 100_000)
WATCHED_EVERY = 0.02  # seconds
MB = 2**20


@dataclass(frozen=True)
class Usage:
    """MB of a process: its own, and those that others have too."""

    own: float
    shared: float


@dataclass(frozen=True)
class Trial:
    """MB of a trial's worker before it has the data, with it, and at the peak of its training.

    unpickled: with the data, of which no embedding was read yet.
    """

    before: Usage
    unpickled: Usage
    with_data: Usage
    trained: Usage
    own_peak: float
    resident_peak: float

    @property
    def own_for_embeddings(self) -> float:
        """What reading every embedding adds to the worker's own memory."""
        return self.with_data.own - self.unpickled.own

    @property
    def own_for_data(self) -> float:
        """What all of the data adds to it: ids and judgments too."""
        return self.with_data.own - self.before.own

    def figures(self) -> dict[str, Any]:
        """Everything as plain numbers."""
        return {
            **asdict(self),
            "own_for_embeddings": self.own_for_embeddings,
            "own_for_data": self.own_for_data,
        }


def usage() -> Usage:
    """What this process uses now."""
    import psutil

    memory = psutil.Process().memory_full_info()
    return Usage(memory.uss / MB, (memory.rss - memory.uss) / MB)


class Worker:
    """A trial's process: imports first, so that they are not taken for the data."""

    def __init__(self, config: ExperimentConfig) -> None:
        self._config = config
        # The smallest training: what is compiled or loaded on its first use is there after it.
        _train(override(config, {"circuit.n_qubits": 2}), trial_data(2 * N_CANDIDATES))
        gc.collect()

    def take(self, reference: list[Any]) -> None:
        """Get the data and read every embedding."""
        import ray

        self._before = usage()
        self._data: TrialData = ray.get(reference[0])
        self._unpickled = usage()
        for queries in (*self._data.train, *self._data.seen):
            queries.documents.sum()
            queries.queries.sum()
        self._with_data = usage()

    def train(self) -> Trial:
        """Train, and say what all of it took."""
        with _watching(_own_bytes) as own, _watching(_resident_bytes) as resident:
            _train(self._config, self._data)
        return Trial(
            self._before,
            self._unpickled,
            self._with_data,
            usage(),
            own.peak / MB,
            resident.peak / MB,
        )


def _own_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_full_info().uss)


def _watching(used: Callable[[], int]) -> MemoryWatchdog:
    """A watchdog that only remembers the peak."""
    return MemoryWatchdog(sys.maxsize, used, lambda _: None, WATCHED_EVERY)


def _resident_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def _train(config: ExperimentConfig, data: TrialData) -> None:
    with TemporaryDirectory() as folder:
        train(config, data, lambda _: None, TrialContext(TrialFiles(folder), 0))


def trial_data(n_documents: int) -> TrialData:
    """What a trial gets, with queries near to documents that answer them."""
    rng = np.random.default_rng(0)
    documents = _unit(rng.normal(size=(n_documents, EMBEDDING_DIM)))
    answers = rng.choice(n_documents, 2 * N_QUERIES, replace=False)
    queries = _unit(documents[answers] + 0.05 * rng.normal(size=(len(answers), EMBEDDING_DIM)))
    collection = Collection(
        "random",
        {f"document-{row}": "" for row in range(n_documents)},
        {f"query-{row}": "" for row in range(len(answers))},
        {f"query-{row}": {f"document-{answer}": 1} for row, answer in enumerate(answers)},
    )
    ids = tuple(collection.queries)

    def chosen(query_ids: tuple[str, ...]) -> tuple[QuerySet, ...]:
        return (query_set(collection, queries, documents, query_ids, N_CANDIDATES),)

    return TrialData(chosen(ids[:N_QUERIES]), chosen(ids[N_QUERIES:]), ())


def _unit(rows: Any) -> Embeddings:
    unit: Embeddings = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def trials(n_qubits: int, data: TrialData, engine: str) -> tuple[Trial, Trial]:
    """Two trials of one machine, of which the second gets what the first has already."""
    import ray

    config = override(
        ExperimentConfig(),
        {
            "circuit.n_qubits": n_qubits,
            "circuit.engine": engine,
            "warmup.steps": 2,
            "training.max_epochs": 1,
        },
    )
    reference = ray.put(data)
    process = ray.remote(num_cpus=0)(Worker)  # so that one core is enough for two
    workers = [process.remote(config) for _ in range(2)]
    for worker in workers:
        ray.get(worker.take.remote([reference]))  # in a list, which Ray leaves as it is
    first, second = (ray.get(worker.train.remote()) for worker in workers)
    for worker in workers:
        ray.kill(worker)
    return first, second


def main(engine: str = "lightning.qubit", as_json: AsJson = False) -> None:
    """Print MB per trial, by qubits and by documents."""
    with ray_cluster(None):
        data = {n: trial_data(n) for n in MANY_DOCUMENTS}
        by_qubits = {n: trials(n, data[DOCUMENTS], engine) for n in MANY_QUBITS}
        by_documents = {n: trials(QUBITS, data[n], engine) for n in MANY_DOCUMENTS}
    record = {
        "mb_by_qubits": _figures(by_qubits),
        "mb_by_documents": _figures(by_documents),
        "engine": engine,
    }
    show(record, [qubits_table(by_qubits), documents_table(by_documents)], as_json)


def qubits_table(by_qubits: Mapping[int, tuple[Trial, Trial]]) -> Table:
    """A row per number of qubits, of the second trial."""
    rows = [
        (
            str(n_qubits),
            *_cells(trial.with_data.own, trial.own_peak, trial.trained.shared, trial.resident_peak),
        )
        for n_qubits, (_, trial) in by_qubits.items()
    ]
    columns = ("qubits", "own before training", "own at peak", "shared", "resident at peak")
    return table(f"MB of a trial, {DOCUMENTS} documents", columns, rows)


def documents_table(by_documents: Mapping[int, tuple[Trial, Trial]]) -> Table:
    """A row per corpus and trial."""
    rows = [
        (
            f"{n_documents}, {which}",
            *_cells(
                4 * EMBEDDING_DIM * n_documents / MB,
                trial.own_for_embeddings,
                trial.own_for_data,
                trial.own_peak,
                trial.trained.shared,
            ),
        )
        for n_documents, both in by_documents.items()
        for which, trial in zip(("first", "second"), both, strict=True)
    ]
    columns = (
        "documents, trial",
        "embeddings",
        "own for them",
        "own for all data",
        "own at peak",
        "shared",
    )
    return table(f"MB of a trial, {QUBITS} qubits", columns, rows)


def _cells(*values: float) -> list[str]:
    return [f"{value:.1f}" for value in values]


def _figures(sizes: Mapping[int, tuple[Trial, Trial]]) -> dict[int, dict[str, Any]]:
    """Everything as plain numbers: size -> first or second trial -> MB."""
    return {
        size: {"first": first.figures(), "second": second.figures()}
        for size, (first, second) in sizes.items()
    }


if __name__ == "__main__":
    typer.run(main)
