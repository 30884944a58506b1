from __future__ import annotations

import pytest
import torch

from quantum_rerank.circuits import Ansatz, make_engine
from quantum_rerank.circuits.ansatz import ENTANGLERS


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("entangler", ENTANGLERS)
def test_states_and_gradients_stay_on_the_device_of_the_angles(
    entangler: str, precision: str
) -> None:
    ansatz = Ansatz(3, 2, entangler)
    engine = make_engine("torch", ansatz, precision)
    # A device of shapes without numbers, which every machine has.
    angles = torch.empty(5, ansatz.n_columns, device="meta", requires_grad=True)
    states = engine.states(angles)
    assert (states.device.type, tuple(states.shape)) == ("meta", (5, 8))
    (gradient,) = torch.autograd.grad(states.real.sum(), angles)
    assert (gradient.device.type, gradient.shape) == ("meta", angles.shape)
