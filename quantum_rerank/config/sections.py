"""The schema of one run: frozen sections, bounds beside the fields, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

ModelName = Literal[
    "hybrid",
    "hybrid_amplitude",
    "product_circuit",
    "frozen_circuit",
    "quantum_only",
    "mlp_twin",
    "rbf",
    "linear_projection",
    "low_rank_bilinear",
    "cosine",
]
LossName = Literal[
    "triplet",
    "margin_ranking",
    "contrastive",
    "infonce",
    "infonce_candidates",
    "listnet",
    "approx_ndcg",
]
Course = Literal["constant", "cosine", "step", "one_cycle", "plateau"]
Rate = Annotated[float, Field(gt=0.0, le=1.0)]
Width = Annotated[int, Field(ge=1, le=8192)]
HOW_EMBEDDED = ("device", "encoder_batch_size", "show_progress_bar")
"""Keys of the data that decide how texts are embedded, but not what their vectors mean."""

_LARGEST_SEED = 2**63 - 1  # torch's generator takes no more


def _is_encodable(text: str) -> bool:
    """Return whether UTF-8 has it: no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Section(BaseModel):
    """A frozen part of the configuration that knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CircuitConfig(Section):
    """The circuit; its depth, angles and weights all follow from these numbers."""

    n_qubits: int = Field(4, ge=2, le=12)
    n_layers: int = Field(3, ge=1, le=8)
    entangler: Literal["cnot_chain", "zz_ring", "none"] = "cnot_chain"
    engine: Literal["lightning.qubit", "statevector", "torch", "qnode", "auto"] = "lightning.qubit"
    precision: Literal["float64", "float32"] = "float64"
    threads: int = Field(1, ge=1, le=256, description="of the engine statevector")
    start: Literal["full", "near_identity"] = "full"
    angles: Literal["bounded", "wrapped"] = "bounded"

    @field_validator("threads")
    @classmethod
    def _of_an_engine_that_has_them(cls, threads: int, info: ValidationInfo) -> int:
        if threads > 1 and info.data.get("engine", "auto") not in ("statevector", "auto"):
            raise PydanticCustomError(
                "threads", "must be 1 where `circuit.engine` is neither statevector nor auto"
            )
        return threads


class MlpConfig(Section):
    """The network that predicts the angles from a text embedding."""

    hidden_layers: tuple[Width, ...] = Field((256, 128), max_length=6)
    dropout: float = Field(0.1, ge=0.0, lt=1.0)
    outputs: int = Field(
        0, ge=0, le=8192, description="of mlp_twin and rbf; 0: as many as the circuit has angles"
    )


class LinearConfig(Section):
    """The models that are linear maps of the embedding, in the place of an MLP."""

    rank: int = Field(64, ge=1, le=8192)


class FusionConfig(Section):
    """score = (1 - w) cosine + w fidelity.

    Where the loss is on the fused score, w is trained from `initial_weight`; it is
    fitted on validation in any case. A gate lets it fall with a query's distance from the
    nearest centroid of the training queries, as fast as suits validation.
    """

    initial_weight: float = Field(0.5, gt=0.0, lt=1.0)
    gate: Literal["none", "distance"] = "none"
    centroids: int = Field(32, ge=1, le=1024, description="of the gate")


class WarmupConfig(Section):
    """Self-supervised start: fidelities within a batch follow the cosine neighbours."""

    steps: int = Field(400, ge=0)
    batch_size: int = Field(128, ge=2)
    learning_rate: Rate = 0.001
    temperature: float = Field(0.05, gt=0.0)
    weight: float = Field(0.0, ge=0.0, description="stays in the loss as a regulariser")


class LossConfig(Section):
    """What is minimised, and on which score."""

    name: LossName = "triplet"
    score: Literal["fused", "fidelity"] = "fidelity"
    margin: float = Field(0.5, ge=0.0, le=2.0)
    temperature: float = Field(0.02, gt=0.0)
    negatives: int = Field(31, ge=1, description="sampled per query; triplet always takes one")
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="of the InfoNCE losses")
    grade_temperature: float = Field(0.1, gt=0.0, description="of listnet's target")
    spread_weight: float = Field(0.0, ge=0.0, description="of a term against saturation")
    spread_target: float = Field(0.05, ge=0.0, le=0.5, description="of affinities, their deviation")
    simcse_weight: float = Field(
        0.0, ge=0.0, le=10.0, description="of texts under two dropout masks"
    )
    simcse_temperature: float = Field(0.05, gt=0.0)


class NegativesConfig(Section):
    """Which documents stand against a query; `loss.negatives` says how many are drawn.

    Those that were judged not relevant are drawn first.
    Losses over all candidates have every candidate; from them only the suspected are kept.
    """

    kind: Literal["random", "semi_hard", "hard"] = "random"
    pool: int = Field(32, ge=1, description="hardest candidates to draw from")
    refresh_epochs: int = Field(5, ge=1, description="until they are mined anew")
    false_negative_margin: float = Field(
        -2.0, ge=-2.0, le=2.0, description="left alone: cosine above the answer's minus this"
    )


class OptimizerConfig(Section):
    """Two parameter groups, MLP and circuit, each with its own rate, decay and schedule."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    mlp_lr: Rate = 0.001
    circuit_lr: Rate = 0.01
    weight_decay: float = Field(1e-5, ge=0.0, le=1.0)
    circuit_weight_decay: float = Field(0.0, ge=0.0, le=1.0)
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="of sgd")
    gradient_clipping: float = Field(1.0, gt=0.0)
    schedule: Course = "constant"
    circuit_schedule: Literal["same", Course] = "same"
    linear_warmup_epochs: float = Field(0.0, ge=0.0)
    step_epochs: int = Field(30, ge=1)
    step_factor: float = Field(0.1, gt=0.0, le=1.0)
    plateau_epochs: int = Field(4, ge=1, description="without a better validation objective")
    plateau_factor: float = Field(0.5, gt=0.0, le=1.0)

    @field_validator("linear_warmup_epochs")
    @classmethod
    def _not_before_a_rise(cls, epochs: float, info: ValidationInfo) -> float:
        named = (info.data.get("schedule"), info.data.get("circuit_schedule"))
        if epochs and "one_cycle" in named:
            raise PydanticCustomError(
                "rises", "must be 0 beside the schedule one_cycle, which has a rise of its own"
            )
        return epochs


