from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from quantum_rerank.config import CircuitConfig, ExperimentConfig, MlpConfig
from quantum_rerank.similarity import FusedSimilarity, build_head
from quantum_rerank.training.config import OPTIMIZERS, SCHEDULES, OptimizerConfig
from quantum_rerank.training.optimizers import Schedule, make_optimizer, make_schedule
from quantum_rerank.training.schedule import Plateau, Steps

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def model(model: str = "hybrid") -> FusedSimilarity:
    torch.manual_seed(0)
    head = build_head(
        ExperimentConfig(
            model=model,
            circuit=CircuitConfig(n_qubits=2, n_layers=2, entangler="zz_ring"),
            mlp=MlpConfig(hidden_layers=(5,), dropout=0.0),
        ),
        6,
    )
    return FusedSimilarity(head, 0.5)


def schedule_of(
    optimizer: torch.optim.Optimizer,
    name: str,
    epochs: int,
    steps_per_epoch: int = 10,
    linear_warmup_epochs: float = 0.0,
    step_epochs: int = 2,
    circuit: str = "same",
) -> Schedule:
    config = OptimizerConfig(
        schedule=name,
        circuit_schedule=circuit,
        linear_warmup_epochs=linear_warmup_epochs,
        step_epochs=step_epochs,
        step_factor=0.1,
        plateau_epochs=2,
        plateau_factor=0.5,
    )
    return make_schedule(optimizer, config, steps_per_epoch, epochs)


