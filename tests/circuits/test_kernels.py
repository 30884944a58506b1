from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STEP = """
import hashlib
import torch
from quantum_rerank.circuits import Ansatz
from quantum_rerank.circuits.engines import make_engine

for entangler in ("cnot_chain", "zz_ring"):
    ansatz = Ansatz(n_qubits=4, n_layers=3, entangler=entangler)
    generator = torch.Generator().manual_seed(0)
    shape = (256, ansatz.n_columns)
    angles = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    states = make_engine("statevector", ansatz).states(angles)
    (states.real * states.imag).sum().backward()
    for numbers in (torch.view_as_real(states.detach()), angles.grad):
        print(hashlib.sha256(numbers.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.extended
def test_compiled_and_cached_kernels_compute_the_same_bits(
    tmp_path: Path,
) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", STEP]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert len(first.split()) == 4
    assert first == second
