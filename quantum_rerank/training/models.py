"""Training of one model outside of a search, and its scores on test queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation import COSINE, Scores
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import FloatArray, score_affinities, score_on
from quantum_rerank.similarity import FUSION_GRID, MODELS, Head, build_head
from quantum_rerank.training.checkpoint_file import CheckpointFile, resumable_epochs
from quantum_rerank.training.hybrid_trainer import Ancestors, make_descendant
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.trainer import EpochReport
from quantum_rerank.training.trial_data import PreparedData, TrialData
from quantum_rerank.training.validation import Validation, Validator
from quantum_rerank.training.warm_up import WarmUpStore

LEXICAL_MODELS: dict[str, tuple[float, ...]] = {"bm25": (1.0,), "bm25_cosine": FUSION_GRID}
"""Baselines that read texts, with the fusion weights that each may choose from.

Ties of BM25 alone stay in the cosine's order.
"""

FIRST_STAGE = "first_stage"
"""Baseline of `data.lexical`: the lexical score of a model, fused with the cosine alone."""


@dataclass(frozen=True)
class TrainedModel:
    """The best epoch of a training.

    Attributes:
        config: The configuration that was trained.
        head: The model with the weights of the best epoch.
        validation: The validation of the best epoch.
        best_epoch: Number of the best epoch.
        history: The metrics of every epoch.
    """

    config: ExperimentConfig
    head: Head
    validation: Validation
    best_epoch: int
    history: tuple[dict[str, float], ...]

    @property
    def epochs(self) -> int:
        """Number of the last epoch; the epochs of a donor count."""
        return int(self.history[-1]["epoch"])


def as_model(config: ExperimentConfig, model: str) -> ExperimentConfig:
    """Return the configuration of another model with the same numbers and MLP outputs.

    Without `mlp.outputs`, a model without a circuit has as many outputs as the circuit has
    angles. If the configured model has another number, it is set as `mlp.outputs`. The cosine has
    neither a lexical part nor a gate.

    >>> six = override(ExperimentConfig(), {"model": "hybrid_amplitude", "circuit.n_qubits": 6})
    >>> as_model(six, "mlp_twin").mlp.outputs, as_model(ExperimentConfig(), "mlp_twin").mlp.outputs
    (128, 0)
    """
    if model == COSINE:
        config = override(config, {"data.lexical": "none", "fusion.gate": "none"})
    if model == config.model:
        return config
    outputs = config.mlp.outputs
    n_outputs = MODELS[config.model].n_outputs(config)
    if not outputs and n_outputs != config.circuit.ansatz.n_angles:
        outputs = n_outputs
    return override(config, {"model": model, "mlp.outputs": outputs})


def untrained_head(config: ExperimentConfig, model: str, data: TrialData) -> Head:
    """Build the untrained head of a model, otherwise as in `config`, for the width of the data."""
    return build_head(as_model(config, model).resolved(), data.embedding_dim)


def _to_train(config: ExperimentConfig, model: str) -> ExperimentConfig:
    config = as_model(config, model)
    if not MODELS[model].is_trainable:
        config = override(config, {"training.max_epochs": 1, "warmup.steps": 0})
    return config.resolved()


def train_model(
    config: ExperimentConfig,
    model: str,
    data: TrialData,
    watch: Callable[[EpochReport], None] = lambda _: None,
    ancestors: Ancestors = (),
    checkpoint: CheckpointFile | None = None,
    warm_ups: WarmUpStore | None = None,
) -> TrainedModel:
    """Train a model with everything else as in `config`.

    Args:
        config: The configuration of the training.
        model: The model to train.
        data: Training and validation data.
        watch: Called with the report of every epoch, those of its ancestors too.
        ancestors: Configurations that trained the weights before, see `make_descendant`.
        checkpoint: The file that the training is saved to, and resumed from if it exists.
        warm_ups: Warm-ups that are shared with other trainings on the same data.
    """
    config = _to_train(config, model)
    if not MODELS[model].is_trainable:  # its only epoch would come after theirs
        ancestors = ()
    trained_before = [(_to_train(ancestor, model), last) for ancestor, last in ancestors]
    trainer = make_descendant(config, trained_before, data, watch, warm_ups)
    history = []
    epochs = resumable_epochs(trainer, checkpoint, config) if checkpoint else trainer.epochs()
    for report in epochs:
        history.append({"epoch": report.epoch, **report.metrics})
        watch(report)
    assert trainer.best is not None
    head = trainer.model.head
    head.load_state_dict(trainer.best.head)
    best = trainer.best
    return TrainedModel(config, head.eval(), best.validation, best.epoch, tuple(history))


@dataclass(frozen=True)
class MeasuredModel:
    """The scores of a model: its best epoch by validation, then scored once on test.

    Attributes:
        validation: The validation of the best epoch.
        test: Role (`test`, `unseen_test`) -> scores.
        n_trained: Number of trained parameters.
        epochs: Number of epochs.
        trained: The model; None for a baseline without training.
    """

    validation: Validation
    test: Mapping[str, Scores]
    n_trained: int
    epochs: int
    trained: TrainedModel | None


def check_model_names(names: Sequence[str]) -> list[str]:
    """Check names of models, the lexical ones too; `all` stands for every one.

    Raises:
        ConfigError: A name that no model has.
    """
    choices = [*MODELS, *LEXICAL_MODELS]
    unknown = [name for name in names if name not in (*choices, "all")]
    if unknown:
        listed = ", ".join(choices)
        raise ConfigError([f"`{name}` is not a model. Choose from {listed}." for name in unknown])
    return choices if "all" in names else list(names)


def measure_model(
    config: ExperimentConfig,
    model: str,
    prepared: PreparedData,
    bm25: Bm25,
    watch: Callable[[EpochReport], None] = lambda _: None,
    checkpoint: CheckpointFile | None = None,
) -> MeasuredModel:
    """Train any model with everything else as in `config`, the seed too, and score it on test.

    Args:
        config: The configuration of the training.
        model: The model; lexical baselines and FIRST_STAGE are not trained.
        prepared: Training, validation and test data.
        bm25: Scores of the lexical baselines.
        watch: Called with the report of every epoch.
        checkpoint: See `train_model`.
    """
    if model in LEXICAL_MODELS:
        return _measured_lexical(config, LEXICAL_MODELS[model], prepared, bm25.affinities)
    if model == FIRST_STAGE:
        return _measured_lexical(config, FUSION_GRID, prepared, _lexical_scores)
    trained = train_model(config, model, prepared.trial, watch, checkpoint=checkpoint)
    weight = trained.validation.fusion_weight
    test = {
        role: score_on(trained.head, weight, sets) for role, sets in prepared.test_roles.items()
    }
    return MeasuredModel(trained.validation, test, trained.head.n_trained, trained.epochs, trained)


def _measured_lexical(
    config: ExperimentConfig,
    weights: Sequence[float],
    prepared: PreparedData,
    affinities: Callable[[QuerySet], FloatArray],
) -> MeasuredModel:
    seen, unseen = prepared.trial.validation_in_domain, prepared.trial.validation_out_of_domain
    validator = Validator(seen, unseen, config.training.objective)
    validation = validator.of(list(map(affinities, (*seen, *unseen))), weights)
    test = {
        role: score_affinities(list(map(affinities, sets)), validation.fusion_weight, sets)
        for role, sets in prepared.test_roles.items()
    }
    return MeasuredModel(validation, test, n_trained=0, epochs=0, trained=None)


def _lexical_scores(queries: QuerySet) -> FloatArray:
    if queries.lexical is None:
        raise ConfigError(f"`{FIRST_STAGE}` has no lexical score. Set `data.lexical`.")
    return queries.lexical


def train_weights(
    config: ExperimentConfig,
    ancestors: Ancestors,
    model: str,
    warm_ups: WarmUpStore | None,
    data: TrialData,
    watch: Callable[[EpochReport], None] = lambda _: None,
) -> tuple[dict[str, Tensor], float]:
    """Train a model on one thread; return its weights and fusion weight for another process."""
    torch.set_num_threads(1)
    trained = train_model(config, model, data, watch, ancestors, warm_ups=warm_ups)
    return trained.head.state_dict(), trained.validation.fusion_weight
