"""The schema of one training: the sections of all packages, composed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from quantum_rerank.circuits.config import CircuitConfig
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.registry import name_of
from quantum_rerank.section import Section
from quantum_rerank.similarity.config import FusionConfig, LinearConfig, MlpConfig
from quantum_rerank.similarity.models import MODELS
from quantum_rerank.training.config import (
    LARGEST_SEED,
    DiscriminantConfig,
    LossConfig,
    NegativesConfig,
    OptimizerConfig,
    TrainingConfig,
    WarmupConfig,
)


class ExperimentConfig(Section):
    """Everything that decides the outcome of one training.

    The files in `configs/` have the meaning of each key, and the reason for its default.
    """

    model: Annotated[str, name_of(MODELS)] = "hybrid"
    seed: int = Field(7, ge=0, le=LARGEST_SEED)
    circuit: CircuitConfig = CircuitConfig()
    mlp: MlpConfig = MlpConfig()
    linear: LinearConfig = LinearConfig()
    fusion: FusionConfig = FusionConfig()
    discriminant: DiscriminantConfig = DiscriminantConfig()
    warmup: WarmupConfig = WarmupConfig()
    loss: LossConfig = LossConfig()
    negatives: NegativesConfig = NegativesConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    data: DataConfig = DataConfig()

    @property
    def has_lexical_part(self) -> bool:
        """True if a lexical score is fused with the cosine."""
        return self.data.lexical != "none"

    def resolved(self) -> ExperimentConfig:
        """Return the configuration with the engine that `auto` stands for, as records name it."""
        # A step has a query, a positive and a negative each, or more: about this many texts.
        circuit = self.circuit.resolved(n_texts=3 * self.training.batch_size)
        return self if circuit is self.circuit else self.model_copy(update={"circuit": circuit})
