"""The schema of one run: frozen sections, bounds beside the fields, unknown keys refused.

The defaults are the numbers of the task that this project grew from; the files
in `configs/` repeat them with a reason beside each, and a test holds the two
equal. A run is configured by one YAML file that may `include:` others, and by
overrides with dotted keys (`{"circuit.n_qubits": 5}`), which is what a search
suggests. Below this module everything takes plain arguments.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from quantum_rerank.errors import ConfigError
from quantum_rerank.yaml_source import Location, YamlSource, load_yaml, nearest

Arm = Literal[
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


class LinearConfig(Section):
    """The arms that are linear maps of the embedding, in the place of an MLP."""

    rank: int = Field(64, ge=1, le=8192)


class FusionConfig(Section):
    """score = (1 - w) cosine + w fidelity.

    Where the loss is on the fused score, w is trained from `initial_weight`; it is
    fitted on validation in any case.
    """

    initial_weight: float = Field(0.5, gt=0.0, lt=1.0)


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
    on: Literal["fused", "fidelity"] = "fidelity"
    margin: float = Field(0.5, ge=0.0, le=2.0)
    temperature: float = Field(0.02, gt=0.0)
    negatives: int = Field(31, ge=1, description="sampled per query; triplet always takes one")
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="of the InfoNCE losses")
    grade_temperature: float = Field(0.1, gt=0.0, description="of listnet's target")
    spread_weight: float = Field(0.0, ge=0.0, description="of a term against saturation")
    spread_target: float = Field(0.05, ge=0.0, le=0.5, description="of affinities, their deviation")
    views_weight: float = Field(
        0.0, ge=0.0, le=10.0, description="of texts under two dropout masks"
    )
    views_temperature: float = Field(0.05, gt=0.0)


class NegativesConfig(Section):
    """Which documents stand against a query; `loss.negatives` says how many are drawn.

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
    circuit_schedule: Literal["same"] | Course = "same"
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
    averaging: float = Field(0.0, ge=0.0, lt=1.0, description="decay an epoch; 0 for none")
    max_batch_documents: int = Field(1500, ge=2)
    balance: float = Field(0.0, ge=0.0, le=1.0, description="1: every domain equally often")
    difficulty: float = Field(0.0, ge=0.0, le=1.0, description="1: queries drawn by past loss")
    embedding_noise: float = Field(0.0, ge=0.0, le=1.0, description="its length; texts have 1")
    objective: Literal["ndcg@10", "mrr@10", "map"] = "ndcg@10"


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
    encoder: str = Field("minilm", min_length=1)


class ExperimentConfig(Section):
    """Everything that decides the outcome of one training."""

    arm: Arm = "hybrid"
    seed: int = Field(7, ge=0)
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
        return override(self, {"circuit.engine": engine, "circuit.threads": threads})

    def head_arguments(self) -> dict[str, Any]:
        """The part that shapes a model, as plain arguments of `similarity.build_head`."""
        circuit = dict(self.resolved().circuit)
        return {"arm": self.arm, **dict(self.mlp), **circuit, **dict(self.linear)}


def load_config(
    path: Path | None,
    overrides: Mapping[str, Any] | None = None,
    places: Mapping[str, str] | None = None,
) -> ExperimentConfig:
    """Read a configuration file, its includes and the overrides given by dotted keys.

    places: override -> where it was written, for the errors.
    Raises: ConfigError with every mistake of every file, each with file and line.
    """
    sources = list(_with_includes(path, ())) if path else []
    values = ExperimentConfig().model_dump(mode="json")
    for source in sources:
        values = _merge(values, source.values)
    values.pop("include", None)
    given = {key: (places or {}).get(key, "given as an override") for key in overrides or {}}
    return build_config(apply_overrides(values, overrides or {}), sources, given)


def build_config(
    values: Mapping[str, Any],
    sources: Sequence[YamlSource] = (),
    overridden: Mapping[str, str] | None = None,
) -> ExperimentConfig:
    """Check plain values against the schema, naming the places they came from.

    overridden: dotted keys whose values came from no source, and where they came from.
    """
    try:
        return ExperimentConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(describe(error, ExperimentConfig, sources, overridden)) from None


def override(config: ExperimentConfig, overrides: Mapping[str, Any]) -> ExperimentConfig:
    """Return `config` with some values replaced, checked as a file would be.

    >>> override(ExperimentConfig(), {"circuit.n_qubits": 5}).circuit.n_qubits
    5
    """
    return build_config(apply_overrides(config.model_dump(mode="json"), overrides))


