from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from quantum_rerank.config import ExperimentConfig
from tests.tuning.reasons import failure
from tuning.records import Listener, Listeners, TrialEnd, TrialOutcome


@dataclass
class Heard(Listener):
    """A listener that writes down what it hears."""

    events: list[tuple[Any, ...]] = field(default_factory=list)

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        self.events.append(("started", number, config))

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        self.events.append(("reported", number, epoch, metrics))

    def trial_ended(self, end: TrialEnd) -> None:
        self.events.append(("ended", end))


@pytest.mark.parametrize("n_listeners", [0, 1, 3])
def test_several_listeners_hear_the_same_in_order(n_listeners: int) -> None:
    heard = [Heard() for _ in range(n_listeners)]
    config, end = (
        ExperimentConfig(),
        TrialEnd(4, TrialOutcome.FAILED, 1, None, failure("worker lost: it died")),
    )
    listeners = Listeners(heard)
    listeners.trial_started(4, config)
    listeners.trial_reported(4, 1, {"objective": 0.5})
    listeners.trial_ended(end)
    expected = [("started", 4, config), ("reported", 4, 1, {"objective": 0.5}), ("ended", end)]
    assert [one.events for one in heard] == [expected] * n_listeners


def test_a_trial_that_did_not_fail_has_no_reason() -> None:
    assert TrialEnd(0, TrialOutcome.COMPLETE, 3, 0.5).failure is None
