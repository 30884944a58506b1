from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase

from tuning.algorithms.prior import (
    INCUMBENT,
    MODEL,
    PRIOR,
    SOURCE,
    UNIFORM,
    Point,
    PriorSampler,
    draw_near,
)

POINT = {"x": 2.0, "n": 3, "log": 1e-3, "kind": "a"}


class TestConformance(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    """Optuna's own tests of a sampler."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: PriorSampler([{"x": 0.5, "y": 1}], seed=0, startup_trials=2)


def suggested(trial: optuna.Trial) -> dict[str, object]:
    return {
        "x": trial.suggest_float("x", 0.0, 10.0),
        "n": trial.suggest_int("n", 1, 9),
        "log": trial.suggest_float("log", 1e-5, 1e-1, log=True),
        "kind": trial.suggest_categorical("kind", ["a", "b", "c"]),
    }


def searched(
    objective: Callable[[dict[str, object]], float],
    sampler: Callable[[int], BaseSampler],
    n_trials: int,
) -> optuna.Study:
    """Run a search with a new sampler for each trial, as a session has it."""
    study = optuna.create_study(direction="maximize")
    for number in range(n_trials):
        study.sampler = sampler(number)
        trial = study.ask()
        study.tell(trial, objective(suggested(trial)))
    return study


def prior(number: int) -> BaseSampler:
    return PriorSampler([POINT], seed=number, startup_trials=8)


def sources(study: optuna.Study) -> Counter[str]:
    return Counter(t.user_attrs[SOURCE].partition(":")[0] for t in study.trials)


def near_point(params: dict[str, object]) -> float:
    """An objective whose best point is the prior's."""
    return -abs(float(str(params["x"])) - 2.0) - 3.0 * (params["kind"] != "a")


def far_from_point(params: dict[str, object]) -> float:
    """An objective whose best point is far from the prior's."""
    return -abs(float(str(params["x"])) - 9.0) - 3.0 * (params["kind"] == "a")


@pytest.mark.parametrize(
    ("distribution", "value"),
    [
        (FloatDistribution(0.0, 1.0), 0.9),
        (FloatDistribution(1e-5, 1e-1, log=True), 1e-3),
        (FloatDistribution(0.0, 1.0, step=0.1), 0.3),
        (IntDistribution(1, 64, log=True), 8),
        (IntDistribution(2, 12, step=2), 4),
        (FloatDistribution(0.0, 1.0), 7.0),
        (IntDistribution(1, 4), 0),
    ],
)
def test_draws_near_a_number_are_in_the_distribution_and_near(
    distribution: BaseDistribution, value: float
) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_near(value, distribution, rng, width=0.2, keep=0.7) for _ in range(500)]
    assert all(distribution._contains(distribution.to_internal_repr(one)) for one in drawn)
    uniform = RandomSampler(seed=0)
    study = optuna.create_study()
    trial = optuna.trial.create_trial(value=0.0)
    at_random = [uniform.sample_independent(study, trial, "x", distribution) for _ in range(500)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    center = min(max(value, distribution.low), distribution.high)
    assert np.mean(np.abs(np.array(drawn) - center)) < np.mean(np.abs(np.array(at_random) - center))


def test_a_choice_is_mostly_that_of_the_point() -> None:
    rng = np.random.default_rng(0)
    distribution = CategoricalDistribution(["a", "b", "c"])

    def draw(value: str) -> str:
        return str(draw_near(value, distribution, rng, width=0.2, keep=0.7))

    drawn = Counter(draw("b") for _ in range(1000))
    assert 0.75 < drawn["b"] / 1000 < 0.85  # 0.7, and a third of the rest
    assert min(drawn["a"], drawn["c"]) > 50
    assert set(drawn) == {"a", "b", "c"}
    assert draw("gone") in "abc"


def test_a_point_may_have_spreads_of_its_own() -> None:
    point = Point({"x": 2.0, "kind": "a"}, widths={"x": 0.001}, keeps={"kind": 1.0})
    xs, kinds = list[float](), set[str]()
    for seed in range(40):
        study = optuna.create_study(sampler=PriorSampler([point], seed=seed))
        trial = study.ask()
        x = trial.suggest_float("x", 0.0, 10.0)
        kind = trial.suggest_categorical("kind", ["a", "b", "c"])
        if study.trials[0].user_attrs[SOURCE] == "prior:0":
            xs.append(x)
            kinds.add(kind)
    assert len(xs) > 10
    assert max(abs(x - 2.0) for x in xs) < 0.05
    assert kinds == {"a"}


def test_the_first_trials_come_mostly_from_the_prior() -> None:
    first = Counter[str]()
    for seed in range(300):
        study = optuna.create_study(sampler=PriorSampler([POINT], seed=seed))
        study.ask()
        first += sources(study)
    assert set(first) == {PRIOR, UNIFORM}
    assert first[PRIOR] > 2 * first[UNIFORM]


def test_a_right_prior_finds_the_best_point_sooner_than_random_draws() -> None:
    ours, theirs = [], []
    for repeat in range(10):
        with_prior = searched(near_point, lambda n, r=repeat: prior(1000 * r + n), 10)
        at_random = searched(near_point, lambda n, r=repeat: RandomSampler(1000 * r + n), 10)
        ours.append(with_prior.best_value)
        theirs.append(at_random.best_value)
    assert np.mean(ours) > np.mean(theirs) + 0.1


def test_a_wrong_prior_loses_its_weight() -> None:
    late = Counter[str]()
    for repeat in range(5):
        study = searched(far_from_point, lambda n, r=repeat: prior(1000 * r + n), 60)
        late += Counter(t.user_attrs[SOURCE].partition(":")[0] for t in study.trials[40:])
        assert study.best_value > -1.0
    assert late[PRIOR] < late[INCUMBENT]
    assert late[PRIOR] < late[MODEL]
    assert late[PRIOR] < 0.25 * sum(late.values())


def test_the_estimator_joins_after_the_first_trials() -> None:
    study = searched(near_point, prior, 40)
    kinds = [trial.user_attrs[SOURCE] for trial in study.trials]
    assert MODEL not in kinds[:8]
    assert MODEL in kinds[8:]


def test_trials_of_one_seed_are_the_same() -> None:
    first, second = searched(near_point, prior, 20), searched(near_point, prior, 20)
    assert [t.params for t in first.trials] == [t.params for t in second.trials]


def test_a_trial_whose_parameters_are_given_has_no_source() -> None:
    study = optuna.create_study(sampler=PriorSampler([POINT], seed=0))
    study.enqueue_trial({"x": 1.0})
    trial = study.ask()
    assert suggested(trial)["x"] == 1.0
    assert SOURCE not in study.trials[0].user_attrs


def test_a_parameter_that_the_point_leaves_out_is_drawn_at_random() -> None:
    values = []
    for seed in range(100):
        study = optuna.create_study(sampler=PriorSampler([{"x": 2.0}], seed=seed))
        values.append(study.ask().suggest_float("y", 0.0, 1.0))
    assert np.std(values) > 0.2


def test_without_points_and_values_everything_is_uniform() -> None:
    study = optuna.create_study(sampler=PriorSampler([], seed=0))
    study.ask()
    assert sources(study) == {UNIFORM: 1}


def test_stopped_trials_count_with_their_last_value() -> None:
    study = optuna.create_study(direction="maximize", sampler=PriorSampler([], seed=3))
    for value in (0.1, 0.9):
        trial = study.ask()
        suggested(trial)
        trial.report(value, 1)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    center = study.sampler._center(study, INCUMBENT)  # type: ignore[attr-defined]
    assert center.params == study.trials[1].params


@pytest.mark.parametrize("bad", [{"width": 0.0}, {"width": -1.0}, {"keep": 1.5}, {"keep": -0.1}])
def test_a_width_or_probability_that_cannot_be_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        PriorSampler([POINT], **bad)  # type: ignore[arg-type]
