"""Race of the best trials over divisions of the queries into train and validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from quantum_rerank.training.trial_data import TrialData
from tuning.conclusion.trained_trial import TrainedTrial

LEAST_SPREAD = 0.003 * math.sqrt(2.0)
"""Least standard deviation of a difference: 0.003 is that of an objective over seeds."""


@dataclass(frozen=True)
class Confirmed:
    """Validation objectives of a trial's configuration on fresh seeds.

    Attributes:
        trial: Trial that was trained again.
        objectives: Objective on each seed; empty where one of them was not trained.
        cosine: Objective of the cosine on the validation queries of each seed.
    """

    trial: TrainedTrial
    objectives: tuple[float, ...]
    cosine: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """Mean over seeds; the trial's own objective where there are none."""
        return fmean(self.objectives) if self.objectives else self.trial.validation.objective

    @property
    def spread(self) -> float:
        """Standard deviation over seeds, 0 where there are fewer than two."""
        return stdev(self.objectives) if len(self.objectives) > 1 else 0.0

    @property
    def gains(self) -> tuple[float, ...]:
        """Objective minus that of the cosine, on each seed."""
        pairs = zip(self.objectives, self.cosine, strict=False)  # either may be missing
        return tuple(ours - theirs for ours, theirs in pairs)


@dataclass(frozen=True)
class Race:
    """Rule that ends the race for a trial.

    Attributes:
        ratio: Number of validation queries for each training query.
        reference: Number of the trial that others must beat; None for none.
        query_error: Returns the standard error of the difference of two trials over validation
            queries, the least standard deviation of a difference to the reference.
    """

    ratio: float
    reference: int | None = None
    query_error: Callable[[TrainedTrial, TrainedTrial], float] = lambda _, __: LEAST_SPREAD

    def still_in(self, confirmed: Sequence[Confirmed], n_all: int) -> list[Confirmed]:
        """Return the trials that may still win.

        A trial is out if it is clearly behind the leader, by more than two standard errors of the
        paired difference, or if it has no hope of a lead over the reference that is larger than
        its error. The standard deviation of a difference is at least 0.0042, that of two trainings
        whose objectives spread by 0.003 over seeds.

        Args:
            confirmed: Trials with the same number of seeds, the best mean first.
            n_all: Number of seeds in the end.

        >>> close, behind = (0.50, 0.51, 0.50), (0.40, 0.41, 0.40)
        >>> trial: Any = None
        >>> len(Race(1 / 3).still_in([Confirmed(trial, close), Confirmed(trial, behind)], 5))
        1
        """
        measured = [trial for trial in confirmed if trial.objectives]
        references = [one for one in measured if self._is_reference(one)]
        return [
            trial
            for trial in measured
            if not self._is_behind(trial, measured[0])
            and not any(self._is_hopeless(trial, reference, n_all) for reference in references)
        ]

    def _is_reference(self, trial: Confirmed) -> bool:
        """Return whether a trial is the reference."""
        return self.reference is not None and trial.trial.number == self.reference

    def _is_behind(self, trial: Confirmed, leader: Confirmed) -> bool:
        differences = paired(leader, trial)
        error = error_of_mean(differences, self.ratio, self._least(trial, leader))
        return fmean(differences) > 2.0 * error

    def _is_hopeless(self, trial: Confirmed, reference: Confirmed, n_all: int) -> bool:
        if trial is reference:
            return False
        least = self._least(reference, trial)
        return is_hopeless(paired(trial, reference), n_all, self.ratio, least)

    def _least(self, trial: Confirmed, other: Confirmed) -> float:
        """Return the least standard deviation of a difference, larger for the reference's."""
        if trial is not other and self._is_reference(trial):
            return self.query_error(trial.trial, other.trial)
        return LEAST_SPREAD


def paired(left: Confirmed, right: Confirmed) -> list[float]:
    """Return the differences of two trials on the seeds that both were trained on."""
    pairs = zip(left.objectives, right.objectives, strict=False)  # a race ends for some earlier
    return [ours - theirs for ours, theirs in pairs]


def error_of_mean(differences: Sequence[float], ratio: float, least: float) -> float:
    """Return the standard error of a mean difference over divisions into train and validation.

    Divisions share most of their training queries, so the differences are not independent. The
    variance of the mean is corrected by 1/n + ratio instead of 1/n (Nadeau and Bengio, Machine
    Learning 52, 2003).

    Args:
        differences: Differences of two trials, one for each division.
        ratio: Number of validation queries for each training query.
        least: Smallest standard deviation of the differences: a few may agree by chance.

    >>> round(error_of_mean([0.01, 0.03], 1 / 3, 0.001), 4)
    0.0129
    """
    spread = stdev(differences) if len(differences) > 1 else 0.0
    return max(spread, least) * math.sqrt(1.0 / len(differences) + ratio)


def is_hopeless(differences: Sequence[float], n_all: int, ratio: float, least: float) -> bool:
    """Return whether further divisions are unlikely to make a lead larger than its error.

    The mean over all divisions is expected where it is now, with a standard deviation of
    sd * sqrt(1/n - 1/n_all). Unlikely is more than one of these away, a probability below 16 %.

    Args:
        differences: Differences so far.
        n_all: Number of divisions in the end.
        ratio: Number of validation queries for each training query.
        least: Smallest standard deviation of the differences.

    >>> is_hopeless([-0.003, -0.001], 5, 1 / 3, 0.01), is_hopeless([0.01, 0.02], 5, 1 / 3, 0.01)
    (True, False)
    """
    n = len(differences)
    spread = max(stdev(differences) if n > 1 else 0.0, least)
    highest = fmean(differences) + spread * math.sqrt(max(1.0 / n - 1.0 / n_all, 0.0))
    return highest <= spread * math.sqrt(1.0 / n_all + ratio)


def validation_ratio(data: TrialData) -> float:
    """Return the number of validation queries for each training query, domains of both."""
    n_validation = sum(len(queries.query_ids) for queries in data.validation_in_domain)
    return n_validation / sum(len(queries.query_ids) for queries in data.train)
