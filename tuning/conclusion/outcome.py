"""Outcome of a search: its trials, the tested ones among them, and the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from quantum_rerank.evaluation import Scores
from tuning.conclusion.race import Confirmed
from tuning.conclusion.selection import Selection
from tuning.conclusion.targets import BestTrialMeasures
from tuning.conclusion.trained_trial import TrainedTrial
from tuning.records import StopReason
from tuning.space import Space
from tuning.study.warm_start import TakenOver


@dataclass(frozen=True)
class Tested:
    """Trial with its scores on test queries.

    Attributes:
        trial: Trial that was scored.
        scores: Role of test queries -> scores.
    """

    trial: TrainedTrial
    scores: Mapping[str, Scores]


@dataclass(frozen=True)
class Outcome:
    """Outcome of a search.

    Attributes:
        space: Space that was searched.
        trials: Trials of the search itself.
        confirmed: Best trials by validation on fresh seeds, best first.
        tested: The same trials with their scores on test queries.
        default: Trial of the base configuration, if the space starts with it.
        baselines: Name -> role -> scores; the cosine is always among them.
        stopped: Reason for which the search ended early; None if it did not.
        taken_over: Results of earlier runs that the search started with.
        notes: Sentences for the user.
        measures: Measurements of the best trial; None where there is none.
        selection: Comparison of the leader with the reference; None where the reference leads.
    """

    space: Space
    trials: list[FrozenTrial]
    confirmed: list[Confirmed]
    tested: list[Tested]
    default: Tested | None
    baselines: Mapping[str, Mapping[str, Scores]]
    stopped: StopReason | None = None
    taken_over: Sequence[TakenOver] = ()
    notes: list[str] = field(default_factory=list)
    measures: BestTrialMeasures | None = None
    selection: Selection | None = None
