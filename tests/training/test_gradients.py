from __future__ import annotations

import copy
import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from quantum_rerank.config import CircuitConfig, ExperimentConfig, MlpConfig
from quantum_rerank.similarity import FusedSimilarity, build_head
from quantum_rerank.training.gradients import (
    CIRCUIT_NORM,
    CIRCUIT_VARIANCE,
    MLP_NORM,
    GradientWatch,
)

MODELS = ("hybrid", "mlp_twin", "quantum_only", "cosine")


def model(model: str = "hybrid") -> FusedSimilarity:
    torch.manual_seed(0)
    head = build_head(
        ExperimentConfig(
            model=model,
            circuit=CircuitConfig(
                n_qubits=2, n_layers=2, entangler="zz_ring", engine="statevector"
            ),
            mlp=MlpConfig(hidden_layers=(5,), dropout=0.0),
        ),
        6,
    )
    return FusedSimilarity(head, 0.5)


def with_gradients(one: FusedSimilarity, scale: float = 1.0) -> FusedSimilarity:
    for parameter in one.parameters():
        parameter.grad = scale * torch.randn(parameter.shape)
    return one


def gradients(one: FusedSimilarity) -> list[Tensor]:
    return [p.grad.clone() for p in one.parameters() if p.grad is not None]


@pytest.mark.parametrize("model_name", MODELS)
@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 1e3])
def test_clipping_is_torch_s_bit_for_bit(model_name: str, max_norm: float) -> None:
    one = with_gradients(model(model_name))
    one.fusion_logit.grad = None if model_name == "hybrid" else one.fusion_logit.grad
    before = gradients(one)
    expected = clip_grad_norm_(one.parameters(), max_norm)
    clipped = gradients(one)
    for parameter, gradient in zip(
        [p for p in one.parameters() if p.grad is not None], before, strict=True
    ):
        parameter.grad = gradient
    assert torch.equal(GradientWatch(one).clip(max_norm), expected)
    assert all(map(torch.equal, gradients(one), clipped))


def test_norms_and_variance_are_those_of_all_the_steps_before_clipping() -> None:
    one = model()
    watch = GradientWatch(one)
    mlp, circuit = [], []
    for scale in (1.0, 3.0, 0.1):
        with_gradients(one, scale)
        mlp.append(torch.cat([p.grad.flatten() for p in one.head.classical_parameters()]))  # type: ignore[union-attr]
        circuit.append(torch.cat([p.grad.flatten() for p in one.head.circuit_parameters()]))  # type: ignore[union-attr]
        watch.clip(0.5)
    assert watch.metrics() == pytest.approx(
        {
            MLP_NORM: np.mean([np.linalg.norm(step) for step in mlp]),
            CIRCUIT_NORM: np.mean([np.linalg.norm(step) for step in circuit]),
            CIRCUIT_VARIANCE: np.var(torch.cat(circuit).double().numpy()),
        }
    )


def test_an_epoch_forgets_the_one_before() -> None:
    one = model()
    watch, fresh = GradientWatch(one), GradientWatch(one)
    with_gradients(one, 100.0)
    watch.clip(1.0)
    watch.start()
    assert watch.metrics() == {}
    with_gradients(one)
    twin = copy.deepcopy([p.grad for p in one.parameters()])
    watch.clip(1.0)
    for parameter, gradient in zip(one.parameters(), twin, strict=True):
        parameter.grad = gradient
    fresh.clip(1.0)
    assert watch.metrics() == fresh.metrics()


@pytest.mark.parametrize(
    ("model_name", "known"),
    [
        ("hybrid", {MLP_NORM, CIRCUIT_NORM, CIRCUIT_VARIANCE}),
        ("mlp_twin", {MLP_NORM}),
        ("quantum_only", {CIRCUIT_NORM, CIRCUIT_VARIANCE}),
        ("cosine", set()),
    ],
)
def test_a_model_reports_what_it_has(model_name: str, known: set[str]) -> None:
    one = with_gradients(model(model_name))
    watch = GradientWatch(one)
    watch.clip(1.0)
    assert watch.metrics().keys() == known
    assert all(math.isfinite(value) for value in watch.metrics().values())


@pytest.mark.parametrize("model_name", MODELS)
@pytest.mark.parametrize(
    ("scale", "loss", "vanished"),
    [(1e-2, 0.5, False), (1e-6, 0.5, True), (1e-6, 0.0, False), (0.0, 0.0, False)],
)
def test_gradients_vanish_beside_a_loss_that_has_not(
    model_name: str, scale: float, loss: float, vanished: bool
) -> None:
    one = with_gradients(model(model_name), scale)
    watch = GradientWatch(one)
    watch.clip(1.0)
    has_circuit = model_name in ("hybrid", "quantum_only")
    warning = watch.warning(loss)
    assert bool(warning) == (vanished and has_circuit)
    if warning:
        assert re.search(r"standard deviation is [\d.]+e-0[67] at a loss of 0\.5", warning)