class TrainingConfig(Section):
    """The loop: batches, epochs, early stopping."""

    batch_size: int = Field(32, ge=1)
    max_epochs: int = Field(100, ge=1)
    early_stopping_patience: int = Field(10, ge=1)
    min_improvement: float = Field(0.001, ge=0.0)
    ema_decay: float = Field(0.0, ge=0.0, lt=1.0, description="decay an epoch; 0 for none")
    max_batch_documents: int = Field(1500, ge=2)
    balance: float = Field(0.0, ge=0.0, le=1.0, description="1: every domain equally often")
    difficulty: float = Field(0.0, ge=0.0, le=1.0, description="1: queries drawn by past loss")
    embedding_noise: float = Field(0.0, ge=0.0, le=1.0, description="its length; texts have 1")
    objective: Literal["ndcg@10", "mrr@10", "map"] = "ndcg@10"


class ColumnsConfig(Section):
    """Names of a table's columns, for the sources csv, parquet, triplets and datasets.

    A table has either a query, a document and a label, or a query, its positive documents and
    its negative ones. As long as `query` is the default, a column `anchor` is read as well.
    """

    query: str = Field("query", min_length=1)
    document: str = Field("document", min_length=1)
    label: str = Field("label", min_length=1)
    positive: str = Field("positive", min_length=1, description="or `pos`, if it is the default")
    negative: str = Field(
        "negative", min_length=1, description="or `neg`, `negative_1`, ..., if it is the default"
    )


