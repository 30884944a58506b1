from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from numba.core import config

from quantum_rerank import compiling


def test_kernels_run_with_one_warning_where_no_folder_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "compiling.py"
    shutil.copy(compiling.__file__, copy)
    no_folder = tmp_path / "__pycache__"  # where numba would make one; the other is at home
    no_folder.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(no_folder))
    monkeypatch.setattr(config, "CACHE_DIR", "")
    spec = importlib.util.spec_from_file_location("compiling_without_cache", copy)
    assert spec is not None
    assert spec.loader is not None
    without = importlib.util.module_from_spec(spec)
    with pytest.warns(UserWarning, match="NUMBA_CACHE_DIR") as warned:
        spec.loader.exec_module(without)
    assert len(warned) == 1
    assert without.njit_strict(lambda number: number + 1)(1) == 2
