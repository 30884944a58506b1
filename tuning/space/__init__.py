"""Search spaces: what is searched, on which data, within which budget."""

from tuning.space.header import (
    Budget,
    Factor,
    Guess,
    Header,
    Objective,
    SamplerConfig,
    SchedulerConfig,
    rung_epochs,
)
from tuning.space.parameters import (
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Params,
    Scalar,
    Suggester,
)
from tuning.space.registries import SAMPLERS, SCHEDULERS, SamplerFactory, SchedulerFactory
from tuning.space.search_space import Space, never_drawn, searchable_keys

__all__ = [
    "SAMPLERS",
    "SCHEDULERS",
    "Budget",
    "CategoricalParameter",
    "Factor",
    "FloatParameter",
    "Guess",
    "Header",
    "IntParameter",
    "Objective",
    "Parameter",
    "Params",
    "SamplerConfig",
    "SamplerFactory",
    "Scalar",
    "SchedulerConfig",
    "SchedulerFactory",
    "Space",
    "Suggester",
    "never_drawn",
    "rung_epochs",
    "searchable_keys",
]
