"""Registries of samplers and schedulers, from which a space file takes their names.

The parts belong to the layer of algorithms; here they are imported at their first use only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quantum_rerank.registry import Registry

SamplerFactory = Callable[[Any, int], Any]
"""Factory of the Optuna sampler that proposes one trial: `factory(space, seed)`."""

SAMPLERS: Registry[SamplerFactory] = Registry(
    "sampler",
    "samplers",
    {
        "tpe": "tuning.algorithms.samplers:tpe",
        "gp": "tuning.algorithms.samplers:gaussian_process",
        "cmaes": "tuning.algorithms.samplers:cma_es",
        "random": "tuning.algorithms.samplers:random",
        "grid": "tuning.algorithms.samplers:grid",
        "qmc": "tuning.algorithms.samplers:quasi_monte_carlo",
        "prior": "tuning.algorithms.samplers:prior",
    },
)

SchedulerFactory = Callable[[Any, Callable[[], Any]], Any]
"""Factory of the rule that stops weak trials, a `tuning.algorithms.rules.Rule`:
`factory(space, view)`.

`view` returns the study as it is now, a `tuning.study.view.StudyView`.
"""

SCHEDULERS: Registry[SchedulerFactory] = Registry(
    "scheduler",
    "schedulers",
    {
        "asha": "tuning.algorithms.rules:asha",
        "hyperband": "tuning.algorithms.rules:hyperband",
        "median": "tuning.algorithms.rules:median",
        "pbt": "tuning.algorithms.population:Population",
        "none": "tuning.algorithms.rules:no_rule",
    },
)
