from __future__ import annotations

import pytest
import torch

from quantum_rerank.similarity import FusedSimilarity, build_head
from quantum_rerank.training.optimizers import OPTIMIZERS, make_optimizer, make_schedule

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def model(arm: str = "hybrid") -> FusedSimilarity:
    torch.manual_seed(0)
    head = build_head(arm, 6, (5,), 0.0, 2, 2, "zz_ring", "lightning.qubit")
    return FusedSimilarity(head, 0.5)


def rates(
    name: str,
    epochs: int,
    steps_per_epoch: int = 10,
    linear_warmup_epochs: float = 0.0,
    step_epochs: int = 2,
) -> list[float]:
    """The rate of every step of a training, for a base rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make_schedule(
        optimizer, name, steps_per_epoch, epochs, linear_warmup_epochs, step_epochs, 0.1
    )
    found = []
    for _ in range(epochs * steps_per_epoch):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return found


@every_optimizer
def test_mlp_and_circuit_learn_at_their_own_rates(name: str) -> None:
    hybrid = model()
    classical, circuit = make_optimizer(hybrid, name, 0.001, 0.01, 0.1).param_groups
    assert (classical["lr"], classical["weight_decay"]) == (0.001, 0.1)
    assert (circuit["lr"], circuit["weight_decay"]) == (0.01, 0.0)
    assert [id(p) for p in classical["params"]] == [
        id(p) for p in hybrid.head.classical_parameters()
    ]
    assert [id(p) for p in circuit["params"]] == [id(p) for p in hybrid.circuit_parameters()]


@every_optimizer
@pytest.mark.parametrize("arm", ["hybrid", "mlp_twin", "quantum_only", "cosine"])
def test_every_parameter_of_every_arm_is_in_exactly_one_group(name: str, arm: str) -> None:
    arm_model = model(arm)
    groups = make_optimizer(arm_model, name, 0.001, 0.01, 0.1).param_groups
    held = sorted(id(p) for group in groups for p in group["params"])
    assert held == sorted(id(p) for p in arm_model.parameters())


@every_optimizer
def test_only_the_mlp_decays(name: str) -> None:
    hybrid = model()
    optimizer = make_optimizer(hybrid, name, 0.01, 0.01, 0.5)
    for parameter in hybrid.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {key: value.detach().clone() for key, value in hybrid.named_parameters()}
    classical = {id(p) for p in hybrid.head.classical_parameters()}
    optimizer.step()
    for key, value in hybrid.named_parameters():
        decayed = value.detach().norm() < before[key].norm()
        assert decayed == (id(value) in classical), key


def test_constant_stays() -> None:
    assert set(rates("constant", epochs=3)) == {1.0}


def test_cosine_falls_from_one_through_a_half_to_nearly_zero() -> None:
    found = rates("cosine", epochs=10)
    assert found[0] == 1.0
    assert found[50] == pytest.approx(0.5)
    assert found[-1] == pytest.approx(0.0, abs=1e-3)
    assert found == sorted(found, reverse=True)


def test_step_falls_by_its_factor_after_its_epochs() -> None:
    found = rates("step", epochs=6, step_epochs=2)
    expected = [1.0] * 20 + [0.1] * 20 + [0.01] * 20
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
def test_warm_up_rises_in_a_line_to_the_full_rate(name: str) -> None:
    found = rates(name, epochs=4, linear_warmup_epochs=0.5, step_epochs=2)
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found[5] == 1.0
    assert max(found) == pytest.approx(1.0)


def test_cosine_after_a_warm_up_still_ends_near_zero() -> None:
    found = rates("cosine", epochs=4, linear_warmup_epochs=1.0)
    assert found[-1] < 0.01


def test_a_schedule_keeps_the_ratio_of_the_two_rates() -> None:
    optimizer = make_optimizer(model(), "adam", 0.001, 0.01, 0.0)
    schedule = make_schedule(optimizer, "cosine", 5, 2, 0.0, 1, 0.1)
    for _ in range(9):
        optimizer.step()
        schedule.step()
        classical, circuit = optimizer.param_groups
        assert circuit["lr"] / classical["lr"] == pytest.approx(10.0)
