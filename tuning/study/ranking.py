"""Which trials are the best: by their objective, and beside a cost where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuning.records import CHECKPOINT
from tuning.study.history import superseded_ancestors

if TYPE_CHECKING:
    import optuna

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


def ranked_trials(trials: Sequence[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """Trials whose weights were kept, best first: the complete ones, then the others.

    A trial that was cut short is worth its best epoch, but ranks below every
    trial that had its whole budget. Where another continued it, that one counts,
    as soon as it has left weights itself.
    """
    with_weights = [trial for trial in trials if trial.user_attrs.get(CHECKPOINT)]
    continued = superseded_ancestors(trials, by=with_weights)
    kept = [trial for trial in with_weights if trial.number not in continued]

    return sorted(kept, key=ranking_key, reverse=True)
