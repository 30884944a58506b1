"""What every arm must do, and what each of them is for."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from quantum_rerank.circuits import ENGINES
from quantum_rerank.circuits.ansatz import ENTANGLERS
from quantum_rerank.config import Arm
from quantum_rerank.similarity import Head, build_head

ARMS: tuple[str, ...] = get_args(Arm)

every_arm = pytest.mark.parametrize("arm", ARMS)


def head(arm: str, seed: int = 0) -> Head:
    torch.manual_seed(seed)
    return build_head(arm, 16, (12, 8), 0.1, 4, 3, "cnot_chain", "lightning.qubit")


def texts(n: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(n, 16, generator=torch.Generator().manual_seed(seed)), dim=1)


@every_arm
def test_every_arm_represents_texts_and_compares_them_in_pairs(arm: str) -> None:
    one = head(arm).eval()
    queries, documents = one.represent(texts(3)), one.represent(texts(5, seed=1))
    assert queries.shape == (3, documents.shape[1])
    affinity = one.compare(queries, documents)
    assert affinity.shape == (3, 5)
    assert affinity.is_floating_point()


@every_arm
def test_every_arm_compares_each_query_with_documents_of_its_own(arm: str) -> None:
    one = head(arm).eval()
    queries, documents = one.represent(texts(3)), one.represent(texts(6, seed=1))
    near = documents.reshape(3, 2, -1)
    found = one.compare(queries[:, None, :], near)
    assert found.shape == (3, 1, 2)
    for i in range(3):
        torch.testing.assert_close(found[i], one.compare(queries[i : i + 1], near[i]))


@every_arm
def test_a_text_has_affinity_one_with_itself_and_at_most_one_with_others(arm: str) -> None:
    one = head(arm).eval()
    states = one.represent(texts(6))
    affinity = one.compare(states, states).double()
    torch.testing.assert_close(affinity.diagonal(), torch.ones(6).double(), rtol=0, atol=1e-5)
    assert affinity.max() <= 1.0 + 1e-5
    torch.testing.assert_close(affinity, affinity.T, rtol=0, atol=1e-6)


@every_arm
def test_the_same_seed_builds_the_same_head(arm: str) -> None:
    first, again, other = (head(arm, seed).eval() for seed in (0, 0, 1))
    states = first.represent(texts(2))
    assert torch.equal(states, again.represent(texts(2)))
    assert arm == "cosine" or not torch.equal(states, other.represent(texts(2)))


@every_arm
def test_a_head_s_weights_carry_over_to_another_by_its_state(arm: str) -> None:
    first, other = head(arm, seed=0).eval(), head(arm, seed=1).eval()
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.represent(texts(2)), other.represent(texts(2)))


@every_arm
def test_every_parameter_belongs_to_one_of_the_two_groups(arm: str) -> None:
    one = head(arm)
    circuit = [id(p) for p in one.circuit_parameters()]
    classical = [id(p) for p in one.classical_parameters()]
    assert sorted(circuit + classical) == sorted(id(p) for p in one.parameters())


@every_arm
def test_every_parameter_gets_a_gradient_through_the_affinity(arm: str) -> None:
    one = head(arm).eval()
    states = one.represent(texts(8))
    weights = torch.randn(8, 8, generator=torch.Generator().manual_seed(5))
    loss = (one.compare(states, states) * weights).sum()
    for name, parameter in one.named_parameters():
        (gradient,) = torch.autograd.grad(loss, parameter, retain_graph=True)
        assert gradient.abs().max() > 1e-6, name


def test_the_twin_has_the_hybrid_s_trunk_and_nothing_else() -> None:
    hybrid, twin = head("hybrid"), head("mlp_twin")
    trunk = {name: p.shape for name, p in hybrid.predictor.layers.named_parameters()}
    assert {name: p.shape for name, p in twin.layers.named_parameters()} == trunk
    assert not twin.circuit_parameters()
    n_classical = sum(p.numel() for p in hybrid.classical_parameters())
    assert sum(p.numel() for p in twin.parameters()) == n_classical


def test_quantum_only_trains_nothing_classical() -> None:
    one = head("quantum_only")
    assert not one.classical_parameters()
    assert one.circuit_parameters()
    assert "projection" in one.state_dict()


def test_quantum_only_turns_by_about_one_radian() -> None:
    torch.manual_seed(0)
    wide = build_head("quantum_only", 64, (), 0.0, 4, 3, "cnot_chain", "lightning.qubit")
    vectors = normalize(torch.randn(500, 64), dim=1)
    assert 0.9 < (vectors @ wide.projection.T).std().item() < 1.1


def test_cosine_trains_nothing_and_is_the_cosine() -> None:
    one = head("cosine")
    assert not list(one.parameters())
    queries, documents = texts(3), texts(5, seed=1)
    found = one.compare(one.represent(7 * queries), one.represent(documents))
    torch.testing.assert_close(found, queries @ documents.T)


def test_hybrid_and_quantum_only_run_the_same_circuit() -> None:
    hybrid, alone = head("hybrid"), head("quantum_only")
    shapes = [p.shape for p in hybrid.circuit_parameters()]
    assert [p.shape for p in alone.circuit_parameters()] == shapes
    assert hybrid.represent(texts(2)).shape == alone.represent(texts(2)).shape == (2, 16)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("arm", ["hybrid", "quantum_only"])
def test_single_precision_changes_affinities_by_no_more_than_rounding(arm: str, name: str) -> None:
    def built(precision: str) -> Head:
        torch.manual_seed(0)
        return build_head(arm, 16, (12,), 0.1, 4, 3, "cnot_chain", name, precision).eval()

    exact, single = built("float64"), built("float32")
    states = single.represent(texts(6))
    assert states.dtype == torch.complex64
    assert single.compare(states, states).dtype == torch.float32
    reference = exact.represent(texts(6))
    torch.testing.assert_close(
        single.compare(states, states).double(),
        exact.compare(reference, reference),
        rtol=0,
        atol=5e-6,
    )


class Represent(nn.Module):
    """The part of a head that is run once per text, as a module of its own."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.head.represent(embeddings)


def torch_head(entangler: str) -> Head:
    torch.manual_seed(0)
    return build_head("hybrid", 16, (8,), 0.1, 3, 2, entangler, "torch").eval()


@pytest.mark.parametrize("entangler", ENTANGLERS)
def test_a_hybrid_of_plain_torch_can_be_exported(entangler: str) -> None:
    one = torch_head(entangler)
    program = torch.export.export(Represent(one), (texts(4),)).module()
    again = texts(4, seed=1)
    torch.testing.assert_close(program(again), one.represent(again))


@pytest.mark.parametrize("entangler", ENTANGLERS)
def test_an_exported_hybrid_takes_any_number_of_texts(entangler: str) -> None:
    one = torch_head(entangler)
    any_number = {"embeddings": {0: torch.export.Dim("texts")}}
    exported = torch.export.export(Represent(one), (texts(4),), dynamic_shapes=any_number)
    program = exported.module()
    for n in (1, 2, 7):
        torch.testing.assert_close(program(texts(n)), one.represent(texts(n)))


def test_an_unknown_arm_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="Known: hybrid, mlp_twin, quantum_only, cosine"):
        head("leg")
