"""Every model with every loss, from its configuration, on data as the search shares it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from quantum_rerank.circuits import ENGINES
from quantum_rerank.config import ExperimentConfig
from quantum_rerank.embeddings.mapped import open_mapped
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.similarity import MODELS
from quantum_rerank.training.best_model import best_model_bytes, read_best_model
from quantum_rerank.training.config import LOSSES
from quantum_rerank.training.hybrid_trainer import make_descendant, make_trainer
from quantum_rerank.training.trial_data import TrialData
from quantum_rerank.training.validation import GATE_HIGH, Validator


@pytest.fixture
def shared(trial_data: TrialData) -> TrialData:
    """The same data in read-only arrays, as an object store of many processes gives them."""
    copied = deepcopy(trial_data)
    for queries in (*copied.train, *copied.validation):
        arrays = (queries.queries, queries.documents, queries.candidates, queries.cosine)
        for array in (*arrays, *queries.positives):
            array.flags.writeable = False
    return copied


# Every model with every loss; the score of the loss alternates.
COMBINATIONS = [
    (model, loss, ("fidelity", "fused")[(i + j) % 2])
    for i, model in enumerate(MODELS)
    for j, loss in enumerate(LOSSES)
]


@pytest.mark.parametrize(("model", "loss", "score"), COMBINATIONS)
def test_every_model_trains_with_every_loss_on_read_only_arrays(
    shared: TrialData,
    small_config: Callable[..., ExperimentConfig],
    model: str,
    loss: str,
    score: str,
) -> None:
    config = small_config(
        {
            "model": model,
            "loss.name": loss,
            "loss.score": score,
            "warmup.steps": 2,
            "warmup.weight": 0.1,
            "training.max_epochs": 1,
        }
    )
    trainer = make_trainer(config, shared)
    before = {name: t.clone() for name, t in trainer.model.head.named_parameters()}
    (report,) = trainer.epochs()
    assert report.final
    for name, parameter in trainer.model.head.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name


def test_a_corpus_in_a_mapped_file_trains_as_one_in_memory(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig], tmp_path: Path
) -> None:
    def mapped(queries: QuerySet) -> QuerySet:
        path = tmp_path / f"{queries.domain.replace(':', '-')}.npy"
        if not path.exists():
            np.save(path, queries.documents)
        return replace(queries, documents=open_mapped(path))

    on_disk = TrialData(
        *(
            tuple(mapped(queries) for queries in role)
            for role in (
                trial_data.train,
                trial_data.validation_in_domain,
                trial_data.validation_out_of_domain,
            )
        )
    )
    config = small_config(
        {
            "warmup.steps": 3,
            "loss.name": "infonce_candidates",
            "negatives.kind": "semi_hard",
            "negatives.false_negative_margin": 0.1,
        }
    )
    reports = list(make_trainer(config, trial_data).epochs())
    assert list(make_trainer(config, on_disk).epochs()) == reports


@pytest.mark.parametrize("entangler", ["cnot_chain", "zz_ring"])
def test_every_engine_trains_alike(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig], entangler: str
) -> None:
    losses = {}
    for engine in ENGINES:
        config = small_config(
            {
                "circuit.engine": engine,
                "circuit.entangler": entangler,
                "warmup.steps": 2,
                "training.max_epochs": 1,
            }
        )
        losses[engine] = next(make_trainer(config, trial_data).epochs()).metrics["train_loss"]
    for engine, loss in losses.items():
        assert loss == pytest.approx(losses["qnode"], rel=1e-5), engine


@pytest.mark.parametrize("mining", ["random", "hard"])
def test_a_gate_changes_nothing_that_is_drawn_or_trained(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig], mining: str
) -> None:
    losses, weights = [], []
    settings = {
        "warmup.steps": 2,
        "loss.score": "fused",
        "negatives.kind": mining,
        "negatives.pool": 3,
        "negatives.refresh_epochs": 1,
    }
    for gate in ("none", "nearest"):
        config = small_config(settings | {"fusion.gate": gate})
        trainer = make_trainer(config, trial_data)
        losses.append([report.metrics["train_loss"] for report in trainer.epochs()])
        weights.append(list(trainer.model.head.parameters()))
    assert losses[0] == losses[1]
    assert all(map(torch.equal, *weights))


def test_the_best_epoch_s_weights_hold_the_gate_that_was_fitted_to_them(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig]
) -> None:
    config = small_config({"fusion.gate": "nearest", "training.max_epochs": 6})
    trainer = make_trainer(config, trial_data)
    list(trainer.epochs())
    assert trainer.best is not None
    content = best_model_bytes(trainer.best, config, trial_data.embedding_dim)
    head, validation, *_ = read_best_model(content, "it")
    assert head.gate is not None
    assert head.gate.high.item() == validation.metrics[GATE_HIGH]
    n_queries = sum(len(queries.query_ids) for queries in trial_data.train)
    assert head.gate.queries.shape == (n_queries, trial_data.embedding_dim)
    assert (
        Validator(trial_data.validation_in_domain, trial_data.validation_out_of_domain)(head)
        == validation
    )


@pytest.mark.parametrize("model", ["hybrid", "product_circuit", "quantum_only"])
@pytest.mark.parametrize(("start", "factor"), [("full", 1.0), ("near_identity", 0.1)])
def test_the_configuration_decides_where_the_circuit_starts(
    trial_data: TrialData,
    small_config: Callable[..., ExperimentConfig],
    model: str,
    start: str,
    factor: float,
) -> None:
    config = small_config({"model": model, "circuit.start": start, "circuit.angles": "wrapped"})
    (weights,) = make_trainer(config, trial_data).model.head.circuit_parameters()
    assert weights.max().item() == pytest.approx(factor)
    assert next(make_trainer(config, trial_data).epochs()).improved


def test_the_configuration_decides_the_shape_of_the_model(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig]
) -> None:
    config = small_config(
        {"circuit.n_qubits": 3, "circuit.n_layers": 1, "mlp.hidden_layers": [7, 5]}
    )
    model = make_trainer(config, trial_data).model
    shapes = {name: tuple(p.shape) for name, p in model.head.named_parameters()}
    widths = [shape for shape in shapes.values() if len(shape) == 2]
    assert widths == [(7, 16), (5, 7), (2 * 3 * 1, 5)]
    assert shapes["circuit.weights"] == (6 + 3,)
    assert model.weight.item() == pytest.approx(config.fusion.initial_weight)


@pytest.mark.parametrize("last", [2, 5])
def test_a_descendant_goes_on_after_its_ancestor_s_last_epoch_though_that_stops_early(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig], last: int
) -> None:
    def objectives(patience: int) -> list[tuple[int, float]]:
        ancestor = small_config(
            {
                "training.max_epochs": 7,
                "training.early_stopping_patience": patience,
                "training.min_improvement": 1.0,  # an impatient one would end with epoch 3
            }
        )
        config = small_config({"training.max_epochs": 7, "optimizer.mlp_lr": 0.002})
        descendant = make_descendant(config, [(ancestor, last)], trial_data)
        return [(report.epoch, report.metrics["objective"]) for report in descendant.epochs()]

    impatient = objectives(2)
    assert [epoch for epoch, _ in impatient] == list(range(last + 1, 8))
    assert impatient == objectives(100)


def test_the_largest_seed_is_one_that_torch_and_numpy_take(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig]
) -> None:
    assert next(make_trainer(small_config({"seed": 2**63 - 1}), trial_data).epochs()).epoch == 1
