"""What every model must do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from quantum_rerank.config import (
    CircuitConfig,
    ExperimentConfig,
    LinearConfig,
    MlpConfig,
)
from quantum_rerank.similarity import MODELS, Head, build_head

# Queries and documents are mapped each by a matrix of their own.
ONE_WAY = ("low_rank_bilinear",)

every_model = pytest.mark.parametrize("model", MODELS)
every_symmetric_model = pytest.mark.parametrize(
    "model", [model for model in MODELS if model not in ONE_WAY]
)


def head(model: str, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    return build_head(
        ExperimentConfig(
            model=model,
            circuit=CircuitConfig(n_qubits=4, n_layers=3),
            mlp=MlpConfig(hidden_layers=(12, 8), dropout=0.1),
            linear=LinearConfig(rank=5),
        ),
        16,
    )


def texts(n: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(n, 16, generator=torch.Generator().manual_seed(seed)), dim=1)


def trained(head: Head) -> dict[str, nn.Parameter]:
    return {name: p for name, p in head.named_parameters() if p.requires_grad}


@every_model
def test_every_model_represents_texts_and_compares_them_in_pairs(model: str) -> None:
    one = head(model).eval()
    queries, documents = one.represent(texts(3)), one.represent(texts(5, seed=1))
    assert queries.shape == (3, documents.shape[1])
    affinity = one.compare(queries, documents)
    assert affinity.shape == (3, 5)
    assert affinity.is_floating_point()


@every_model
def test_every_model_compares_each_query_with_documents_of_its_own(model: str) -> None:
    one = head(model).eval()
    queries, documents = one.represent(texts(3)), one.represent(texts(6, seed=1))
    near = documents.reshape(3, 2, -1)
    found = one.compare(queries[:, None, :], near)
    assert found.shape == (3, 1, 2)
    for i in range(3):
        torch.testing.assert_close(found[i], one.compare(queries[i : i + 1], near[i]))


@every_model
def test_no_affinity_is_above_one_or_below_minus_one(model: str) -> None:
    one = head(model).eval()
    queries, documents = one.represent(100 * texts(20)), one.represent(texts(20, seed=1))
    assert one.compare(queries, documents).abs().max() <= 1.0 + 1e-5


@every_symmetric_model
def test_a_text_has_affinity_one_with_itself_and_the_same_either_way_round(model: str) -> None:
    one = head(model).eval()
    states = one.represent(texts(6))
    affinity = one.compare(states, states).double()
    torch.testing.assert_close(affinity.diagonal(), torch.ones(6).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(affinity, affinity.T, rtol=0, atol=1e-6)


@every_model
def test_a_text_is_represented_the_same_in_whatever_batch(model: str) -> None:
    one = head(model).eval()
    together = one.represent(texts(6))
    for row, text in enumerate(texts(6)):
        alone = one.represent(text[None])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-6)


@every_model
def test_an_untrained_model_tells_texts_apart(model: str) -> None:
    # Where every affinity were the same, training would have nothing to start from.
    one = head(model).eval()
    affinity = one.compare(one.represent(texts(20)), one.represent(texts(20, seed=1)))
    assert affinity.std() > 1e-3


@every_model
def test_the_same_seed_builds_the_same_head(model: str) -> None:
    first, again, other = (head(model, seed).eval() for seed in (0, 0, 1))
    states = first.represent(texts(2))
    assert torch.equal(states, again.represent(texts(2)))
    assert model in ("cosine", "discriminant") or not torch.equal(states, other.represent(texts(2)))


@every_model
def test_a_head_s_weights_carry_over_to_another_by_its_state(model: str) -> None:
    first, other = head(model, seed=0).eval(), head(model, seed=1).eval()
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.represent(texts(2)), other.represent(texts(2)))


@every_model
def test_every_trained_weight_belongs_to_one_of_the_two_groups(model: str) -> None:
    one = head(model)
    circuit = [id(p) for p in one.circuit_parameters()]
    classical = [id(p) for p in one.classical_parameters()]
    assert sorted(circuit + classical) == sorted(id(p) for p in trained(one).values())
    assert one.n_trained == sum(p.numel() for p in trained(one).values())


@every_model
def test_every_trained_weight_gets_a_gradient_through_the_affinity(model: str) -> None:
    one = head(model).eval()
    states = one.represent(texts(8))
    weights = torch.randn(8, 8, generator=torch.Generator().manual_seed(5))
    loss = (one.compare(states, states) * weights).sum()
    for name, parameter in trained(one).items():
        (gradient,) = torch.autograd.grad(loss, parameter, retain_graph=True)
        assert gradient.abs().max() > 1e-6, name


# Of embeddings of 16 dimensions, layers of 12 and 8, and 24 outputs; then the circuit's 24
# scales and 20 shifts.
TRUNK = (16 * 12 + 12) + (12 * 8 + 8)
OUTPUTS = 8 * 24 + 24


@pytest.mark.parametrize(
    ("model", "count"),
    [
        ("hybrid", TRUNK + OUTPUTS + 44),
        ("hybrid_amplitude", TRUNK + 8 * 32 + 32),  # two parts of each of 16 amplitudes
        ("product_circuit", TRUNK + OUTPUTS + 44),
        ("frozen_circuit", TRUNK + OUTPUTS),
        ("quantum_only", 44),
        ("mlp_twin", TRUNK + OUTPUTS),
        ("rbf", TRUNK + OUTPUTS + 1),
        ("linear_projection", 16 * 5),
        ("low_rank_bilinear", 2 * 16 * 5),
        ("discriminant", 0),
        ("cosine", 0),
    ],
)
def test_the_trained_weights_of_a_model_are_counted_by_hand(model: str, count: int) -> None:
    assert head(model).n_trained == count


class Represent(nn.Module):
    """The part of a head that is run once per text, as a module of its own."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.head.represent(embeddings)


def torch_head(entangler: str, model: str = "hybrid") -> Head:
    torch.manual_seed(0)
    return build_head(
        ExperimentConfig(
            model=model,
            circuit=CircuitConfig(n_qubits=3, n_layers=2, entangler=entangler, engine="torch"),
            mlp=MlpConfig(hidden_layers=(8,), dropout=0.1),
        ),
        16,
    ).eval()


@every_model
def test_every_model_of_plain_torch_can_be_exported(model: str) -> None:
    one = torch_head("cnot_chain", model)
    program = torch.export.export(Represent(one), (texts(4),)).module()
    torch.testing.assert_close(program(texts(4, seed=1)), one.represent(texts(4, seed=1)))


@pytest.mark.parametrize("entangler", ["zz_ring", "none"])
def test_an_exported_hybrid_takes_any_number_of_texts(entangler: str) -> None:
    one = torch_head(entangler)
    any_number = {"embeddings": {0: torch.export.Dim("texts")}}
    exported = torch.export.export(Represent(one), (texts(4),), dynamic_shapes=any_number)
    program = exported.module()
    for n in (1, 2, 7):
        torch.testing.assert_close(program(texts(n)), one.represent(texts(n)))


def test_an_unknown_model_lists_all_models() -> None:
    names = "'hybrid', 'hybrid_amplitude', 'product_circuit'"
    with pytest.raises(ValueError, match=f"must be one of {names}"):
        head("leg")