def rates(
    name: str, epochs: int, linear_warmup_epochs: float = 0.0, step_epochs: int = 2
) -> list[float]:
    """The rate of every step of a training of 10 steps an epoch, for a base rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = schedule_of(
        optimizer,
        name,
        epochs,
        linear_warmup_epochs=linear_warmup_epochs,
        step_epochs=step_epochs,
    )
    found = []
    for _ in range(epochs * 10):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return found


def two_groups() -> torch.optim.Optimizer:
    return make_optimizer(model(), OptimizerConfig(weight_decay=0.0))


@every_optimizer
def test_mlp_and_circuit_learn_at_their_own_rates(name: str) -> None:
    hybrid = model()
    classical, circuit = make_optimizer(
        hybrid, OptimizerConfig(name=name, weight_decay=0.1)
    ).param_groups
    assert (classical["lr"], classical["weight_decay"]) == (0.001, 0.1)
    assert (circuit["lr"], circuit["weight_decay"]) == (0.01, 0.0)
    assert [id(p) for p in classical["params"]] == [
        id(p) for p in hybrid.head.classical_parameters()
    ]
    assert [id(p) for p in circuit["params"]] == [id(p) for p in hybrid.circuit_parameters()]


@every_optimizer
@pytest.mark.parametrize("model_name", ["hybrid", "mlp_twin", "quantum_only", "cosine"])
def test_every_parameter_of_every_model_is_in_exactly_one_group(name: str, model_name: str) -> None:
    network = model(model_name)
    groups = make_optimizer(network, OptimizerConfig(name=name, weight_decay=0.1)).param_groups
    held = sorted(id(p) for group in groups for p in group["params"])
    assert held == sorted(id(p) for p in network.parameters())


@every_optimizer
@pytest.mark.parametrize("decays", [(0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (0.0, 0.0)])
def test_mlp_and_circuit_decay_apart(name: str, decays: tuple[float, float]) -> None:
    hybrid = model()
    with torch.no_grad():
        hybrid.fusion_logit.fill_(1.0)
    config = OptimizerConfig(
        name=name, mlp_lr=0.01, weight_decay=decays[0], circuit_weight_decay=decays[1]
    )
    optimizer = make_optimizer(hybrid, config)
    for parameter in hybrid.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {key: value.detach().clone() for key, value in hybrid.named_parameters()}
    classical = {id(p) for p in hybrid.head.classical_parameters()}
    optimizer.step()
    for key, value in hybrid.named_parameters():
        decayed = value.detach().norm() < before[key].norm()
        assert decayed == (decays[0 if id(value) in classical else 1] > 0.0), key


def test_momentum_carries_a_weight_on_where_there_is_no_gradient() -> None:
    moved = {}
    for momentum in (0.0, 0.5):
        one = model()
        optimizer = make_optimizer(
            one, OptimizerConfig(name="sgd", circuit_lr=0.1, momentum=momentum)
        )
        start = one.fusion_logit.item()
        for gradient in (1.0, 0.0, 0.0):
            one.fusion_logit.grad = torch.tensor(gradient)
            optimizer.step()
        moved[momentum] = start - one.fusion_logit.item()
    assert moved == pytest.approx({0.0: 0.1, 0.5: 0.1 * (1 + 0.5 + 0.25)})


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


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "one_cycle"])
def test_warm_up_rises_in_a_line_to_the_full_rate(name: str) -> None:
    found = rates(name, epochs=4, linear_warmup_epochs=0.5, step_epochs=2)
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found[5] == 1.0
    assert max(found) == pytest.approx(1.0)


def test_cosine_after_a_warm_up_still_ends_near_zero() -> None:
    found = rates("cosine", epochs=4, linear_warmup_epochs=1.0)
    assert found[-1] < 0.01


@pytest.mark.parametrize("epochs", [1, 3, 10])
def test_one_cycle_is_torch_s(epochs: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = OneCycleLR(optimizer, 1.0, total_steps=epochs * 10, cycle_momentum=False)
    expected = []
    for _ in range(epochs * 10):
        expected.append(reference.get_last_lr()[0])
        optimizer.step()
        if len(expected) < epochs * 10:
            reference.step()
    assert rates("one_cycle", epochs) == pytest.approx(expected)


@pytest.mark.parametrize("total", [1, 2, 3, 4])
def test_one_cycle_has_a_rate_however_short_the_training(total: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule_of(optimizer, "one_cycle", epochs=total, steps_per_epoch=1)
    assert 0.0 < optimizer.param_groups[0]["lr"] <= 1.0


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_the_plateau_is_torch_s(seed: int, epochs: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = ReduceLROnPlateau(
        optimizer, "max", factor=0.5, patience=epochs - 1, threshold=0.0, eps=0.0
    )
    config = OptimizerConfig(plateau_epochs=epochs, plateau_factor=0.5)
    plateau = Plateau(config, Steps(per_epoch=1, total=30))
    for value in np.random.default_rng(seed).integers(0, 10, 30):
        reference.step(float(value))
        plateau.observe(float(value))
        assert plateau.factor(step=0) == optimizer.param_groups[0]["lr"]


def test_a_plateau_lowers_the_rate_of_the_very_next_step() -> None:
    optimizer = two_groups()
    schedule = schedule_of(optimizer, "plateau", epochs=9)
    found = []
    for objective in (0.5, 0.5, 0.5, 0.6, 0.5, 0.5):
        schedule.step()
        schedule.observe(objective)
        found.append(optimizer.param_groups[1]["lr"])
    assert found == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.005, 0.0025])


@pytest.mark.parametrize("circuit", SCHEDULES)
@pytest.mark.parametrize("mlp", SCHEDULES)
def test_each_group_follows_its_own_schedule(mlp: str, circuit: str) -> None:
    together = two_groups(), two_groups(), two_groups()
    schedules = [
        schedule_of(optimizer, name, 4, circuit=of_circuit)
        for optimizer, name, of_circuit in zip(
            together, (mlp, mlp, circuit), (circuit, "same", "same"), strict=True
        )
    ]
    for step in range(39):
        for schedule in schedules:
            schedule.step()
            if step % 10 == 9:
                schedule.observe(0.5)
        both, as_mlp, as_circuit = (optimizer.param_groups for optimizer in together)
        assert both[0]["lr"] == as_mlp[0]["lr"]
        assert both[1]["lr"] == as_circuit[1]["lr"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_goes_on_from_its_state(name: str) -> None:
    ends = []
    for interrupted in (False, True):
        optimizer = two_groups()
        schedule = schedule_of(optimizer, name, epochs=4, circuit="plateau")
        for step in range(30):
            if interrupted and step == 17:
                states = optimizer.state_dict(), schedule.state_dict()
                optimizer = two_groups()
                schedule = schedule_of(optimizer, name, epochs=4, circuit="plateau")
                optimizer.load_state_dict(states[0])
                schedule.load_state_dict(states[1])
            schedule.step()
            if step % 5 == 4:
                schedule.observe(0.5)
        ends.append([group["lr"] for group in optimizer.param_groups])
    assert ends[0] == ends[1]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_keeps_the_ratio_of_the_two_rates(name: str) -> None:
    optimizer = two_groups()
    schedule = schedule_of(optimizer, name, epochs=2, steps_per_epoch=5)
    for _ in range(9):
        schedule.step()
        schedule.observe(0.5)
        classical, circuit = optimizer.param_groups
        assert circuit["lr"] / classical["lr"] == pytest.approx(10.0)
