from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.curves import Curve
from benchmarks.scheduler import facts, over_curves, trained_alike, values_apart
from tuning.algorithms.rules import NoRule, SuccessiveHalving


def curve(number: int, objective: list[float]) -> Curve:
    return Curve(0, number, {"x": number}, objective, [10.0] + [1.0] * (len(objective) - 1))


CURVES = [curve(0, [0.1, 0.1, 0.5, 0.5]), curve(1, [0.2, 0.3, 0.3, 0.3]), curve(2, [0.1, 0.2])]


def test_no_curve_is_stopped_without_a_scheduler() -> None:
    ended = over_curves(NoRule(), CURVES)
    assert sorted((end.number, end.epochs, end.to_its_end) for end in ended) == [
        (0, 4, True),
        (1, 4, True),
        (2, 2, True),
    ]


def test_savings_are_relative_to_no_scheduler() -> None:
    # Two workers: 0 and 1 come to the first rung together, 1 above 0; 2 is below the better half.
    none = over_curves(NoRule(), CURVES)
    asha = over_curves(SuccessiveHalving(max_epochs=4, grace=1, reduction=2.0), CURVES)
    savings = facts(asha, none)
    assert savings["epochs"] == 4 + 4 + 1
    assert savings["time_saved"] == pytest.approx(1.0 - 36.0 / 37.0)
    assert savings["kept_best"]
    later = over_curves(SuccessiveHalving(max_epochs=4, grace=1, reduction=2.0), CURVES[::-1])
    assert facts(later, none)["to_their_end"] <= 3


def test_only_trials_of_both_searches_are_compared() -> None:
    other = replace(CURVES[1], params={"x": 7})
    shorter = replace(CURVES[0], objective=[0.35, 0.1])
    alike = trained_alike({"none": CURVES, "asha": [shorter, other, CURVES[2]]})
    assert [curve.number for curve in alike["asha"]] == [0, 2]
    assert values_apart(alike["none"], alike["asha"]) == pytest.approx(0.25)
