"""The outcome of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quantum_rerank.evaluation import Scores
from tuning.conclusion.confirmation import Confirmed
from tuning.conclusion.targets import Judged
from tuning.conclusion.trained_trial import TrainedTrial
from tuning.space import Space
from tuning.study.warm_start import TakenOver

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Tested:
    """A trial and what it scored on test queries, once."""

    trial: TrainedTrial
    scores: Mapping[str, Scores]


@dataclass(frozen=True)
class Outcome:
    """What a search came to.

    trials: those of the search itself.
    confirmed: the best trials by validation on fresh seeds, best first.
    tested: the same on test.
    default: the trial of the base configuration, if the space starts with it and it was kept.
    baselines: name -> role -> scores; cosine is always among them.
    ended: why the search ended early; empty if it did not.
    judged: what the targets ask of the best trial; None where there is none.
    """

    space: Space
    trials: list[optuna.trial.FrozenTrial]
    confirmed: list[Confirmed]
    tested: list[Tested]
    default: Tested | None
    baselines: Mapping[str, Mapping[str, Scores]]
    ended: str = ""
    taken_over: Sequence[TakenOver] = ()
    notes: list[str] = field(default_factory=list)
    judged: Judged | None = None
