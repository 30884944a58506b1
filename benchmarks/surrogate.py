"""A stand-in for training, fitted to recorded learning curves: a configuration in, a curve out.

The mean curve of a configuration is a random forest's (Breiman 2001), one forest for all epochs,
so that it never falls, as the best so far never does. A trial's curve is the mean plus the curve of
the errors that the forest made on one configuration it had not seen, drawn by configuration and
seed and scaled to a given deviation; it ends where the trainer's early stopping would end it.
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
_ABSENT = -1.0  # of a parameter whose condition does not hold; the others lie in [0, 1]
TREES, _FOLDS = 200, 10


@dataclass(frozen=True)
class Fit:
    """How well values of unseen configurations are foreseen, in cross-validation.

    r2, rank_correlation: of the values after the last epoch.
    n_configurations: of which some may have been trained more than once.
    errors: (curves, epochs) what was recorded minus what was foreseen.
    """

    r2: float
    rank_correlation: float
    n_configurations: int
    errors: Floats


class Surrogate:
    """Trainings of a space's configurations, without training.

    noise: deviation of two seeds' final values from their configuration's mean; by
        default as much as the forest's errors on unseen configurations.
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
        # Errors of the level that the forest makes for all alike are no noise of one training.
        errors = self.fit.errors - self.fit.errors.mean(axis=0)
        deviation = float(errors[:, -1].std())
        self.noise = deviation if noise is None else noise
        self._errors = errors * (self.noise / deviation if deviation else 0.0)
        self._values = forest(points, values, trees)
        self._costs = forest(points, np.log([costs(curve) for curve in curves]), trees)
        self._known: dict[str, tuple[Floats, Floats]] = {}

    def mean(self, params: Mapping[str, Any]) -> Floats:
        """(epochs,): the noise-free best validation so far after each epoch."""
        return self._foreseen(params)[0]

    def means(self, many: Sequence[Params]) -> Floats:
        """(configurations,): the noise-free values after the last epoch, all at once."""
        points = np.array([features(self._space, params) for params in many])
        return np.asarray(self._values.predict(points)[:, -1])

    def training(self, params: Mapping[str, Any], seed: int) -> Training:
        """The curve of one training, which ends by itself at the last epoch or before."""
        mean, cost = self._foreseen(params)
        rng = np.random.default_rng([seed, zlib.crc32(_text(params).encode())])
        noisy = mean + self._errors[rng.integers(len(self._errors))]
        values = np.maximum.accumulate(noisy).tolist()
        training = self._space.base.training
        stopping = EarlyStopping(training)
        # The best so far rises by an improvement when, and only when, an epoch does: the same end.
        n = next(
            (e for e, value in enumerate(values, 1) if stopping.should_stop(value)), len(values)
        )
        first, later = np.exp(cost).tolist()
        return Training(values[:n], [first] + [later] * (n - 1))

    def _foreseen(self, params: Mapping[str, Any]) -> tuple[Floats, Floats]:
        key = _text(params)
        if key not in self._known:
            point = np.array([features(self._space, params)])
            self._known[key] = (_one(self._values, point), _one(self._costs, point))
        return self._known[key]


def features(space: Space, params: Mapping[str, Any]) -> list[float]:
    """A configuration as numbers: choices one-hot, the others on their scale between bounds."""
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
    """(curves, epochs): the objectives, a training that ended before keeping its last value."""
    rows = [c.objective + [c.objective[-1]] * (epochs - len(c.objective)) for c in curves]
    return np.array(rows, dtype=np.float64)


def costs(curve: Curve) -> tuple[float, float]:
    """Seconds of the first epoch, and of each later one."""
    later = float(np.median(curve.seconds[1:] or curve.seconds))
    return max(curve.seconds[0], 0.01), max(later, 0.01)


def cross_validated(space: Space, curves: Sequence[Curve], trees: int = TREES) -> Fit:
    """Foresee each curve from the others; those of one configuration are left out together."""
    points = np.array([features(space, curve.params) for curve in curves])
    values = padded(curves, space.header.budget.epochs)
    groups = [_text(curve.params) for curve in curves]
    foreseen = np.empty_like(values)
    folds = GroupKFold(min(_FOLDS, len(set(groups))), shuffle=True, random_state=0)
    for known, unknown in folds.split(points, groups=groups):
        foreseen[unknown] = forest(points[known], values[known], trees).predict(points[unknown])
    errors = values - foreseen
    last = values[:, -1]
    r2 = 1.0 - float((errors[:, -1] ** 2).sum() / ((last - last.mean()) ** 2).sum())
    rank_correlation = float(spearmanr(last, foreseen[:, -1]).statistic)
    return Fit(r2, rank_correlation, len(set(groups)), errors)


def measured_noise(curves: Sequence[Curve]) -> float | None:
    """Deviation of the last values of one configuration, from those trained more than once.

    None if there are none.
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
    """A forest fitted to rows of values, one for each point."""
    unfitted = RandomForestRegressor(trees, min_samples_leaf=2, max_features=0.5, random_state=0)
    return unfitted.fit(points, values)


def _one(trees: RandomForestRegressor, point: Floats) -> Floats:
    """A forest's prediction for one point, without the milliseconds of checks around it."""
    single = point.astype(np.float32)
    found = [tree.tree_.predict(single) for tree in trees.estimators_]
    return np.asarray(np.mean(found, axis=0).reshape(-1), dtype=np.float64)


def _text(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)
