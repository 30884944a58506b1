"""The configuration of one training, checked before anything is computed.

Each package owns the sections that configure it; `ExperimentConfig` composes them. The files
in `configs/` repeat the defaults with a reason beside each, and a test holds the two
equal. A run is configured by one YAML file that may `include:` others, and by
overrides with dotted keys (`{"circuit.n_qubits": 5}`), as a search suggests them.
"""

from quantum_rerank.circuits.config import CircuitConfig
from quantum_rerank.config.columns import parse_columns
from quantum_rerank.config.dotted import Plain, apply_overrides, config_keys, flat
from quantum_rerank.config.experiment import ExperimentConfig
from quantum_rerank.config.reading import (
    build_config,
    describe,
    load_config,
    override,
    parse_override,
)
from quantum_rerank.datasets.config import HOW_EMBEDDED, ColumnsConfig, DataConfig
from quantum_rerank.section import Section
from quantum_rerank.similarity.config import FusionConfig, LinearConfig, MlpConfig
from quantum_rerank.training.config import (
    LossConfig,
    NegativesConfig,
    OptimizerConfig,
    TrainingConfig,
    WarmupConfig,
)

__all__ = [
    "HOW_EMBEDDED",
    "CircuitConfig",
    "ColumnsConfig",
    "DataConfig",
    "ExperimentConfig",
    "FusionConfig",
    "LinearConfig",
    "LossConfig",
    "MlpConfig",
    "NegativesConfig",
    "OptimizerConfig",
    "Plain",
    "Section",
    "TrainingConfig",
    "WarmupConfig",
    "apply_overrides",
    "build_config",
    "config_keys",
    "describe",
    "flat",
    "load_config",
    "override",
    "parse_columns",
    "parse_override",
]
