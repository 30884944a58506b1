"""Search spaces: what is searched, on which data, within which budget."""

from tuning.space.header import (
    Budget,
    Factor,
    Header,
    Objective,
    SamplerConfig,
    SchedulerConfig,
    donors_kept,
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
from tuning.space.search_space import Space, never_drawn, searchable_keys

__all__ = [
    "Budget",
    "CategoricalParameter",
    "Factor",
    "FloatParameter",
    "Header",
    "IntParameter",
    "Objective",
    "Parameter",
    "Params",
    "SamplerConfig",
    "Scalar",
    "SchedulerConfig",
    "Space",
    "Suggester",
    "donors_kept",
    "never_drawn",
    "searchable_keys",
]
