"""Sampler that draws near parameters which are known to be good.

Each trial comes from one of four sources: near a known point, near the best trial so far, from a
tree-structured Parzen estimator, or uniformly from the space. A source is drawn in proportion to
the share of its trials that ended among the best third. So a wrong prior loses its weight, and a
good one saves the random trials that other samplers begin with. The mixture follows PriorBand
(Mallik et al., arXiv:2306.12370), which weighs prior and incumbent by their likelihoods instead.

The module needs Optuna alone; the state is in the study, so a new sampler continues an old one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

SOURCE = "proposed_from"
"""User attribute of a trial: the source that it was drawn from."""

PRIOR, INCUMBENT, MODEL, UNIFORM = "prior", "incumbent", "model", "uniform"

_BEST_SHARE = 1 / 3  # of the finished trials count as won
# Wins and draws that a source begins with: shares of 1/2, 1/4, 1/4 and 1/8 of trials won.
_FIRST, _DRAWN = {PRIOR: 2.0, INCUMBENT: 1.0, MODEL: 1.0, UNIFORM: 0.5}, 4.0


@dataclass(frozen=True)
class Point:
    """Parameters that are known to be good, with spreads of their own.

    Attributes:
        params: Name -> value.
        widths: Name of a number -> its `width`, see `PriorSampler`.
        keeps: Name of a choice -> its `keep`.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    widths: Mapping[str, float] = field(default_factory=dict)
    keeps: Mapping[str, float] = field(default_factory=dict)


