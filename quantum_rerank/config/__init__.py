"""What decides the outcome of one run, checked before anything is computed.

The defaults are the numbers of the task that this project grew from; the files
in `configs/` repeat them with a reason beside each, and a test holds the two
equal. A run is configured by one YAML file that may `include:` others, and by
overrides with dotted keys (`{"circuit.n_qubits": 5}`), which is what a search
suggests. Below this room everything takes plain arguments.
"""

from quantum_rerank.config.columns import parse_columns
from quantum_rerank.config.dotted import Plain, apply_overrides, config_keys, flat
from quantum_rerank.config.reading import (
    build_config,
    describe,
    load_config,
    override,
    parse_override,
)
from quantum_rerank.config.sections import (
    HOW_EMBEDDED,
    CircuitConfig,
    ColumnsConfig,
    DataConfig,
    ExperimentConfig,
    FusionConfig,
    LinearConfig,
    LossConfig,
    LossName,
    MlpConfig,
    ModelName,
    NegativesConfig,
    OptimizerConfig,
    Section,
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
    "LossName",
    "MlpConfig",
    "ModelName",
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
