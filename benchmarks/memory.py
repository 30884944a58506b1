"""Memory of a trial: private memory, and memory that all trials of a machine share.

    python -m benchmarks.memory --json

Workers of a local Ray cluster get the data from its object store, read every embedding and train
for an epoch, as trials do: 50 training and 50 validation queries with 100 candidates each, over
random unit vectors of 384 dimensions. `private` is a worker's unique set size, which would be
freed if it ended. `shared` is the rest of its resident memory, including its libraries. Two
workers hold the data at the same time and train one after the other: the private memory of the
second is the cost of one more trial on a machine. Every size has new workers. Peaks are sampled
every 20 ms.
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
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.training.query_sets import build_query_set
from quantum_rerank.training.trial_data import TrialData
from tuning.limits.memory_watchdog import MemoryWatchdog
from tuning.records import TrialMetadata
from tuning.study.trial_files import TrialFiles
from tuning.workers.cluster import ray_cluster
from tuning.workers.training import TrialTask, train
from tuning.workers.trial_context import TrialContext

EMBEDDING_DIM, N_QUERIES, N_CANDIDATES = 384, 50, 100
QUBITS, DOCUMENTS = 4, 10_000
MANY_QUBITS = (2, 4, 8, 12)
MANY_DOCUMENTS = (1_000, 10_000, 100_000)
WATCHED_EVERY = 0.02  # seconds
MIB = 2**20


@dataclass(frozen=True)
class Usage:
    """The private and the shared memory of a process, in MiB."""

    private: float
    shared: float


@dataclass(frozen=True)
class Trial:
    """The memory of a trial's worker, in MiB.

    Attributes:
        without_data: Before the worker gets the data.
        unpickled: With the data, before an embedding is read.
        with_data: After every embedding was read.
        trained: After the training.
        private_peak: The highest private memory during the training.
        resident_peak: The highest resident memory during the training.
    """

    without_data: Usage
    unpickled: Usage
    with_data: Usage
    trained: Usage
    private_peak: float
    resident_peak: float

    @property
    def private_for_embeddings(self) -> float:
        """The private memory that reading every embedding adds."""
        return self.with_data.private - self.unpickled.private

    @property
    def private_for_data(self) -> float:
        """The private memory that all of the data adds, including ids and judgments."""
        return self.with_data.private - self.without_data.private

    def figures(self) -> dict[str, Any]:
        """Return all values as plain numbers."""
        return {
            **asdict(self),
            "private_for_embeddings": self.private_for_embeddings,
            "private_for_data": self.private_for_data,
        }


def usage() -> Usage:
    """Return the memory that this process uses now."""
    import psutil

    memory = psutil.Process().memory_full_info()
    return Usage(memory.uss / MIB, (memory.rss - memory.uss) / MIB)


class Worker:
    """The process of a trial. It imports first, so that imports do not count as data."""

    def __init__(self, config: ExperimentConfig) -> None:
        self._config = config
        # The smallest training compiles and loads everything that is needed later.
        _train(override(config, {"circuit.n_qubits": 2}), trial_data(2 * N_CANDIDATES))
        gc.collect()

    def take(self, reference: list[Any]) -> None:
        """Get the data and read every embedding."""
        import ray

        self._without_data = usage()
        self._data: TrialData = ray.get(reference[0])
        self._unpickled = usage()
        for queries in (*self._data.train, *self._data.validation_in_domain):
            queries.documents.sum()
            queries.queries.sum()
        self._with_data = usage()

    def train(self) -> Trial:
        """Train, and return the memory of all steps."""
        with _watching(_private_bytes) as private, _watching(_resident_bytes) as resident:
            _train(self._config, self._data)
        return Trial(
            without_data=self._without_data,
            unpickled=self._unpickled,
            with_data=self._with_data,
            trained=usage(),
            private_peak=private.peak / MIB,
            resident_peak=resident.peak / MIB,
        )


def _private_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_full_info().uss)


def _watching(used: Callable[[], int]) -> MemoryWatchdog:
    """Return a watchdog that only records the peak."""
    return MemoryWatchdog(sys.maxsize, used, lambda _: None, WATCHED_EVERY)


def _resident_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def _train(config: ExperimentConfig, data: TrialData) -> None:
    with TemporaryDirectory() as folder:
        context = TrialContext(TrialFiles(folder), TrialMetadata(number=0))
        train(TrialTask(config, data, context), lambda _: None)


def trial_data(n_documents: int) -> TrialData:
    """Return the data of a trial, with queries near the documents that answer them."""
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
        return (
            build_query_set(
                collection, queries, documents, query_ids=query_ids, n_candidates=N_CANDIDATES
            ),
        )

    return TrialData(chosen(ids[:N_QUERIES]), chosen(ids[N_QUERIES:]), ())


def _unit(rows: Any) -> Embeddings:
    unit: Embeddings = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def trials(n_qubits: int, data: TrialData, engine: str) -> tuple[Trial, Trial]:
    """Measure two trials on one machine that share the data."""
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
    """Print MiB per trial, by qubits and by documents."""
    with ray_cluster(None):
        data = {n: trial_data(n) for n in MANY_DOCUMENTS}
        by_qubits = {n: trials(n, data[DOCUMENTS], engine) for n in MANY_QUBITS}
        by_documents = {n: trials(QUBITS, data[n], engine) for n in MANY_DOCUMENTS}
    record = {
        "mib_by_qubits": _figures(by_qubits),
        "mib_by_documents": _figures(by_documents),
        "engine": engine,
    }
    show(record, [qubits_table(by_qubits), documents_table(by_documents)], as_json)


def qubits_table(by_qubits: Mapping[int, tuple[Trial, Trial]]) -> Table:
    """Return the memory of the second trial, one row per number of qubits."""
    rows = [
        (
            str(n_qubits),
            *_cells(
                trial.with_data.private,
                trial.private_peak,
                trial.trained.shared,
                trial.resident_peak,
            ),
        )
        for n_qubits, (_, trial) in by_qubits.items()
    ]
    columns = ("qubits", "private with data", "private at peak", "shared", "resident at peak")
    return table(f"MiB of a trial, {DOCUMENTS} documents", columns, rows)


def documents_table(by_documents: Mapping[int, tuple[Trial, Trial]]) -> Table:
    """Return the memory of both trials, one row per corpus and trial."""
    rows = [
        (
            f"{n_documents}, {order}",
            *_cells(
                4 * EMBEDDING_DIM * n_documents / MIB,
                trial.private_for_embeddings,
                trial.private_for_data,
                trial.private_peak,
                trial.trained.shared,
            ),
        )
        for n_documents, both in by_documents.items()
        for order, trial in zip(("first", "second"), both, strict=True)
    ]
    columns = (
        "documents, trial",
        "embeddings",
        "private for them",
        "private for all data",
        "private at peak",
        "shared",
    )
    return table(f"MiB of a trial, {QUBITS} qubits", columns, rows)


def _cells(*values: float) -> list[str]:
    return [f"{value:.1f}" for value in values]


def _figures(sizes: Mapping[int, tuple[Trial, Trial]]) -> dict[int, dict[str, Any]]:
    """Return size -> first or second trial -> MiB, as plain numbers."""
    return {
        size: {"first": first.figures(), "second": second.figures()}
        for size, (first, second) in sizes.items()
    }


if __name__ == "__main__":
    typer.run(main)
