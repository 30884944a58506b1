from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.similarity import build_head
from quantum_rerank.training.config import DiscriminantConfig
from quantum_rerank.training.discriminant import discriminant, start_from_discriminant
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.models import train_model
from quantum_rerank.training.trial_data import TrialData

DIM, N_QUERIES, N_CANDIDATES = 12, 60, 15
WITH_MLP = ("hybrid", "product_circuit", "hybrid_amplitude", "mlp_twin", "rbf")
STARTED = {"mlp.linear_path": "discriminant", "warmup.steps": 0}


def query_set(useful: int = 3, seed: int = 0) -> QuerySet:
    """Return queries whose answers share their first numbers, among candidates that do not."""
    rng = np.random.default_rng(seed)
    queries = rng.standard_normal((N_QUERIES, DIM)).astype(np.float32)
    documents = rng.standard_normal((N_QUERIES * N_CANDIDATES, DIM)).astype(np.float32)
    candidates = np.arange(len(documents)).reshape(N_QUERIES, N_CANDIDATES)
    documents[candidates[:, 0], :useful] = queries[:, :useful]
    grades = np.zeros((N_QUERIES, N_CANDIDATES), np.int32)
    grades[:, 0] = 1
    return QuerySet(
        domain="beir:park",
        query_ids=tuple(map(str, range(N_QUERIES))),
        document_ids=tuple(map(str, range(len(documents)))),
        queries=queries,
        documents=documents,
        candidates=candidates,
        cosine=np.zeros((N_QUERIES, N_CANDIDATES), np.float32),
        grades=grades,
        qrels={str(i): {str(candidates[i, 0]): 1} for i in range(N_QUERIES)},
        positives=tuple(candidates[:, :1]),
    )


def config(**changes: float) -> DiscriminantConfig:
    return DiscriminantConfig(**{"shrinkage": 0.01, **changes})


def test_directions_that_tell_answers_from_negatives_come_first() -> None:
    rows = discriminant([query_set(useful=3)], config())
    power = np.square(rows)
    assert power[:3, :3].sum() > 0.9 * power[:3].sum()
    assert power[:3].sum() > power[3:].sum()


def test_the_map_is_that_of_the_formula() -> None:
    queries = query_set()
    x, documents = queries.queries.astype(np.float64), queries.documents
    answers = x - documents[queries.candidates[:, 0]]
    negatives = x[:, None] - documents[queries.candidates[:, 1:6]]
    within = np.einsum("qi,qj->ij", answers, answers) / N_QUERIES
    between = np.einsum("qni,qnj->ij", negatives, negatives) / (5 * N_QUERIES)
    within += 0.3 * np.trace(within) / DIM * np.eye(DIM)
    rows = discriminant([queries], config(shrinkage=0.3, power=1.0, negatives=5))
    # Of generalised eigenvectors v of N v = l W v, the map is l v^T, up to its length.
    for row in rows[:4]:
        left, right = between @ row, within @ row
        assert np.allclose(left / np.linalg.norm(left), right / np.linalg.norm(right), atol=1e-8)
    lengths = np.square(x @ rows.T).sum(axis=1)
    assert lengths.mean() == pytest.approx(1.0)


def test_a_second_computation_and_another_order_give_the_same_signs() -> None:
    queries = query_set()
    assert np.array_equal(discriminant([queries], config()), discriminant([queries], config()))
    rows = discriminant([queries], config())
    largest = np.argmax(np.abs(rows), axis=1)
    assert (rows[np.arange(DIM), largest] > 0.0).all()


def test_queries_without_negatives_or_answers_leave_a_finite_map() -> None:
    queries = query_set()
    relevant = replace(queries, grades=np.ones_like(queries.grades))
    same = replace(queries, documents=np.repeat(queries.queries, N_CANDIDATES, axis=0))
    nowhere = replace(queries, positives=tuple(np.empty(0, np.int64) for _ in range(N_QUERIES)))
    for unusual in (relevant, same, nowhere):
        rows = discriminant([unusual], config())
        assert np.isfinite(rows).all()
        assert np.abs(rows).max() > 0.0


@pytest.mark.parametrize("model", WITH_MLP)
def test_a_model_with_a_linear_path_starts_as_the_map(model: str) -> None:
    of_model = override(ExperimentConfig(), {"model": model, **STARTED, "mlp.outputs": 8})
    head = build_head(of_model.resolved(), DIM)
    queries = query_set()
    start_from_discriminant(head, [queries], of_model.discriminant)
    ((linear, length),) = head.discriminants()
    rows = discriminant([queries], of_model.discriminant)
    n = min(len(linear), DIM)
    assert np.allclose(linear.detach().numpy()[:n], length * rows[:n], atol=1e-6)
    assert not linear[n:].any()
    layers = head.predictor.layers if hasattr(head, "predictor") else head.layers
    texts = torch.from_numpy(queries.queries)
    assert torch.allclose(layers.eval()(texts), texts @ linear.T, atol=1e-6)


def test_the_bandwidth_of_a_gaussian_kernel_follows_the_map() -> None:
    of_model = override(ExperimentConfig(), {"model": "rbf", **STARTED})
    head = build_head(of_model, DIM)
    queries = query_set()
    start_from_discriminant(head, [queries], of_model.discriminant)
    represented = head.eval().represent(torch.from_numpy(queries.queries)).detach()
    assert float(torch.pdist(represented).median()) == pytest.approx(1.0, abs=1e-5)


def test_the_discriminant_is_a_model_without_training(trial_data: TrialData) -> None:
    of_model = override(ExperimentConfig(), {"linear.rank": 4})
    trained = train_model(of_model, "discriminant", trial_data)
    rows = discriminant(trial_data.train, of_model.discriminant)
    assert np.allclose(trained.head.state_dict()["projection"].numpy(), rows[:4], atol=1e-6)
    assert trained.epochs == 1
    assert trained.head.n_trained == 0


def test_a_model_that_starts_as_the_discriminant_is_not_warmed_up(trial_data: TrialData) -> None:
    small = {"model": "mlp_twin", "mlp.hidden_layers": [8], "training.max_epochs": 1}
    started = override(ExperimentConfig(), {**small, "mlp.linear_path": "discriminant"})
    weights = []
    for steps in (0, 50):
        trainer = make_trainer(override(started, {"warmup.steps": steps}), trial_data)
        list(trainer.epochs())
        weights.append(trainer.model.head.state_dict())
    first, second = weights
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("changes", [{"model": "discriminant"}, STARTED])
def test_a_discriminant_of_very_wide_embeddings_is_refused(changes: dict[str, str]) -> None:
    wide = override(ExperimentConfig(), {"circuit.n_qubits": 2, **changes}).resolved()
    with pytest.raises(ConfigError, match=r"5,000 dimensions.*4,096 at most.*linear_path: none"):
        build_head(wide, 5000)
    build_head(override(wide, {"model": "mlp_twin", "mlp.linear_path": "none"}), 5000)
