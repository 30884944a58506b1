"""Which trials are the best: by their objective, and beside a cost where there is one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from tuning.study.history import curve

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def ranking_key(trial: FrozenTrial) -> tuple[bool, float, int]:
    """What trials rank by, the best highest: whoever is complete, the best epoch, the first."""
    highest = max(curve(trial).values(), default=float("-inf"))
    return trial.state == TrialState.COMPLETE, highest, -trial.number


def cost(trial: FrozenTrial) -> float | None:
    """What a trial's model costs; None unless it is complete in a search with a cost."""
    return trial.values[1] if trial.values and len(trial.values) == 2 else None


def front(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that no other outdoes at the same or a lower cost, the cheapest first.

    Of several with the same objective and cost, the first; none in a search without a cost.
    """
    weighed = [trial for trial in trials if cost(trial) is not None]
    found: list[FrozenTrial] = []
    for trial in sorted(weighed, key=lambda t: (t.values[1], -t.values[0], t.number)):
        if not found or trial.values[0] > found[-1].values[0]:
            found.append(trial)
    return found
