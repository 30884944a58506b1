"""The results of all planned trainings: read from disk, or trained behind a progress bar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.measuring import measure as measure_model
from experiments.measuring import prepared_data, task_data
from experiments.plan import FIXED, Dataset, Task
from experiments.results import Result, Results, fingerprint
from experiments.running import Measure, run_all
from quantum_rerank.plain_console import make_progress
from quantum_rerank.training.data_description import describe, describe_skipped

if TYPE_CHECKING:
    from rich.console import Console

_WHOLE_TIME = 1e6  # seconds: the time left follows from all trainings, not from the last minute


@dataclass
class _Checked:
    """The planned trainings, checked against the results on disk.

    Attributes:
        results: Path -> a result that is up to date.
        missing: The trainings without one.
        n_queries: Data set -> the number of training queries.
        skipped: Domain -> kind of input that was not used as given -> its number, at most in any
            split.
    """

    results: dict[Path, Result] = field(default_factory=dict)
    missing: list[Task] = field(default_factory=list)
    n_queries: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, dict[str, int]] = field(default_factory=dict)


def all_results(
    planned: Sequence[Task],
    datasets: Sequence[Dataset],
    folder: Path,
    jobs: int,
    console: Console,
    measure: Measure = measure_model,
) -> tuple[list[Result], list[str]]:
    """Return the result of every task, training those that have none.

    Args:
        planned: The trainings.
        datasets: Their data sets.
        folder: The folder of all results.
        jobs: The number of trainings at once.
        console: The console for descriptions of the data and for the progress bar.
        measure: What a worker calls with each task.

    Returns:
        The results in the order of the tasks, and sentences on input that was not used as given.
    """
    checked = _check(planned, Results(folder), console)
    results, missing = checked.results, checked.missing
    console.print(f"{len(planned)} trainings, {len(results)} of them finished earlier.")
    if missing:
        collections = {dataset.name: dataset.collections for dataset in datasets}
        costs = {
            task: 1 if task.name in FIXED else checked.n_queries[task.dataset] for task in missing
        }
        with closing(
            run_all(missing, collections, folder, min(jobs, len(missing)), measure)
        ) as ended:
            results |= _watched(ended, costs, console)
    return [results[task.result_path] for task in planned], describe_skipped(checked.skipped)


def _check(planned: Sequence[Task], files: Results, console: Console) -> _Checked:
    checked, described = _Checked(), set[str]()
    for task in planned:
        prepared, _, data = task_data(task)
        for domain, counts in prepared.skipped.items():
            most = checked.skipped.setdefault(domain, {})
            most.update({kind: max(count, most.get(kind, 0)) for kind, count in counts.items()})
        if task.dataset not in checked.n_queries:
            queries = (len(domain.query_ids) for domain in prepared.trial.train)
            checked.n_queries[task.dataset] = sum(queries)
            for line in describe(prepared):
                if line not in described:
                    console.print(line, soft_wrap=True)
                    described.add(line)
        result = files.of(task, fingerprint(task.config, task.model, data))
        if result is None:
            checked.missing.append(task)
        else:
            checked.results[task.result_path] = result
    prepared_data.cache_clear()  # the workers prepare their own
    return checked


def _watched(
    ended: Iterable[tuple[Task, Result]], costs: Mapping[Task, int], console: Console
) -> dict[Path, Result]:
    """Return the results of trainings, showing a progress bar whose unit is a training query."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    results: dict[Path, Result] = {}
    with make_progress(*columns, console=console, speed_estimate_period=_WHOLE_TIME) as progress:
        bar = progress.add_task("training", total=sum(costs.values()))
        for task, result in ended:
            results[task.result_path] = result
            text = f"{len(results)} of {len(costs)} trainings"
            progress.update(bar, advance=costs[task], description=text)
            if result.failed:
                training = f"{task.dataset}, {task.name}, seed {task.seed}"
                console.print(f"{training}: {result.failed}", soft_wrap=True)
    return results
