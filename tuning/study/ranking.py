"""Order of trials: by their objective, and beside a cost where the search has one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tuning.study import attributes
from tuning.study.trials import highest

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def ranking_key(trial: FrozenTrial) -> tuple[float, int]:
    """Return the key by which trials rank, the best highest.

    The best epoch decides, whether the trial was stopped after it or not, then the lower number.
    """
    value = highest(trial)
    return float("-inf") if value is None else value, -trial.number


def cost(trial: FrozenTrial) -> float | None:
    """Return the cost of a trial's model; None unless it is complete in a search with a cost."""
    return trial.values[1] if trial.values and len(trial.values) == 2 else None


def front(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the Pareto front, the cheapest trial first; empty in a search without a cost.

    Of several trials with the same objective and cost, the first is on it.
    """
    weighed = [trial for trial in trials if cost(trial) is not None]
    best: list[FrozenTrial] = []
    for trial in sorted(weighed, key=lambda t: (t.values[1], -t.values[0], t.number)):
        if not best or trial.values[0] > best[-1].values[0]:
            best.append(trial)
    return best


def first_start_point(ranked: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the trial of the earliest start point, which others must beat; None without one.

    Args:
        ranked: Trials that have left weights.
    """
    points = [
        (point, trial.number, trial)
        for trial in ranked
        if (point := attributes.start_point(trial)) is not None
    ]
    return min(points)[2] if points else None
