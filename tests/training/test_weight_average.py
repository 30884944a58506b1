from __future__ import annotations

import pytest
import torch
from torch import Tensor

from quantum_rerank.circuits import ENGINES
from quantum_rerank.config import CircuitConfig, ExperimentConfig, MlpConfig
from quantum_rerank.similarity import Head, build_head
from quantum_rerank.training.weight_average import WeightAverage


def head(model: str = "hybrid", engine: str = "statevector") -> Head:
    torch.manual_seed(0)
    return build_head(
        ExperimentConfig(
            model=model,
            circuit=CircuitConfig(n_qubits=2, n_layers=2, entangler="zz_ring", engine=engine),
            mlp=MlpConfig(hidden_layers=(5,), dropout=0.0),
        ),
        6,
    )


def filled(one: Head, value: float) -> Head:
    with torch.no_grad():
        for weight in one.parameters():
            weight.fill_(value)
    return one


def weights(one: Head) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in one.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def averaged(decay: float, values: list[float]) -> float:
    """What each weight is after epochs that ended with all of them at a value."""
    average, one = WeightAverage(decay), head("mlp_twin")
    for value in values:
        average.include(filled(one, value))
    with average.in_place(one):
        found = torch.cat([weight.flatten() for weight in one.parameters()])
        assert found.min() == found.max()
        return found[0].item()


def test_the_average_of_three_epochs_is_the_one_computed_by_hand() -> None:
    # Shares 1/4, 1/2, 1 of 7/4.
    assert averaged(0.5, [4.0, 1.0, 8.0]) == pytest.approx((1.0 + 0.5 + 8.0) / 1.75)


@pytest.mark.parametrize("decay", [0.1, 0.5, 0.9, 0.999])
def test_weights_that_stay_are_their_own_average(decay: float) -> None:
    assert averaged(decay, [0.25] * 20) == pytest.approx(0.25)
    assert averaged(decay, [0.25]) == 0.25


def test_a_decay_near_one_is_the_plain_mean() -> None:
    assert averaged(1 - 1e-6, [1.0, 2.0, 6.0]) == pytest.approx(3.0, rel=1e-4)


def test_nothing_is_averaged_without_a_decay() -> None:
    assert averaged(0.0, [1.0, 2.0, 6.0]) == 6.0
    average = WeightAverage(0.0)
    average.include(head())
    assert average.state_dict() == {"epochs": 0, "weights": {}}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", ["hybrid", "mlp_twin", "quantum_only", "cosine"])
def test_the_head_s_own_weights_come_back(model: str, engine: str) -> None:
    average, one = WeightAverage(0.5), head(model, engine)
    for value in (1.0, 2.0):
        average.include(filled(one, value))
    own = weights(one)
    with average.in_place(one):
        assert same(own, weights(one)) == (model == "cosine")
    assert same(own, weights(one))


def test_the_head_s_own_weights_come_back_after_an_error_too() -> None:
    average, one = WeightAverage(0.5), head()
    average.include(filled(one, 1.0))
    own = weights(filled(one, 2.0))
    with pytest.raises(KeyError), average.in_place(one):
        raise KeyError
    assert same(own, weights(one))


def test_an_average_goes_on_from_its_state() -> None:
    whole, part, again = WeightAverage(0.7), WeightAverage(0.7), WeightAverage(0.7)
    one = head()
    for value in (0.1, 0.3):
        whole.include(filled(one, value))
        part.include(one)
    again.load_state_dict(part.state_dict(), one)
    kept = weights_of(part)
    for average in (whole, again):
        average.include(filled(one, 0.7))
    assert same(weights_of(whole), weights_of(again))
    assert same(weights_of(part), kept)  # what was taken over is no longer its own


def weights_of(average: WeightAverage) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in average.state_dict()["weights"].items()}
