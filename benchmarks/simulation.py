"""Searches in simulated time: real searchers and real schedulers, called as Ray Tune calls them.

The simulation follows the loop of Ray 2.60 (ray/tune/execution/tune_controller.py) in three
points. A result that stops a trial reaches the searcher only with the trial's end. A trial that
returns ends with its last result, which is reported again. Without a limit of concurrent trials,
one trial is suggested ahead of a free worker. The simulation does not include the time of Ray, of
starting workers and of reports.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from tuning.records import (
    CHECKPOINT,
    EPOCH,
    FINAL,
    OBJECTIVE,
    SECONDS,
    TRAINING_SECONDS,
    parameters_of,
)
from tuning.space import Params


@dataclass(frozen=True)
class Training:
    """The reports of a trial that is not stopped, and the seconds of each epoch."""

    objective: list[float]
    seconds: list[float]


@dataclass(frozen=True)
class Ended:
    """The end of a trial.

    Attributes:
        number: The number in the order of suggestions.
        params: The suggested parameters.
        epochs: The number of epochs.
        objective: The last report.
        to_its_end: True if the trial was not stopped.
        seconds: The duration of the trial.
        at: The simulated time of the end.
    """

    number: int
    params: Params
    epochs: int
    objective: float
    to_its_end: bool
    seconds: float
    at: float


@dataclass
class _Running:
    """A trial on a worker, with the object that represents it in calls of a scheduler."""

    number: int
    handle: Any  # with the attributes of ray.tune.Trial that schedulers read: trial_id, config
    params: Params
    training: Training
    epoch: int = 0
    spent: float = 0.0

    def next_result(self) -> dict[str, Any]:
        """Return the report of the next epoch."""
        self.epoch += 1
        self.spent += self.training.seconds[self.epoch - 1]
        return {
            "training_iteration": self.epoch,
            EPOCH: self.epoch,
            OBJECTIVE: self.training.objective[self.epoch - 1],
            FINAL: self.epoch == len(self.training.objective),
            SECONDS: self.spent,
            TRAINING_SECONDS: self.spent,
            CHECKPOINT: self.epoch,
        }


def simulate(
    searcher: Any,
    scheduler: Any,
    train: Callable[[Params], Training],
    n_trials: int,
    workers: int,
    ahead: int = 0,
) -> list[Ended]:
    """Run the trials of a search on some workers.

    Args:
        searcher: A `ray.tune.search.Searcher`.
        scheduler: A `ray.tune.schedulers.TrialScheduler`.
        train: Parameters -> training.
        n_trials: The number of trials.
        workers: The number of workers.
        ahead: The number of trials that are suggested ahead of a free worker.

    Returns:
        The ends of the trials in the order of time.
    """
    now, proposed = 0.0, 0
    waiting: deque[_Running] = deque()
    running: list[tuple[float, int, _Running]] = []  # a heap by the time of the next report
    ended: list[Ended] = []
    is_over = False
    while True:
        while True:
            while waiting and len(running) < workers:
                trial = waiting.popleft()
                first = now + trial.training.seconds[0]
                heapq.heappush(running, (first, trial.number, trial))
            if is_over or proposed == n_trials or len(waiting) + len(running) >= workers + ahead:
                break
            trial_id = f"{proposed:05d}"
            config = searcher.suggest(trial_id)
            if config is None or config == Searcher.FINISHED:
                is_over = config is not None
                break
            handle = SimpleNamespace(trial_id=trial_id, config=config)
            scheduler.on_trial_add(None, handle)
            params = parameters_of(config)
            waiting.append(_Running(proposed, handle, params, train(params)))
            proposed += 1
        if not running:
            return ended
        now, _, trial = heapq.heappop(running)
        result = trial.next_result()
        if _goes_on(searcher, scheduler, trial.handle, result):
            following = now + trial.training.seconds[trial.epoch]
            heapq.heappush(running, (following, trial.number, trial))
            continue
        ended.append(_ended(trial, result, now))


def best_of_ours(ended: Iterable[Ended]) -> Ended:
    """Return the best trial as `StudyView.ranked`: trials that were not stopped come first."""
    return max(ended, key=lambda end: (end.to_its_end, end.objective, -end.number))


def _goes_on(searcher: Any, scheduler: Any, handle: Any, result: Mapping[str, Any]) -> bool:
    """Report a result and the end of a trial. Return whether the trial continues."""
    decision = scheduler.on_trial_result(None, handle, dict(result))
    if decision != TrialScheduler.STOP:
        searcher.on_trial_result(handle.trial_id, dict(result))
        if not result[FINAL]:
            return True
    scheduler.on_trial_complete(None, handle, dict(result))
    searcher.on_trial_complete(handle.trial_id, result=dict(result))
    return False


def _ended(trial: _Running, result: Mapping[str, Any], now: float) -> Ended:
    is_whole = bool(result[FINAL])
    return Ended(
        number=trial.number,
        params=trial.params,
        epochs=trial.epoch,
        objective=result[OBJECTIVE],
        to_its_end=is_whole,
        seconds=trial.spent,
        at=now,
    )
