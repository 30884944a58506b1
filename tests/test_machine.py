from __future__ import annotations

import os

import pytest

from quantum_rerank.machine import cores, machine


@pytest.mark.parametrize("restricts", [True, False])
def test_cores_are_counted_on_every_system(
    monkeypatch: pytest.MonkeyPatch, restricts: bool
) -> None:
    if not restricts:  # as on macOS and Windows
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert 1 <= cores() <= (os.cpu_count() or 1)
    assert f", {cores()} cores, Python " in machine()