class PriorSampler(BaseSampler):
    """Sampler that mixes draws near known points with draws near the best trial, TPE and random.

    Args:
        points: Parameters that are known to be good, or `Point` with spreads of its own. A point
            may leave parameters out, as one of a space with conditions does.
        seed: Seed of the draws.
        startup_trials: Finished trials before the estimator is one of the sources.
        width: Standard deviation of a number around that of a point, as a share of its range, or
            of the range of its logarithm.
        keep: Probability that a choice is that of the point.

    Raises:
        ValueError: The width is not positive, or the probability is not between 0 and 1.
    """

    def __init__(
        self,
        points: Sequence[Mapping[str, Any] | Point],
        *,
        seed: int | None = None,
        startup_trials: int = 8,
        width: float = 0.2,
        keep: float = 0.7,
    ) -> None:
        if not 0.0 < width < math.inf:
            raise ValueError(f"width is {width}, but must be positive.")
        if not 0.0 <= keep <= 1.0:
            raise ValueError(f"keep is {keep}, but must be between 0 and 1.")
        self._points = [p if isinstance(p, Point) else Point(dict(p)) for p in points]
        self._startup, self._width, self._keep = startup_trials, width, keep
        self._rng = np.random.default_rng(seed)
        self._random = RandomSampler(seed=seed)
        self._model = TPESampler(seed=seed, n_startup_trials=0, constant_liar=True)

    def reseed_rng(self) -> None:
        """Draw new seeds, as a process that shares a study with others needs them."""
        self._rng = np.random.default_rng()
        self._random.reseed_rng()
        self._model.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Draw the source of a trial; a trial whose parameters were given has none."""
        if trial.system_attrs.get("fixed_params"):  # its source may be that of an earlier attempt
            return
        sources = list(self._weights(study).items())
        weights = np.array([weight for _, weight in sources])
        index = self._rng.choice(len(sources), p=weights / weights.sum())
        source = sources[index][0]
        if source == PRIOR:
            source = f"{PRIOR}:{self._rng.integers(len(self._points))}"
        study._storage.set_trial_user_attr(trial._trial_id, SOURCE, source)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the space of the estimator for its trials, and no parameter for any other."""
        if _kind(study, trial) != MODEL:
            return {}
        return self._model.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw the parameters of a trial that comes from the estimator."""
        if not search_space:
            return {}
        return self._model.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one parameter from the trial's source."""
        source = _source(study, trial)
        if source == MODEL:
            return self._model.sample_independent(study, trial, param_name, param_distribution)
        center = self._center(study, source)
        if param_name in center.params:
            return draw_near(
                center.params[param_name],
                param_distribution,
                self._rng,
                width=center.widths.get(param_name, self._width),
                keep=center.keeps.get(param_name, self._keep),
            )
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Let the estimator note what it keeps of a trial."""
        self._model.after_trial(study, trial, state, values)

    def _weights(self, study: Study) -> dict[str, float]:
        """Return the weight of each source that can be drawn from."""
        ranked = _ranked(study)
        sources = [UNIFORM]
        if self._points:
            sources.append(PRIOR)
        if ranked:
            sources.append(INCUMBENT)
        if len(_finished(study)) >= max(self._startup, 1):
            sources.append(MODEL)
        drawn = Counter(_kind(study, trial) for trial in ranked)
        best = ranked[: max(round(_BEST_SHARE * len(ranked)), 1)] if len(ranked) > 1 else []
        won = Counter(_kind(study, trial) for trial in best)
        return {
            source: (won[source] + _FIRST[source]) / (drawn[source] + _DRAWN) for source in sources
        }

    def _center(self, study: Study, source: str) -> Point:
        """Return the point that a trial is drawn around; empty for a uniform draw."""
        if source == INCUMBENT:
            return next((Point(trial.params) for trial in _ranked(study)), Point())
        kind, _, index = source.partition(":")
        is_point = kind == PRIOR and int(index or 0) < len(self._points)
        return self._points[int(index or 0)] if is_point else Point()


def draw_near(
    value: Any,
    distribution: BaseDistribution,
    rng: np.random.Generator,
    width: float,
    keep: float,
) -> Any:
    """Draw a value of a distribution near another one.

    Args:
        value: Value to be near to.
        distribution: Distribution of the parameter.
        rng: Source of randomness.
        width: Standard deviation of a number, as a share of its range, or of that of its logarithm.
        keep: Probability that a choice stays as it is.
    """
    if isinstance(distribution, CategoricalDistribution):
        if value in distribution.choices and rng.random() < keep:
            return value
        return distribution.choices[rng.integers(len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.single():
        return distribution.low
    low, high = _unit_bounds(distribution)
    center = min(max(_to_unit(float(value), distribution), low), high)
    drawn = _truncated_normal(center, width * (high - low), low, high, rng)
    return _from_unit(drawn, distribution)


def _ranked(study: Study) -> list[FrozenTrial]:
    """Return the finished trials with a value, best first; none in a study of two objectives."""
    if len(study.directions) > 1:
        return []
    sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
    trials = [(value, trial) for trial in _finished(study) if (value := _value(trial)) is not None]
    return [trial for _, trial in sorted(trials, key=lambda pair: (sign * pair[0], pair[1].number))]


def _finished(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _value(trial: FrozenTrial) -> float | None:
    """Return the value of a trial; of a stopped one, that of its last epoch."""
    value = trial.value if trial.state == TrialState.COMPLETE else None
    if value is None and trial.last_step is not None:
        value = trial.intermediate_values[trial.last_step]
    return value if value is not None and math.isfinite(value) else None


def _source(study: Study, trial: FrozenTrial) -> str:
    attributes = study._storage.get_trial_user_attrs(trial._trial_id)
    return str(attributes.get(SOURCE, ""))


def _kind(study: Study, trial: FrozenTrial) -> str:
    """Return the source of a trial, without the number of the point."""
    is_known = trial.state.is_finished()  # else the source was written after it was read
    source = str(trial.user_attrs.get(SOURCE, "")) if is_known else _source(study, trial)
    return source.partition(":")[0]


def _unit_bounds(distribution: FloatDistribution | IntDistribution) -> tuple[float, float]:
    return _to_unit(distribution.low, distribution), _to_unit(distribution.high, distribution)


def _to_unit(value: float, distribution: FloatDistribution | IntDistribution) -> float:
    """Return a number on the scale that it is drawn on: its logarithm, or itself."""
    if not distribution.log:
        return value
    return math.log(max(value, distribution.low))


def _from_unit(value: float, distribution: FloatDistribution | IntDistribution) -> float | int:
    """Return a number of the distribution: within its range, and on its steps."""
    number = math.exp(value) if distribution.log else value
    if distribution.step is not None and not (
        distribution.log and isinstance(distribution, FloatDistribution)
    ):
        steps = round((number - distribution.low) / distribution.step)
        number = distribution.low + steps * distribution.step
    number = min(max(number, distribution.low), distribution.high)
    return round(number) if isinstance(distribution, IntDistribution) else float(number)


def _truncated_normal(
    center: float, deviation: float, low: float, high: float, rng: np.random.Generator
) -> float:
    """Draw from a normal distribution within bounds, by drawing again."""
    for _ in range(100):
        drawn = float(rng.normal(center, deviation))
        if low <= drawn <= high:
            return drawn
    return center
