"""Expected memory of trials, and the room that it leaves for further trials on a machine."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import ConfigError
from tuning.limits.concurrency import GIB
from tuning.limits.memory import least_bytes
from tuning.records import PEAK_RSS_MB, Clock, Listener, TrialEnd
from tuning.space import Space

_TRAINING = 250 * 2**20  # bytes that a training adds to a bare worker: batches, buffers, libraries
_COPIES = 2  # of weights, gradients and moments: best epoch and checkpoint are written from copies
_UNMEASURED = 1.25  # margin of a prediction while no trial has been measured
_MEASURED = 1.1  # margin above the high quantile of what was measured
_QUANTILE = 0.9
_REMEMBERED = 32  # trials whose peaks correct the prediction
_RESERVED_SHARE = 0.1  # of the memory that is free at the start
_MOST_RESERVED = 2 * 2**30
_CHECK_SECONDS = 0.5  # between two looks at the free memory
_RELIEF_SECONDS = 5.0  # until the memory of a trial that was ended is free
NOMINAL_DIM = 1024
"""Width of embeddings that is assumed before the data are loaded."""


def predicted_bytes(config: ExperimentConfig, embedding_dim: int, n_ranked: int = 0) -> int:
    """Return the bytes that a trial is predicted to use at its peak.

    Args:
        config: Configuration of the trial.
        embedding_dim: Width of the embeddings.
        n_ranked: Documents that a validation ranks.

    >>> predicted_bytes(ExperimentConfig(), 384) // 2**20
    503
    """
    needed = least_bytes(config, embedding_dim, n_ranked)
    weights = needed - least_bytes(config, 0, 0)
    return needed + _TRAINING + (_COPIES - 1) * weights


def expected_gib(space: Space, embedding_dim: int = NOMINAL_DIM, n_ranked: int = 0) -> float:
    """Return the GiB that a trial of a space is expected to use, before one was measured.

    The largest of the base configuration and of the start points counts.

    Args:
        space: Space of the search.
        embedding_dim: Width of the embeddings.
        n_ranked: Documents that a validation ranks.
    """
    configs = [space.base]
    for point in space.start_points():
        with suppress(ConfigError):  # the trial will fail and say so
            configs.append(space.config_for(point, 0))
    largest = max(predicted_bytes(config, embedding_dim, n_ranked) for config in configs)
    return _UNMEASURED * largest / GIB


class ExpectedMemory(Listener):
    """Listener that predicts the memory of trials and corrects itself by their measured peaks.

    Args:
        predict: Returns the predicted bytes of a configuration.
        limit: Bytes above which a trial is ended, so that no trial is expected to use more.
    """

    def __init__(self, predict: Callable[[ExperimentConfig], int], limit: int) -> None:
        self._predict, self._limit = predict, limit
        self._running: dict[int, int] = {}  # trial -> predicted bytes
        self._peaks: dict[int, int] = {}  # of running trials
        self._ratios: deque[float] = deque(maxlen=_REMEMBERED)
        self._predicted: deque[int] = deque(maxlen=_REMEMBERED)

    def of(self, config: ExperimentConfig) -> int:
        """Return the bytes that a trial of a configuration is expected to use."""
        return self._corrected(self._predict(config))

    def of_next(self, base: ExperimentConfig) -> int:
        """Return the bytes that the next trial is expected to use.

        Its configuration is not known yet: it counts as one of the larger of the latest trials.

        Args:
            base: Configuration that counts before the first trial.
        """
        predicted = list(self._predicted) or [self._predict(base)]
        return self._corrected(float(np.quantile(predicted, _QUANTILE)))

    def outstanding(self) -> int:
        """Return the bytes that running trials are expected to take beyond their present peaks."""
        return sum(
            max(self._corrected(predicted) - self._peaks.get(number, 0), 0)
            for number, predicted in self._running.items()
        )

    @property
    def n_running(self) -> int:
        """Number of running trials."""
        return len(self._running)

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Predict the memory of a trial."""
        self._running[number] = self._predict(config)
        self._predicted.append(self._running[number])

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Remember the peak of a running trial."""
        peak = int(float(metrics.get(PEAK_RSS_MB) or 0.0) * 2**20)
        self._peaks[number] = max(peak, self._peaks.get(number, 0))

    def trial_ended(self, end: TrialEnd) -> None:
        """Correct the prediction by the peak of a trial that has reported one."""
        predicted, peak = self._running.pop(end.number, 0), self._peaks.pop(end.number, 0)
        if predicted and peak:
            self._ratios.append(peak / predicted)

    def _corrected(self, predicted: float) -> int:
        if self._ratios:
            factor = _MEASURED * float(np.quantile(list(self._ratios), _QUANTILE))
        else:
            factor = _UNMEASURED
        return min(int(predicted * factor), self._limit)


class MemoryRoom:
    """Decisions on trials by the free memory of this machine.

    Some memory is kept free, since below it running trials get into each other's way.

    Args:
        expected: Expected memory of the trials.
        base: Configuration that counts before the first trial.
        available: Returns the bytes that are free.
        clock: Seconds.
    """

    def __init__(
        self,
        expected: ExpectedMemory,
        base: ExperimentConfig,
        available: Callable[[], float],
        clock: Clock,
    ) -> None:
        self._expected, self._base = expected, base
        self.available, self._clock = available, clock
        self._reserve = min(_RESERVED_SHARE * available(), _MOST_RESERVED)
        self._next_check = -math.inf

    def has_room(self) -> bool:
        """Return whether a further trial fits; the only one always does."""
        if not self._expected.n_running:
            return True
        needed = self._expected.outstanding() + self._expected.of_next(self._base)
        return self.available() - needed >= self._reserve

    def should_relieve(self) -> bool:
        """Return whether one of several running trials should end, since memory is low.

        It is asked for one trial at a time, whose memory takes some seconds to be free.
        """
        now = self._clock()
        if self._expected.n_running < 2 or now < self._next_check:
            return False
        self._next_check = now + _CHECK_SECONDS
        if self.available() >= self._reserve:
            return False
        self._next_check = now + _RELIEF_SECONDS
        return True