def parse_override(text: str) -> tuple[str, Any]:
    """Read `KEY=VALUE` as given on a command line, the value as YAML.

    >>> parse_override("mlp.hidden_layers=[64]")
    ('mlp.hidden_layers', [64])
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    key, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"`{text}` must have the form KEY=VALUE.")
    if key not in config_keys():
        raise ConfigError(f"`{key}` is not a known key. {nearest(key, config_keys())}")
    try:
        return key, YAML(typ="safe", pure=True).load(value)
    except YAMLError:
        raise ConfigError(f"`{text}`: the value is not valid YAML.") from None


def apply_overrides(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Set dotted keys in nested values.

    A list is set element by element (`mlp.hidden_layers.0`), after its
    pseudo-key `length`, if given, has cut it or filled it up with its last element.

    >>> apply_overrides({"mlp": {"hidden_layers": [256, 128]}},
    ...                 {"mlp.hidden_layers.length": 1, "mlp.hidden_layers.0": 64})
    {'mlp': {'hidden_layers': [64]}}
    """
    result: dict[str, Any] = copy.deepcopy(dict(values))
    lengths_first = sorted(overrides.items(), key=lambda item: not item[0].endswith(".length"))
    for key, value in lengths_first:
        *parents, last = key.split(".")
        node: Any = result
        try:
            for parent in parents:
                node = node[int(parent)] if isinstance(node, list) else node.setdefault(parent, {})
            _set(node, last, value)
        except (IndexError, ValueError, TypeError, AttributeError):
            raise ConfigError(f"`{key}` cannot be set: there is no such place.") from None
    return result


def _set(node: Any, key: str, value: Any) -> None:
    """Set one key of a mapping, or one element or the length of a list."""
    if not isinstance(node, list):
        node[key] = value
    elif key == "length":
        node[:] = (node + (node[-1:] or [None]) * value)[:value]
    else:
        node[int(key)] = value


def flat(config: ExperimentConfig) -> dict[str, bool | int | float | str]:
    """A configuration as dotted keys with plain values, lists as length and elements.

    >>> keys = flat(ExperimentConfig())
    >>> keys["mlp.hidden_layers.length"], keys["mlp.hidden_layers.0"], keys["data.encoder"]
    (2, 256, 'minilm')
    """
    values: dict[str, bool | int | float | str] = {}

    def add(prefix: str, node: Any) -> None:
        if isinstance(node, list):
            values[f"{prefix}.length"] = len(node)
            node = dict(enumerate(node))
        if isinstance(node, dict):
            for key, value in node.items():
                add(f"{prefix}.{key}" if prefix else str(key), value)
        else:
            values[prefix] = node

    add("", config.model_dump(mode="json"))
    return values


def config_keys(model: type[BaseModel] = ExperimentConfig, prefix: str = "") -> list[str]:
    """List every dotted key of the schema.

    >>> config_keys()[:3]
    ['arm', 'seed', 'circuit.n_qubits']
    """
    keys: list[str] = []
    for name, field in model.model_fields.items():
        section = _section_of(field.annotation)
        keys += config_keys(section, f"{prefix}{name}.") if section else [f"{prefix}{name}"]
    return keys


def describe(
    error: ValidationError,
    model: type[BaseModel],
    sources: Sequence[YamlSource],
    overridden: Mapping[str, str] | None = None,
) -> list[str]:
    """Turn pydantic's findings into sentences: value, rule, place and the nearest valid key."""
    return [_sentence(found, model, sources, overridden or {}) for found in error.errors()]


def _sentence(
    finding: Any,
    model: type[BaseModel],
    sources: Sequence[YamlSource],
    overridden: Mapping[str, str],
) -> str:
    location: Location = finding["loc"]
    key = ".".join(str(part) for part in location)
    place = _place(location, sources, overridden)
    if finding["type"] == "extra_forbidden":
        parent = _model_at(model, location[:-1])
        return f"`{key}` is not a known key{place}. {nearest(str(location[-1]), parent)}"
    if finding["type"] == "missing":
        return f"`{key}` is missing{place}, but is required."
    rule = finding["msg"].replace("Input should be", "must be", 1)
    if not rule.startswith("must be"):
        rule = f"is refused: {rule}"
    return f"`{key}` is {finding['input']!r}, but {rule}{place}."


def _place(location: Location, sources: Sequence[YamlSource], overridden: Mapping[str, str]) -> str:
    """Where a value was given: as an override, or in the last file that names it or its parent."""
    above = [location[:length] for length in range(len(location), 0, -1)]
    for part in above:
        if given := overridden.get(".".join(str(step) for step in part)):
            return f" ({given})"
        for source in reversed(sources):
            if part in source.lines:
                return f" ({source.at(part)})"
    return f" ({sources[-1].at(())})" if sources else ""


def _model_at(model: type[BaseModel], location: Location) -> list[str]:
    """The valid keys of the section at a location."""
    for part in location:
        field = model.model_fields.get(str(part))
        section = _section_of(field.annotation) if field else None
        if section is None:
            break
        model = section
    return list(model.model_fields)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _with_includes(path: Path, seen: tuple[Path, ...]) -> Iterator[YamlSource]:
    """Yield the included files first, so that the including file has the last word."""
    source = load_yaml(path)
    included = source.values.get("include", [])
    if not isinstance(included, list):
        raise ConfigError(f"`include` must be a list of files ({source.at(('include',))}).")
    for name in included:
        child = path.parent / str(name)
        if child.resolve() in (*seen, path.resolve()):
            raise ConfigError(f"`{child}` includes itself ({source.at(('include',))}).")
        yield from _with_includes(child, (*seen, path.resolve()))
    yield source


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged
