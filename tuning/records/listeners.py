"""What happens in a search, told to whoever listens: the display, W&B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from quantum_rerank.config import ExperimentConfig
from tuning.records.states import CUT_SHORT, TrialState


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
