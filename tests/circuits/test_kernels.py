from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from numba.core import config

from quantum_rerank.circuits.engines import kernels


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
