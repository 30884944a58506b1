"""The configuration of a model: its MLP, its linear map, its fusion with the cosine."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from pydantic import Field

from quantum_rerank.circuits.config import CircuitConfig
from quantum_rerank.section import Section

Width = Annotated[int, Field(ge=1, le=8192)]


class MlpConfig(Section):
    """The network that predicts the angles from a text embedding."""

    hidden_layers: tuple[Width, ...] = Field((256, 128), max_length=6)
    dropout: float = Field(0.1, ge=0.0, lt=1.0)
    outputs: int = Field(0, ge=0, le=8192)
    linear_path: Literal["none", "discriminant"] = "none"


class LinearConfig(Section):
    """The models that are linear maps of the embedding, in the place of an MLP."""

    rank: int = Field(64, ge=1, le=8192)


class FusionConfig(Section):
    """The weight w in score = (1 - w) first stage + w fidelity.

    If the loss is on the fused score, w is trained from `initial_weight`; it is
    fitted on validation in any case. A gate lets it fall for queries that are far from the
    nearest training queries, as suits validation.
    """

    initial_weight: float = Field(0.5, gt=0.0, lt=1.0)
    gate: Literal["none", "nearest"] = "none"


class ModelConfig(Protocol):
    """The part of a configuration that shapes a model; `ExperimentConfig` has it.

    Attributes:
        model: A key of MODELS.
        circuit: Sizes and engine of the circuit, where the model has one.
        mlp: The MLP, where the model has one.
        linear: The linear map, where the model has one.
        fusion: The gate.
        has_lexical_part: A lexical score is fused with the cosine.
    """

    @property
    def model(self) -> str: ...
    @property
    def circuit(self) -> CircuitConfig: ...
    @property
    def mlp(self) -> MlpConfig: ...
    @property
    def linear(self) -> LinearConfig: ...
    @property
    def fusion(self) -> FusionConfig: ...
    @property
    def has_lexical_part(self) -> bool: ...
