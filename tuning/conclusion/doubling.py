"""Bound on the gain of twice the budget, by the gain of the second half of this one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from tuning.limits.early_end import expected_best, proposed_values
from tuning.study import attributes
from tuning.study.trials import highest
from tuning.study.view import StudyView

_LEAST = 4  # proposals: two halves of fewer say nothing


@dataclass(frozen=True)
class Doubling:
    """Best validation objective by the number of proposals.

    Attributes:
        n: Number of proposals.
        half: Best objective with half of them, the mean over all choices of a half.
        whole: Best objective with all of them.
    """

    n: int
    half: float
    whole: float

    def __str__(self) -> str:
        """Return the comparison in words.

        >>> print(Doubling(20, 0.51, 0.5125))
        Half of the 20 proposals would have reached 0.5100 on validation, all of them 0.5125: \
twice as many are expected to add less than +0.0025.
        """
        gain = self.whole - self.half
        return (
            f"Half of the {self.n} proposals would have reached {self.half:.4f} on validation, all "
            f"of them {self.whole:.4f}: twice as many are expected to add less than {gain:+.4f}."
        )


def doubling(trials: Sequence[FrozenTrial]) -> Doubling | None:
    """Return what the second half of the proposals brought; None for fewer than four.

    The best of random draws rises by less with each doubling. Start points count in both halves.

    Args:
        trials: Finished trials of a search.
    """
    ranked = StudyView(trials).ranked()
    proposed = proposed_values(ranked)
    if len(proposed) < _LEAST:
        return None
    start = (highest(trial) for trial in ranked if attributes.start_point(trial) is not None)
    known = max((value for value in start if value is not None), default=-math.inf)
    at_least = [max(known, value) for value in proposed]
    return Doubling(len(proposed), expected_best(at_least, len(proposed) // 2), max(at_least))
