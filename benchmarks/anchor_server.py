"""Searcher of another library behind standard input and output, in an environment of its own.

Started by `benchmarks.replay` with the interpreter of that environment, which needs nothing of
this project: a line of JSON for each call, and one for its answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

METRIC, EPOCH = "objective", "epoch"


class Library(Protocol):
    """Searcher of a library."""

    def ask(self) -> dict[str, Any]:
        """Return the number and the configuration of the next trial, and its epochs."""

    def report(self, number: int, epoch: int, objective: float, is_last: bool) -> bool:
        """Take the objective of an epoch; return whether the trial goes on."""


class SyneTune:
    """ASHA with conformalised quantile regression of Syne Tune."""

    def __init__(self, setup: dict[str, Any]) -> None:
        from syne_tune.backend.trial_status import Trial
        from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform
        from syne_tune.optimizer.baselines import ASHACQR

        def domain(parameter: dict[str, Any]) -> Any:
            if parameter["type"] == "categorical":
                return choice(parameter["choices"])
            kinds = {"float": (uniform, loguniform), "int": (randint, lograndint)}
            return kinds[parameter["type"]][parameter["log"]](parameter["low"], parameter["high"])

        self._trial = Trial
        self._trials: dict[int, Trial] = {}
        self._epochs = setup["epochs"]
        self._scheduler = ASHACQR(
            {name: domain(parameter) for name, parameter in setup["parameters"].items()},
            metric=METRIC,
            time_attr=EPOCH,
            max_t=setup["epochs"],
            do_minimize=False,
            random_seed=setup["seed"],
            grace_period=setup["grace"],
            reduction_factor=setup["factor"],
            points_to_evaluate=setup["points"],
        )

    def ask(self) -> dict[str, Any]:
        number = len(self._trials)
        config = self._scheduler.suggest().config
        self._trials[number] = self._trial(number, config, datetime.now())
        self._scheduler.on_trial_add(self._trials[number])
        return {"number": number, "config": config, "epochs": self._epochs}

    def report(self, number: int, epoch: int, objective: float, is_last: bool) -> bool:
        trial, result = self._trials[number], {METRIC: objective, EPOCH: epoch}
        if is_last:
            self._scheduler.on_trial_complete(trial, result)
            return False
        return bool(self._scheduler.on_trial_result(trial, result) == "CONTINUE")


class Neps:
    """PriorBand of NePS with asynchronous successive halving; the first point is the prior.

    A configuration that goes on is asked for again with more epochs.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        import neps
        import torch

        torch.manual_seed(setup["seed"])
        prior = setup["points"][0]

        def domain(name: str, parameter: dict[str, Any]) -> Any:
            known = {"prior": prior[name], "prior_confidence": "medium"}
            if parameter["type"] == "categorical":
                return neps.HPOCategorical(parameter["choices"], **known)
            kind = neps.HPOFloat if parameter["type"] == "float" else neps.HPOInteger
            return kind(parameter["low"], parameter["high"], log=parameter["log"], **known)

        domains = {name: domain(name, of) for name, of in setup["parameters"].items()}
        domains[EPOCH] = neps.HPOInteger(setup["grace"], setup["epochs"], is_fidelity=True)
        space = neps.SearchSpace(domains)
        optimizer = neps.algorithms.priorband(
            space, eta=round(setup["factor"]), base="asha", sample_prior_first=True
        )
        self._loop = neps.AskAndTell(optimizer)
        self._asked: list[Any] = []

    def ask(self) -> dict[str, Any]:
        trial = self._loop.ask()
        self._asked.append(trial)
        config = dict(trial.config)
        return {"number": len(self._asked) - 1, "epochs": config.pop(EPOCH), "config": config}

    def report(self, number: int, epoch: int, objective: float, is_last: bool) -> bool:
        if is_last:
            self._loop.tell(self._asked[number], -objective)
        return not is_last


def main() -> None:
    """Answer calls until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    setup = json.loads(sys.stdin.readline())
    libraries: dict[str, Callable[[dict[str, Any]], Library]]
    libraries = {"cqr": SyneTune, "priorband": Neps}
    library = libraries[setup["library"]](setup)
    for line in sys.stdin:
        call = json.loads(line)
        answer = getattr(library, call.pop("call"))(**call)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
