"""Searches by other libraries, for `benchmarks.replay`."""

from __future__ import annotations

import heapq
import json
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import optuna
from ray.tune.schedulers import TrialScheduler

from benchmarks.simulation import Ended, Training
from tuning.records import EPOCH, FINAL, OBJECTIVE
from tuning.space import CategoricalParameter, FloatParameter, Params, Space

_SERVER = Path(__file__).with_name("anchor_server.py")


class Anchor:
    """Searcher of another library, in a process of its own.

    Args:
        library: `cqr` or `priorband`.
        python: Interpreter of an environment with the library.
        space: Space of the search.
        seed: Seed of the searcher.
    """

    def __init__(self, library: str, python: Path, space: Space, seed: int) -> None:
        header = space.header
        self._space, self._python = space, python
        self._process = subprocess.Popen(
            [python, _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._setup: Mapping[str, Any] | None = {
            "library": library,
            "seed": seed,
            "epochs": header.budget.epochs,
            "grace": header.scheduler.grace_period,
            "factor": header.scheduler.reduction_factor,
            "parameters": {name: _domain(of) for name, of in space.parameters.items()},
            "points": [self._complete(point) for point in space.start_points()],
        }

    def __enter__(self) -> Anchor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]

    def ask(self) -> tuple[int, Params, int]:
        """Return number, active parameters and epochs of the next trial."""
        answer = self._call(call="ask")
        active = self._space.suggest(optuna.trial.FixedTrial(answer["config"]))
        return answer["number"], dict(active), answer["epochs"]

    def report(self, number: int, epoch: int, objective: float, *, is_last: bool) -> bool:
        """Report an epoch; return whether the trial goes on."""
        return bool(
            self._call(
                call="report", number=number, epoch=epoch, objective=objective, is_last=is_last
            )
        )

    def _complete(self, point: Params) -> Params:
        """Return a point with values for the parameters that are inactive in it."""
        return {name: point.get(name, _any_of(of)) for name, of in self._space.parameters.items()}

    def _call(self, **call: Any) -> Any:
        if self._setup:
            self._write(self._setup)
            self._setup = None
        self._write(call)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._has_ended()
        return json.loads(line)

    def _has_ended(self) -> RuntimeError:
        return RuntimeError(f"`{self._python} {_SERVER}` has ended; run it to see why.")

    def _write(self, value: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(value) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._has_ended() from None


def _domain(parameter: Any) -> dict[str, Any]:
    if isinstance(parameter, CategoricalParameter):
        return {"type": "categorical", "choices": list(parameter.choices)}
    kind = "float" if isinstance(parameter, FloatParameter) else "int"
    return {"type": kind, "low": parameter.low, "high": parameter.high, "log": parameter.log}


def _any_of(parameter: Any) -> Any:
    return parameter.choices[0] if isinstance(parameter, CategoricalParameter) else parameter.low


class AnchorSearcher:
    """Face of an anchor as the searcher of `benchmarks.simulation`."""

    def __init__(self, anchor: Anchor) -> None:
        self._anchor = anchor
        self.numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> Params:
        """Return the parameters of a trial."""
        self.numbers[trial_id], params, _ = self._anchor.ask()
        return params

    def on_trial_result(self, *_: Any) -> None:
        """Do nothing: the scheduler is told first."""

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Do nothing: the scheduler is told first."""


class AnchorScheduler:
    """Face of an anchor as the scheduler of `benchmarks.simulation`."""

    def __init__(self, anchor: Anchor, numbers: Mapping[str, int]) -> None:
        self._anchor, self._numbers = anchor, numbers

    def on_trial_add(self, *_: Any) -> None:
        """Do nothing: the searcher has told it."""

    def on_trial_result(self, _: Any, trial: Any, result: Mapping[str, Any]) -> str:
        """Report an epoch, and return whether the trial goes on."""
        number, is_last = self._numbers[trial.trial_id], bool(result[FINAL])
        goes_on = self._anchor.report(number, result[EPOCH], result[OBJECTIVE], is_last=is_last)
        return str(TrialScheduler.CONTINUE if goes_on or is_last else TrialScheduler.STOP)

    def on_trial_complete(self, *_: Any) -> None:
        """Do nothing: the last result has told it."""


def run_asked(
    anchor: Anchor, train: Callable[[Params], Training], n_configurations: int, workers: int
) -> list[Ended]:
    """Run a search whose configurations are asked for again with more epochs.

    Args:
        anchor: The searcher.
        train: Parameters -> training.
        n_configurations: Number of configurations; the next one ends the search.
        workers: Number of workers.

    Returns:
        The last epoch that each configuration has reached.
    """
    ended: dict[str, Ended] = {}
    trainings: dict[str, Training] = {}
    busy: list[tuple[float, int, int, str]] = []
    now, is_over = 0.0, False
    while busy or not is_over:
        while len(busy) < workers and not is_over:
            number, params, epochs = anchor.ask()
            key = repr(sorted(params.items()))
            if key not in trainings and len(trainings) == n_configurations:
                is_over = True
                break
            training = trainings.setdefault(key, train(params))
            before = ended[key].epochs if key in ended else 0
            epochs = max(before, min(epochs, len(training.seconds)))
            at = now + sum(training.seconds[before:epochs])
            ended[key] = Ended(
                number=number,
                params=params,
                epochs=epochs,
                objective=training.objective[epochs - 1],
                to_its_end=epochs == len(training.seconds),
                seconds=sum(training.seconds[:epochs]),
                at=at,
            )
            heapq.heappush(busy, (at, number, epochs, key))
        if busy:
            now, number, epochs, key = heapq.heappop(busy)
            objective = trainings[key].objective[epochs - 1]
            anchor.report(number, epochs, objective, is_last=True)
    return list(ended.values())
