"""A surrogate of training, fitted to recorded learning curves: from configuration to curve.

The mean curve of a configuration is predicted by a random forest (Breiman 2001). One forest
predicts all epochs, so that the curve never falls, like the best objective so far. The curve of a
trial is the mean plus the error curve of the forest on an unseen configuration, which is drawn by
configuration and seed and scaled to a standard deviation. It ends with the trainer's early
stopping.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GroupKFold

from benchmarks.curves import Curve
from benchmarks.simulation import Training
from quantum_rerank.training.early_stopping import EarlyStopping
from tuning.space import CategoricalParameter, Params, Space

Floats = NDArray[np.float64]
_ABSENT = -1.0  # an inactive parameter; active parameters are in [0, 1]
TREES, _FOLDS = 200, 10


@dataclass(frozen=True)
class Fit:
    """The quality of predictions for unseen configurations, in cross-validation.

    Attributes:
        r2: Of the values after the last epoch.
        rank_correlation: Of the values after the last epoch.
        n_configurations: The number of configurations, some of which have several curves.
        errors: (curves, epochs), recorded minus predicted values.
    """

    r2: float
    rank_correlation: float
    n_configurations: int
    errors: Floats


class Surrogate:
    """Simulated trainings of the configurations of a space.

    Args:
        space: The space.
        curves: The recorded curves.
        noise: The standard deviation of the final values of one configuration. Default: that of
            the errors of the forest on unseen configurations.
        trees: The number of trees.
    """

    def __init__(
        self,
        space: Space,
        curves: Sequence[Curve],
        noise: float | None = None,
        trees: int = TREES,
    ) -> None:
        self._space = space
        points = np.array([features(space, curve.params) for curve in curves])
        values = padded(curves, space.header.budget.epochs)
        self.fit = cross_validated(space, curves, trees)
        # The mean error is a bias of the forest, not the noise of a training.
        errors = self.fit.errors - self.fit.errors.mean(axis=0)
        deviation = float(errors[:, -1].std())
        self.noise = deviation if noise is None else noise
        self._errors = errors * (self.noise / deviation if deviation else 0.0)
        self._values = forest(points, values, trees)
        self._costs = forest(points, np.log([costs(curve) for curve in curves]), trees)
        self._cache: dict[str, tuple[Floats, Floats]] = {}

    def mean(self, params: Mapping[str, Any]) -> Floats:
        """Return the noise-free best validation objective so far, (epochs,)."""
        return self._predicted(params)[0]

    def means(self, many: Sequence[Params]) -> Floats:
        """Return the noise-free values after the last epoch, (configurations,)."""
        points = np.array([features(self._space, params) for params in many])
        return np.asarray(self._values.predict(points)[:, -1])

    def training(self, params: Mapping[str, Any], seed: int) -> Training:
        """Return the curve of one training, which ends at the last epoch or by early stopping."""
        mean, cost = self._predicted(params)
        rng = np.random.default_rng([seed, zlib.crc32(_text(params).encode())])
        noisy = mean + self._errors[rng.integers(len(self._errors))]
        values = np.maximum.accumulate(noisy).tolist()
        training = self._space.base.training
        stopping = EarlyStopping(training)
        # The best objective so far improves exactly when an epoch improves: the same end.
        n = next(
            (e for e, value in enumerate(values, 1) if stopping.should_stop(value)), len(values)
        )
        first, later = np.exp(cost).tolist()
        return Training(values[:n], [first] + [later] * (n - 1))

    def _predicted(self, params: Mapping[str, Any]) -> tuple[Floats, Floats]:
        key = _text(params)
        if key not in self._cache:
            point = np.array([features(self._space, params)])
            self._cache[key] = (_single(self._values, point), _single(self._costs, point))
        return self._cache[key]


def features(space: Space, params: Mapping[str, Any]) -> list[float]:
    """Return a configuration as numbers: choices one-hot, ranges scaled to [0, 1]."""
    row: list[float] = []
    for name, parameter in space.parameters.items():
        if isinstance(parameter, CategoricalParameter):
            row += [float(params.get(name) == choice) for choice in parameter.choices]
        elif name not in params:
            row.append(_ABSENT)
        else:
            at = np.array([params[name], parameter.low, parameter.high], dtype=np.float64)
            value, low, high = np.log(at) if parameter.log else at
            row.append(float((value - low) / (high - low)))
    return row


def padded(curves: Sequence[Curve], epochs: int) -> Floats:
    """Return the objectives, (curves, epochs). Short curves are padded with their last value."""
    rows = [c.objective + [c.objective[-1]] * (epochs - len(c.objective)) for c in curves]
    return np.array(rows, dtype=np.float64)


def costs(curve: Curve) -> tuple[float, float]:
    """Return the seconds of the first epoch, and the median of the later ones."""
    later = float(np.median(curve.seconds[1:] or curve.seconds))
    return max(curve.seconds[0], 0.01), max(later, 0.01)


def cross_validated(space: Space, curves: Sequence[Curve], trees: int = TREES) -> Fit:
    """Predict each curve from those of other configurations."""
    points = np.array([features(space, curve.params) for curve in curves])
    values = padded(curves, space.header.budget.epochs)
    groups = [_text(curve.params) for curve in curves]
    predicted = np.empty_like(values)
    folds = GroupKFold(min(_FOLDS, len(set(groups))), shuffle=True, random_state=0)
    for fitted, held_out in folds.split(points, groups=groups):
        fitted_forest = forest(points[fitted], values[fitted], trees)
        predicted[held_out] = fitted_forest.predict(points[held_out])
    errors = values - predicted
    last = values[:, -1]
    r2 = 1.0 - float((errors[:, -1] ** 2).sum() / ((last - last.mean()) ** 2).sum())
    rank_correlation = float(spearmanr(last, predicted[:, -1]).statistic)
    return Fit(r2, rank_correlation, len(set(groups)), errors)


def measured_noise(curves: Sequence[Curve]) -> float | None:
    """Return the standard deviation of the last values within configurations.

    It is None if no configuration was trained more than once.
    """
    last: defaultdict[str, list[float]] = defaultdict(list)
    for curve in curves:
        last[_text(curve.params)].append(curve.objective[-1])
    several = [values for values in last.values() if len(values) > 1]
    if not several:
        return None
    squares = sum(float(np.var(values)) * len(values) for values in several)
    return float(np.sqrt(squares / sum(len(values) - 1 for values in several)))


def forest(points: Floats, values: Floats, trees: int) -> RandomForestRegressor:
    """Return a forest that is fitted to rows of values, one for each point."""
    unfitted = RandomForestRegressor(trees, min_samples_leaf=2, max_features=0.5, random_state=0)
    return unfitted.fit(points, values)


def _single(trees: RandomForestRegressor, point: Floats) -> Floats:
    """Return the prediction for one point, without the checks of sklearn, which take longer."""
    single = point.astype(np.float32)
    predictions = [tree.tree_.predict(single) for tree in trees.estimators_]
    return np.asarray(np.mean(predictions, axis=0).reshape(-1), dtype=np.float64)


def _text(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)
