from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.curves import SPACE, Curve, read_curves, write_curves
from benchmarks.surrogate import Surrogate, features, measured_noise, padded
from quantum_rerank.config import ExperimentConfig
from tuning.space import Budget, CategoricalParameter, FloatParameter, Header, Space
from tuning.space.file import load_space

EPOCHS = 15
SPACE_OF_TWO = Space(
    Header(name="two", base="", budget=Budget(trials=1, epochs=EPOCHS)),
    ExperimentConfig(),
    {
        "loss.name": CategoricalParameter(type="categorical", choices=["triplet", "infonce"]),
        "loss.margin": FloatParameter(
            type="float", low=0.1, high=0.9, when={"loss.name": ["triplet"]}
        ),
        "optimizer.mlp_lr": FloatParameter(type="float", low=1e-4, high=1e-2, log=True),
    },
)


def curve(number: int, rng: np.random.Generator) -> Curve:
    """A training that ends the higher, the nearer its learning rate is to 0.001."""
    exponent = float(rng.uniform(-4.0, -2.0))
    params = {"loss.name": "infonce", "optimizer.mlp_lr": 10**exponent}
    last = 0.5 - 0.1 * abs(exponent + 3.0)
    values = [last * (1.0 - 0.5**epoch) for epoch in range(1, EPOCHS + 1)]
    return Curve(0, number, params, values, [10.0, *[1.0] * (EPOCHS - 1)])


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    rng = np.random.default_rng(0)
    return Surrogate(SPACE_OF_TWO, [curve(k, rng) for k in range(40)], noise=0.01, trees=20)


def with_rate(rate: float) -> dict[str, object]:
    return {"loss.name": "infonce", "optimizer.mlp_lr": rate}


def test_the_surrogate_finds_the_decisive_parameter(surrogate: Surrogate) -> None:
    assert surrogate.fit.r2 > 0.8
    assert surrogate.mean(with_rate(1e-3))[-1] > surrogate.mean(with_rate(1e-2))[-1]


def test_a_curve_never_falls(surrogate: Surrogate) -> None:
    for seed in range(5):
        assert np.all(np.diff(surrogate.training(with_rate(1e-3), seed).objective) >= 0.0)
    assert np.all(np.diff(surrogate.mean(with_rate(1e-3))) >= 0.0)


def test_a_curve_depends_on_configuration_and_seed_only(surrogate: Surrogate) -> None:
    training = surrogate.training(with_rate(1e-3), 0)
    assert surrogate.training(with_rate(1e-3), 0) == training
    assert any(surrogate.training(with_rate(1e-3), seed) != training for seed in range(1, 4))


def test_a_training_stops_early_without_improvement(surrogate: Surrogate) -> None:
    base = SPACE_OF_TWO.base
    impatient = base.training.model_copy(update={"early_stopping_patience": 2})
    space = replace(SPACE_OF_TWO, base=base.model_copy(update={"training": impatient}))
    rng = np.random.default_rng(0)
    still = Surrogate(space, [curve(k, rng) for k in range(10)], noise=0.0, trees=5)
    training = still.training(with_rate(1e-3), 0)
    # Half as much is gained in each epoch: 0.0005 in the tenth, below the 0.001 that count.
    assert len(training.objective) < EPOCHS
    assert training.objective == still.mean(with_rate(1e-3))[: len(training.objective)].tolist()
    assert training.seconds == pytest.approx([10.0] + [1.0] * (len(training.objective) - 1))


def test_means_of_many_equal_the_mean_of_each(surrogate: Surrogate) -> None:
    rates = [with_rate(1e-3), with_rate(5e-3)]
    each = [surrogate.mean(params)[-1] for params in rates]
    assert surrogate.means(rates) == pytest.approx(each, abs=1e-6)


def test_an_inactive_parameter_has_a_value_outside_the_range() -> None:
    assert features(SPACE_OF_TWO, with_rate(1e-3)) == pytest.approx([0.0, 1.0, -1.0, 0.5])


def test_a_short_curve_is_padded_with_its_last_value() -> None:
    short = Curve(0, 0, {}, [0.1, 0.2], [1.0, 1.0])
    assert padded([short], 4).tolist() == [[0.1, 0.2, 0.2, 0.2]]


def test_noise_is_the_standard_deviation_within_configurations() -> None:
    def ended_at(value: float, rate: float) -> Curve:
        return Curve(0, 0, with_rate(rate), [value], [1.0])

    # Two trainings that differ by 0.2 have a variance of 0.02; the third says nothing of noise.
    curves = [ended_at(0.3, 1e-3), ended_at(0.5, 1e-3), ended_at(0.9, 1e-2)]
    assert measured_noise(curves) == pytest.approx(0.02**0.5)
    assert measured_noise(curves[1:]) is None


def test_curves_are_read_as_they_were_written(tmp_path: Path) -> None:
    curves = [curve(k, np.random.default_rng(k)) for k in range(3)]
    write_curves(tmp_path / "curves.json", curves)
    assert read_curves(tmp_path / "curves.json") == curves


def test_the_recorded_curves_fit_the_default_space() -> None:
    space = load_space(SPACE, {})
    for curve_ in read_curves():
        assert space.active(curve_.params) == curve_.params
        assert all(space.parameters[name].admits(value) for name, value in curve_.params.items())
        assert len(curve_.objective) == len(curve_.seconds) <= space.header.budget.epochs