class DataConfig(Section):
    """Which collections, how they are split by query, and who embeds them.

    `seen` collections are split into train, validation and test queries. The
    domains in `unseen_validation` and `unseen_test` are never trained on.
    """

    seen: tuple[str, ...] = Field(("icd10:5", "icd10:9"), min_length=1)
    unseen_validation: tuple[str, ...] = ("icd10:7", "icd10:8")
    unseen_test: tuple[str, ...] = ("icd10:3",)
    validation_split: float = Field(0.2, gt=0.0, lt=1.0)
    test_split: float = Field(0.2, gt=0.0, lt=1.0)
    split_seed: int = Field(13, ge=0)
    candidates: int = Field(100, ge=2, description="reranked per query, by falling cosine")
    ignore_identical: Literal["auto", "id", "text", "none"] = Field(
        "auto", description="which documents are the query itself, and no candidates of it"
    )
    judge_copies_alike: bool = Field(
        False, description="documents of one text have the highest grade that one of them has"
    )
    encoder: str = Field("minilm", min_length=1)
    columns: ColumnsConfig = ColumnsConfig()
    separator: Literal["auto", "comma", "semicolon", "tab", "pipe"] = Field(
        "auto", description="of the source csv; auto: the one that separates the header's columns"
    )
    quoting: Literal["auto", "double", "none"] = Field(
        "auto",
        description='of the source csv; auto: none between tabs, elsewhere double ("a")',
    )
    max_unmatched_judgments: float = Field(
        0.05, ge=0.0, le=1.0, description="share that may name absent texts, and is left out"
    )
    query_prompt: str | None = Field(
        None, description="text before each query; null: the encoder's own, '': none"
    )
    document_prompt: str | None = Field(None, description="the same, of documents")
    device: str = Field("cpu", min_length=1, description="of the encoder; auto: the fastest")
    encoder_batch_size: int = Field(32, ge=1, description="texts that the encoder takes at once")
    show_progress_bar: bool = Field(True, description="of the embedding")

    @field_validator("query_prompt", "document_prompt", mode="before")
    @classmethod
    def _text_of_an_encoder(cls, prompt: Any, info: ValidationInfo) -> Any:
        if isinstance(prompt, Mapping):
            raise PydanticCustomError(
                "prompt", "must be a text: put it in quotes, or YAML takes `query: ` for a key"
            )
        if isinstance(prompt, str) and not _is_encodable(prompt):
            raise PydanticCustomError("prompt", "must be a text: it has half a surrogate pair")
        if prompt and str(info.data.get("encoder", "")).startswith("npy:"):
            raise PydanticCustomError(
                "prompt", "must be null where `data.encoder` is npy:, whose vectors are ready"
            )
        return prompt


class ExperimentConfig(Section):
    """Everything that decides the outcome of one training."""

    model: ModelName = "hybrid"
    seed: int = Field(7, ge=0, le=_LARGEST_SEED)
    circuit: CircuitConfig = CircuitConfig()
    mlp: MlpConfig = MlpConfig()
    linear: LinearConfig = LinearConfig()
    fusion: FusionConfig = FusionConfig()
    warmup: WarmupConfig = WarmupConfig()
    loss: LossConfig = LossConfig()
    negatives: NegativesConfig = NegativesConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    data: DataConfig = DataConfig()

    def resolved(self) -> ExperimentConfig:
        """The same with the engine named that `auto` stands for: what a record says was run."""
        if self.circuit.engine != "auto":
            return self
        from quantum_rerank.circuits.choice import fastest_engine

        # A step has a query, a positive and a negative each, or more: about this many texts.
        n_texts = 3 * self.training.batch_size
        engine = fastest_engine(self.circuit.n_qubits, n_texts)
        threads = self.circuit.threads if engine == "statevector" else 1
        circuit = self.circuit.model_copy(update={"engine": engine, "threads": threads})
        return self.model_copy(update={"circuit": circuit})

    def head_arguments(self) -> dict[str, Any]:
        """The part that shapes a model, as plain arguments of `similarity.build_head`."""
        circuit = dict(self.resolved().circuit)
        gate = {"gate": self.fusion.gate, "centroids": self.fusion.centroids}
        return {"model": self.model, **dict(self.mlp), **circuit, **dict(self.linear), **gate}
