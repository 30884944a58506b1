"""The configuration of a circuit, and the engines that can simulate it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from quantum_rerank.circuits.ansatz import Ansatz, Entangler
from quantum_rerank.circuits.choice import fastest_engine
from quantum_rerank.registry import Registry, name_of
from quantum_rerank.section import Section

if TYPE_CHECKING:
    from quantum_rerank.circuits.engines.engine import Engine

AUTO = "auto"
"""Stands for the engine that is the fastest for the circuit and the batch."""

_ENGINES = "quantum_rerank.circuits.engines"
ENGINES: Registry[type[Engine]] = Registry(
    "engine",
    "engines",
    {
        "lightning.qubit": f"{_ENGINES}.lightning:LightningEngine",
        "statevector": f"{_ENGINES}.statevector:StatevectorEngine",
        "torch": f"{_ENGINES}.pure_torch:TorchEngine",
        "qnode": "quantum_rerank.circuits.qnode:QNodeEngine",
    },
)


class CircuitConfig(Section):
    """The circuit; its depth, angles and weights all follow from these numbers."""

    n_qubits: int = Field(4, ge=2, le=12)
    n_layers: int = Field(3, ge=1, le=8)
    entangler: Entangler = "cnot_chain"
    engine: Annotated[str, name_of(ENGINES, AUTO)] = "lightning.qubit"
    precision: Literal["float64", "float32"] = "float64"
    threads: int = Field(1, ge=1, le=256)
    start: Literal["full", "near_identity"] = "full"
    angles: Literal["bounded", "wrapped"] = "bounded"
    amplitudes: Literal["complex", "real"] = "complex"

    @field_validator("threads")
    @classmethod
    def _fit_the_engine(cls, threads: int, info: ValidationInfo) -> int:
        engine = info.data.get("engine", AUTO)
        if threads > 1 and engine != AUTO and not ENGINES[engine].uses_threads:
            raise PydanticCustomError(
                "threads",
                "must be 1 where `circuit.engine` is {engine}, which runs on one thread",
                {"engine": engine},
            )
        return threads

    @property
    def ansatz(self) -> Ansatz:
        """The circuit's gates."""
        return Ansatz(self.n_qubits, self.n_layers, self.entangler)

    def resolved(self, n_texts: int) -> CircuitConfig:
        """Return the section with the engine that `auto` stands for.

        Args:
            n_texts: Texts that a training step simulates, on which the fastest engine depends.
        """
        if self.engine != AUTO:
            return self
        engine = fastest_engine(self.n_qubits, n_texts)
        threads = self.threads if self.threads > 1 and ENGINES[engine].uses_threads else 1
        return self.model_copy(update={"engine": engine, "threads": threads})
