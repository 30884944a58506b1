"""The missing trainings of the experiments, each in one of several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from experiments.measuring import measure
from experiments.plan import Task
from experiments.results import Result
from quantum_rerank.errors import SearchError

Measure = Callable[[Task, Mapping[str, str], Path], Result]
"""Trains one model and writes its result, as `measure` does. A worker imports it by its name."""


def run_all(
    tasks: Sequence[Task],
    collections: Mapping[str, Mapping[str, str]],
    folder: Path,
    jobs: int,
    measure: Measure = measure,
) -> Generator[tuple[Task, Result]]:
    """Yield each task with its result when it ends. Closing the generator stops the workers.

    Args:
        tasks: The trainings.
        collections: Data set -> role of test queries -> name of the collection.
        folder: The folder of all results.
        jobs: The number of processes.
        measure: What a worker calls with each task.

    Raises:
        SearchError: A worker was killed, for example by the system for lack of memory.
    """
    # Spawned, since a fork of a process with threads may hang.
    existing = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _live_with_parent)
    with _one_thread_each():  # a worker is started by a submission, not later
        running = {
            pool.submit(measure, task, collections[task.dataset], folder): task for task in tasks
        }
    workers = set(multiprocessing.active_children()) - existing
    try:
        for done in as_completed(running):
            yield running[done], done.result()
    except BaseException as error:
        for worker in workers:
            worker.terminate()
        if isinstance(error, BrokenProcessPool):
            raise SearchError(
                "A worker of the experiments was killed, perhaps for lack of memory. Finished "
                "trainings are on disk: run the same command again, with fewer --jobs."
            ) from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)  # the pool's own thread joins its workers


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that are started in the block inherit a limit of one thread."""
    previous = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if previous is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = previous


def _live_with_parent() -> None:
    """Leave Ctrl-C to the parent process, and exit when the parent dies."""
    from tqdm import tqdm

    # BM25's library draws no bar, but its lock is shared between processes by default, and
    # terminating a worker would be reported as a leak of it.
    tqdm.set_lock(threading.RLock())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
