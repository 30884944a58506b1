"""What happens in a search, told to whoever listens: the display, W&B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from quantum_rerank.config import ExperimentConfig

TrialState = Literal["complete", "pruned", "failed"]

# Keys of a trial's report to Ray, and of what is kept beside a trial in the study.
EPOCH, OBJECTIVE, FINAL = "epoch", "objective", "final"
EPOCH_OBJECTIVE = "epoch_objective"  # of the weights as they are; `objective` is of the best so far
FAILURE, PEAK_RSS_MB, SECONDS = "failure", "peak_rss_mb", "seconds"
COST = "cost"  # what `objective.cost` names, in a trial's last report
TRAINING_SECONDS = "training_seconds"  # of `seconds`, without reports and checkpoints
CHECKPOINT = "best_epoch"  # whose weights are kept
RESTARTED = "started_over"  # why a clone did not start from its donor's weights
UNSCHEDULED_EPOCH = (
    "unjudged_epoch"  # at which a trial was stopped; by the scheduler only if it is pruned
)
WARNING = "warning"  # what is wrong with a training, though not so that it would end

# First words of a failure's reason that are not the configuration's fault.
INTERRUPTED, WORKER_LOST = "interrupted", "worker lost"
STORAGE = "storage"  # a trial's files could not be written
CUT_SHORT = (INTERRUPTED, WORKER_LOST, STORAGE)

# Keys of what Ray hands to a trial beside its parameters.
NUMBER = "trial.number"
ORIGIN = "trial.origin"  # the first attempt at this configuration; its seed follows from it
EARLIER = "trial.earlier"  # attempts that were cut short, the latest first
PROTECTED = "trial.protected"  # never stopped by the scheduler
DONOR = "trial.donor"  # configuration and epoch whose weights a clone starts from; else None
SPENT = "trial.spent"  # seconds that it took before it let others go first
METADATA_KEYS = (NUMBER, ORIGIN, EARLIER, PROTECTED, DONOR, SPENT)


def comparison_value(metrics: Mapping[str, Any], is_population: bool) -> float:
    """What of a report trials are compared by: the best so far, of which a bundle is made.

    Members of a population by what they are now, for that is what is cloned.
    """
    best = float(metrics[OBJECTIVE])
    return float(metrics.get(EPOCH_OBJECTIVE, best)) if is_population else best


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended.

    reason: why it failed, such as `oom: 8.10 GB used, budget 8 GB`; else empty.
    """

    number: int
    state: TrialState
    epoch: int
    objective: float | None
    reason: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_cut_short(self) -> bool:
        """Whether it failed for a reason that is not its configuration's."""
        return self.reason.startswith(CUT_SHORT)


class Listener(Protocol):
    """Someone who follows a search."""

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """A trial was proposed, with its whole configuration."""

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """A trial ended an epoch."""

    def trial_ended(self, end: TrialEnd) -> None:
        """A trial was told to the study."""


class Listeners:
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        for listener in self._listeners:
            listener.trial_started(number, config)

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            listener.trial_reported(number, epoch, metrics)

    def trial_ended(self, end: TrialEnd) -> None:
        for listener in self._listeners:
            listener.trial_ended(end)
