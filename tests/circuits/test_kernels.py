from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core import config

from quantum_rerank.circuits.engines import kernels

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


def test_kernels_run_with_one_warning_where_no_folder_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "kernels.py"
    shutil.copy(kernels.__file__, copy)
    no_folder = tmp_path / "__pycache__"  # where numba would make one; the other is at home
    no_folder.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(no_folder))
    monkeypatch.setattr(config, "CACHE_DIR", "")
    spec = importlib.util.spec_from_file_location("kernels_without_cache", copy)
    assert spec is not None
    assert spec.loader is not None
    without = importlib.util.module_from_spec(spec)
    with pytest.warns(UserWarning, match="NUMBA_CACHE_DIR") as warned:
        spec.loader.exec_module(without)
    assert len(warned) == 1
    moduli = np.empty((1, 2))
    without.squared_moduli(np.array([[3 + 4j, 1j]]), moduli)
    assert moduli.tolist() == [[25.0, 1.0]]
