"""What each of the models that compare quantum states is for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from quantum_rerank.circuits import ENGINES
from quantum_rerank.config import CircuitConfig, ExperimentConfig, LinearConfig, MlpConfig
from quantum_rerank.similarity import MODELS, Head, build_head

OF_STATES = [model for model in MODELS if "state" in MODELS[model].components]


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


def test_quantum_only_trains_nothing_classical() -> None:
    one = head("quantum_only")
    assert not one.classical_parameters()
    assert one.circuit_parameters()
    assert "projection" in one.state_dict()


def test_quantum_only_turns_by_about_one_radian() -> None:
    torch.manual_seed(0)
    wide = build_head(
        ExperimentConfig(
            model="quantum_only",
            circuit=CircuitConfig(n_qubits=4, n_layers=3),
            mlp=MlpConfig(hidden_layers=(), dropout=0.0),
        ),
        64,
    )
    vectors = normalize(torch.randn(500, 64), dim=1)
    assert 0.9 < (vectors @ wide.projection.T).std().item() < 1.1


def purity_of_each_qubit(states: Tensor) -> Tensor:
    """(n, 16) amplitudes -> (n, 4): 1 where a qubit is entangled with none of the others."""
    found = []
    for qubit in range(4):
        split = states.reshape(-1, 2, 2, 2, 2).movedim(1 + qubit, 1).reshape(-1, 2, 8)
        reduced = split @ split.mH
        found.append((reduced @ reduced).diagonal(dim1=1, dim2=2).sum(1).real)
    return torch.stack(found, dim=1)


@pytest.mark.parametrize("model", OF_STATES)
def test_states_have_norm_one_and_only_the_product_circuit_entangles_nothing(model: str) -> None:
    states = head(model).eval().represent(texts(5))
    torch.testing.assert_close(states.norm(dim=1), torch.ones(5).double())
    purity = purity_of_each_qubit(states)
    if model == "product_circuit":
        torch.testing.assert_close(purity, torch.ones(5, 4).double())
    else:
        assert purity.min() < 0.99


def test_a_fidelity_of_products_is_the_product_of_its_qubits_fidelities() -> None:
    one = head("product_circuit").eval()
    angles = one.predictor(texts(4)).double().reshape(4, 3, 2, 4)
    qubits = []
    for q in range(4):
        state = torch.tensor([1.0, 0.0], dtype=torch.complex128).expand(4, 2)
        for layer in (angles[..., q] / 2).unbind(1):
            (c, s), phase = (layer[:, 0].cos(), layer[:, 0].sin()), torch.exp(1j * layer[:, 1])
            up, down = state.unbind(1)
            state = torch.stack([(c * up - s * down) / phase, (s * up + c * down) * phase], dim=1)
        qubits.append((state.conj() @ state.mT).abs().square())
    states = one.represent(texts(4))
    torch.testing.assert_close(one.compare(states, states), torch.stack(qubits).prod(dim=0))


def test_the_fidelity_of_real_amplitudes_is_the_squared_cosine_of_the_outputs() -> None:
    real = amplitude_head("real")
    outputs = normalize(real.layers(texts(5)).double(), dim=1)
    states = real.represent(texts(5))
    assert states.shape == (5, 16)
    assert outputs.shape == (5, 16)
    assert torch.equal(states.imag, torch.zeros(5, 16).double())
    torch.testing.assert_close(real.compare(states, states), (outputs @ outputs.T).square())


def test_the_fidelity_of_complex_amplitudes_does_not_depend_on_a_phase() -> None:
    complex_ = amplitude_head("complex")
    real, imaginary = normalize(complex_.layers(texts(5)).double(), dim=1).chunk(2, dim=1)
    states = complex_.represent(texts(5))
    assert states.shape == (5, 16)
    same_phase = real @ real.T + imaginary @ imaginary.T  # the cosine of the outputs
    other_phase = imaginary @ real.T - real @ imaginary.T
    expected = same_phase.square() + other_phase.square()
    torch.testing.assert_close(complex_.compare(states, states), expected)
    turned = states * torch.exp(torch.tensor(0.7j))
    torch.testing.assert_close(complex_.compare(turned, states), expected)


def amplitude_head(amplitudes: str) -> Head:
    torch.manual_seed(0)
    circuit = CircuitConfig(n_qubits=4, amplitudes=amplitudes)
    mlp = MlpConfig(hidden_layers=(12,), dropout=0.1)
    return build_head(
        ExperimentConfig(model="hybrid_amplitude", circuit=circuit, mlp=mlp), 16
    ).eval()


def test_a_frozen_circuit_is_random_and_has_the_hybrid_s_mlp() -> None:
    hybrid, frozen, other = head("hybrid"), head("frozen_circuit"), head("frozen_circuit", seed=1)
    assert not frozen.circuit_parameters()
    assert "circuit.weights" in frozen.state_dict()
    assert not torch.equal(frozen.circuit.weights, other.circuit.weights)
    mlp = hybrid.predictor.state_dict()
    assert all(torch.equal(p, mlp[name]) for name, p in frozen.predictor.state_dict().items())


def test_hybrid_and_quantum_only_run_the_same_circuit() -> None:
    hybrid, alone = head("hybrid"), head("quantum_only")
    shapes = [p.shape for p in hybrid.circuit_parameters()]
    assert [p.shape for p in alone.circuit_parameters()] == shapes
    assert hybrid.represent(texts(2)).shape == alone.represent(texts(2)).shape == (2, 16)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("model", OF_STATES)
def test_single_precision_changes_affinities_by_no_more_than_rounding(
    model: str, name: str
) -> None:
    def built(precision: str) -> Head:
        torch.manual_seed(0)
        return build_head(
            ExperimentConfig(
                model=model,
                circuit=CircuitConfig(n_qubits=4, n_layers=3, engine=name, precision=precision),
                mlp=MlpConfig(hidden_layers=(12,), dropout=0.1),
            ),
            16,
        ).eval()

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
