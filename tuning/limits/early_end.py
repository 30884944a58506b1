"""Rule after which a search proposes no further trial: little may still be gained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from quantum_rerank.plural import counted
from tuning.space import SamplerConfig, Space
from tuning.study import attributes
from tuning.study.ranking import first_start_point
from tuning.study.trials import highest
from tuning.study.view import StudyView

_STEPS = 20  # the search is judged again after a twentieth more trials
_LEAST = 16  # proposals: the halves of fewer say too little


@dataclass(frozen=True)
class LittleToGain:
    """Finding that further trials may gain less than the error of a comparison.

    Attributes:
        n: Number of finished trials.
        n_left: Number of trials that the budget leaves.
        gain: What these are expected to add to the best objective at most.
        standard_error: Standard error of the difference of two trials on validation.
    """

    n: int
    n_left: int
    gain: float
    standard_error: float

    def __str__(self) -> str:
        """Return the finding in words.

        >>> print(LittleToGain(20, 80, 0.0012, 0.009))
        No further trial was proposed after 20 of 100: the other 80 trials are expected to add \
less than +0.0012 on validation, and two trials can only be told apart by 0.0090. To run them all \
the same, resume the search with `--trials 100`, or set `budget.early_end: false`.
        """
        n_all = self.n + self.n_left
        return (
            f"No further trial was proposed after {self.n} of {n_all}: the other "
            f"{counted(self.n_left, 'trial')} are expected to add less than {self.gain:+.4f} on "
            f"validation, and two trials can only be told apart by {self.standard_error:.4f}. To "
            f"run them all the same, resume the search with `--trials {n_all}`, or set "
            "`budget.early_end: false`."
        )


class EarlyEnd:
    """Rule that ends a search early (Makarova et al., AutoML 2022, with another bound).

    Their bound is that of a Gaussian process; here it is the gain of the last doubling of the
    proposals, which needs no model and holds for parameters with conditions.

    Args:
        space: Space of the search.
        standard_error: Returns the standard error of the difference of two trials on validation,
            None where it cannot be measured.
    """

    def __init__(
        self, space: Space, standard_error: Callable[[FrozenTrial, FrozenTrial], float | None]
    ) -> None:
        header = space.header
        self._budget = header.budget
        self._least = least_proposals(header.sampler)
        self._is_used = header.budget.early_end and not (
            header.objective.cost or space.is_population or header.sampler.name == "grid"
        )
        self._standard_error = standard_error
        self._found: LittleToGain | None = None
        self._judged_at = (0, 0)
        self._errors: dict[tuple[int, int], float | None] = {}

    def __call__(self, study: StudyView) -> LittleToGain | None:
        """Return why no further trial should be proposed; None while one should.

        Args:
            study: Study of the search as it is now.
        """
        if not self._is_used:
            return None
        n_finished = len(study.finished())
        step = max(n_finished // _STEPS, 1)
        moment = step, n_finished // step
        if moment != self._judged_at:  # asked at every turn of Ray's loop
            self._judged_at = moment
            self._found = self._judge(study, n_finished)
        return self._found

    def _judge(self, study: StudyView, n_finished: int) -> LittleToGain | None:
        n_left = self._budget.trials - n_finished
        ranked = StudyView(study.finished()).ranked()
        values, pair = proposed_values(ranked), leader_and_other(ranked)
        if n_left <= 0 or len(values) < self._least or pair is None:
            return None
        numbers = pair[0].number, pair[1].number
        if numbers not in self._errors:
            self._errors[numbers] = self._standard_error(*pair)
        error, gain = self._errors[numbers], expected_gain(values, n_left)
        if error is None or gain >= error:
            return None
        return LittleToGain(n_finished, n_left, gain, error)


def least_proposals(sampler: SamplerConfig) -> int:
    """Return the number of proposals before which a search does not end early.

    >>> least_proposals(SamplerConfig(startup_trials=20))
    40
    """
    return max(_LEAST, 2 * sampler.startup_trials)


def proposed_values(trials: Iterable[FrozenTrial]) -> list[float]:
    """Return the best objective of each trial that a sampler has proposed."""
    proposed = (trial for trial in trials if attributes.start_point(trial) is None)
    return [value for trial in proposed if (value := highest(trial)) is not None]


def leader_and_other(ranked: Sequence[FrozenTrial]) -> tuple[FrozenTrial, FrozenTrial] | None:
    """Return the best trial and the one it is compared with; None where there are no two.

    That one is the first start point or, where this leads itself or is missing, the second best.

    Args:
        ranked: Trials, the best first.
    """
    if len(ranked) < 2:
        return None
    reference = first_start_point(ranked)
    return ranked[0], ranked[1] if reference in (None, ranked[0]) else reference


def expected_gain(values: Sequence[float], n_left: int) -> float:
    """Return what further proposals are expected to add at most.

    The best of n random values rises by less with each doubling of n, so every doubling still to
    come counts as much as the last one.

    Args:
        values: Objectives of the proposals so far, two at least.
        n_left: Number of further proposals.

    >>> expected_gain([0.5, 0.52, 0.51, 0.51], 4) < expected_gain([0.5, 0.52, 0.51, 0.51], 12)
    True
    """
    n = len(values)
    last = max(values) - expected_best(values, n // 2)
    return last * math.log2((n + n_left) / n)


def expected_best(values: Sequence[float], n: int) -> float:
    """Return the mean over all choices of `n` values of the largest one.

    >>> expected_best([1.0, 2.0, 3.0], 2), expected_best([1.0, 2.0, 3.0], 3)
    (2.6666666666666665, 3.0)
    """
    ways = math.comb(len(values), n)
    ordered = enumerate(sorted(values))
    return sum(value * math.comb(below, n - 1) / ways for below, value in ordered)
