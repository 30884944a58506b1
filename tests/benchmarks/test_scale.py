from __future__ import annotations

import pytest

from benchmarks.scale import Costs, utilisation


def costs(proposal: float) -> Costs:
    return Costs(proposal=[proposal], report=[0.0], end=[0.0])


def test_a_driver_that_takes_no_time_keeps_every_worker_busy() -> None:
    assert utilisation(costs(0.0), 16, 30.0, ray_seconds=0.0) == 1.0


def test_a_worker_alone_waits_for_each_proposal() -> None:
    share = utilisation(costs(2.0), 1, 30.0, ray_seconds=1.0)
    assert share == pytest.approx(30.0 / 33.0, abs=0.02)


def test_a_full_driver_starts_a_trial_for_each_of_its_times() -> None:
    share = utilisation(costs(0.2), 600, 30.0, ray_seconds=0.1)
    assert share == pytest.approx(30.0 / 0.3 / 600, abs=0.02)


def test_reports_take_time_of_the_driver_too() -> None:
    busy = Costs(proposal=[0.0], report=[0.1], end=[0.0])  # a second for the ten of a trial
    share = utilisation(busy, 60, 30.0, ray_seconds=0.0)
    assert share == pytest.approx(30.0 / 1.0 / 60, abs=0.05)
