"""A search in simulated time: real searchers and real schedulers, told as Ray Tune tells them.

What is mirrored of Ray 2.60's loop (ray/tune/execution/tune_controller.py): a result that makes a
trial stop is kept from the searcher until the trial's end, which it is then told with; a trial
that returned by itself ends with its last result once more; without a limit of concurrent
trials one is proposed ahead of a free worker. What is not: the time that Ray, the start of
workers and reports take.
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
    """What a trial would report if nobody stopped it, and the seconds of each epoch."""

    objective: list[float]
    seconds: list[float]


@dataclass(frozen=True)
class Ended:
    """A trial's end.

    number: in the order in which trials were proposed.
    seconds: what the trial took; at: when it ended, in simulated time.
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
    """A trial on a worker; the object that a scheduler gets as Ray's trial comes with it."""

    number: int
    handle: Any  # what a scheduler reads of ray.tune.Trial: trial_id, config
    params: Params
    training: Training
    epoch: int = 0
    spent: float = 0.0

    def next_result(self) -> dict[str, Any]:
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
    """Run a search's trials on some workers; returns their ends in the order in which they came.

    searcher, scheduler: a `ray.tune.search.Searcher` and a `TrialScheduler`.
    ahead: trials proposed before there is a worker for them.
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
    """As `StudyView.ranked`: those that were trained to their end come first."""
    return max(ended, key=lambda end: (end.to_its_end, end.objective, -end.number))


def _goes_on(searcher: Any, scheduler: Any, handle: Any, result: Mapping[str, Any]) -> bool:
    """Tell both of a result, and of the trial's end if it has come to it."""
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
        trial.number, trial.params, trial.epoch, result[OBJECTIVE], is_whole, trial.spent, now
    )
