"""One model, trained to its end without a search around it, and its standing on test queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation import Scores
from quantum_rerank.evaluation.ranking import score_affinities, score_on
from quantum_rerank.similarity import FUSION_GRID, MODELS, Head, build_head
from quantum_rerank.training.checkpoint_file import CheckpointFile, resumable_epochs
from quantum_rerank.training.hybrid_trainer import make_descendant
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.trainer import EpochReport
from quantum_rerank.training.trial_data import PreparedData, TrialData
from quantum_rerank.training.validation import Validation, Validator

LEXICAL_MODELS: dict[str, tuple[float, ...]] = {"bm25": (1.0,), "bm25_cosine": FUSION_GRID}
"""Baselines that read texts, with the fusion weights that each may choose from.

What BM25 alone does not tell apart stays in the cosine's order.
"""


@dataclass(frozen=True)
class TrainedModel:
    """The best epoch of a training: `head` holds its weights.

    history: per epoch, what was reported of it.
    """

    config: ExperimentConfig
    head: Head
    validation: Validation
    best_epoch: int
    history: tuple[dict[str, float], ...]

    @property
    def epochs(self) -> int:
        """The last epoch that was trained; those of a donor before it count."""
        return int(self.history[-1]["epoch"])


def as_model(config: ExperimentConfig, model: str) -> ExperimentConfig:
    """Another model with the same numbers, and with as many outputs of the MLP.

    What has no circuit goes by the circuit's angles; but `hybrid_amplitude` has amplitudes, a
    real and an imaginary part of each. Where `mlp.outputs` is set, it stays.

    >>> six = override(ExperimentConfig(), {"model": "hybrid_amplitude", "circuit.n_qubits": 6})
    >>> as_model(six, "mlp_twin").mlp.outputs, as_model(ExperimentConfig(), "mlp_twin").mlp.outputs
    (128, 0)
    """
    if model == config.model:
        return config
    outputs = config.mlp.outputs
    if config.model == "hybrid_amplitude" and not outputs:
        outputs = 2 * 2**config.circuit.n_qubits
    return override(config, {"model": model, "mlp.outputs": outputs})


def untrained_head(config: ExperimentConfig, model: str, data: TrialData) -> Head:
    """The head of a model for these data, otherwise as in `config`, as its weights are drawn."""
    return build_head(embedding_dim=data.embedding_dim, **as_model(config, model).head_arguments())


def _to_train(config: ExperimentConfig, model: str) -> ExperimentConfig:
    config = as_model(config, model)
    if model == "cosine":  # has nothing to learn
        config = override(config, {"training.max_epochs": 1, "warmup.steps": 0})
    return config.resolved()


def train_model(
    config: ExperimentConfig,
    model: str,
    data: TrialData,
    watch: Callable[[EpochReport], None] = lambda _: None,
    before: Sequence[tuple[ExperimentConfig, int]] = (),
    progress: CheckpointFile | None = None,
) -> TrainedModel:
    """Train `model` with everything else as in `config`; `watch` sees every epoch.

    before: what has trained its weights until then, as of `make_descendant`.
    progress: where it is written down, and gone on from if something is there already.
    """
    config = _to_train(config, model)
    if model == "cosine":  # its one epoch would come after theirs
        before = ()
    ancestors = [(_to_train(one, model), last) for one, last in before]
    trainer = make_descendant(config, ancestors, data)
    history = []
    for report in resumable_epochs(trainer, progress, config) if progress else trainer.epochs():
        history.append({"epoch": report.epoch, **report.metrics})
        watch(report)
    assert trainer.best is not None
    head = trainer.model.head
    head.load_state_dict(trainer.best.head)
    best = trainer.best
    return TrainedModel(config, head.eval(), best.validation, best.epoch, tuple(history))


@dataclass(frozen=True)
class MeasuredModel:
    """A model's standing: its best epoch chosen on validation, then scored once on test.

    test: role (`test`, `unseen_test`) -> scores.
    trained: None where there is nothing to train, and no model to export.
    """

    validation: Validation
    test: Mapping[str, Scores]
    n_trained: int
    epochs: int
    trained: TrainedModel | None


def check_model_names(names: Sequence[str]) -> list[str]:
    """Check names of models, the lexical ones too; `all` stands for every one.

    Raises: ConfigError for a name that is none.
    """
    known = [*MODELS, *LEXICAL_MODELS]
    unknown = [name for name in names if name not in (*known, "all")]
    if unknown:
        raise ConfigError([f"`{name}` is no model. Known: {', '.join(known)}." for name in unknown])
    return known if "all" in names else list(names)


def measure_model(
    config: ExperimentConfig,
    model: str,
    prepared: PreparedData,
    bm25: Bm25,
    watch: Callable[[EpochReport], None] = lambda _: None,
    progress: CheckpointFile | None = None,
) -> MeasuredModel:
    """Train any model with everything else as in `config`, the seed too, and score it on test.

    progress: as of `train_model`.
    """
    if model in LEXICAL_MODELS:
        return _measured_lexical(config, LEXICAL_MODELS[model], prepared, bm25)
    trained = train_model(config, model, prepared.trial, watch, progress=progress)
    weight = trained.validation.fusion_weight
    test = {
        role: score_on(trained.head, weight, sets) for role, sets in prepared.test_roles.items()
    }
    return MeasuredModel(trained.validation, test, trained.head.n_trained, trained.epochs, trained)


def _measured_lexical(
    config: ExperimentConfig, weights: Sequence[float], prepared: PreparedData, bm25: Bm25
) -> MeasuredModel:
    seen, unseen = prepared.trial.validation_in_domain, prepared.trial.validation_out_of_domain
    validator = Validator(seen, unseen, config.training.objective)
    validation = validator.of(list(map(bm25.affinities, (*seen, *unseen))), weights)
    test = {
        role: score_affinities(list(map(bm25.affinities, sets)), validation.fusion_weight, sets)
        for role, sets in prepared.test_roles.items()
    }
    return MeasuredModel(validation, test, n_trained=0, epochs=0, trained=None)


def train_weights(
    config: ExperimentConfig,
    before: Sequence[tuple[ExperimentConfig, int]],
    model: str,
    data: TrialData,
) -> tuple[dict[str, Tensor], float]:
    """Train `model` on one thread; return its weights and fusion weight for another process."""
    torch.set_num_threads(1)
    trained = train_model(config, model, data, before=before)
    return trained.head.state_dict(), trained.validation.fusion_weight
