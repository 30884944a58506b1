from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from quantum_rerank.machine import container_memory_left, cores, machine


@pytest.mark.parametrize("restricts", [True, False])
def test_cores_are_counted_on_every_system(
    monkeypatch: pytest.MonkeyPatch, restricts: bool
) -> None:
    if not restricts:  # as on macOS and Windows
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert 1 <= cores() <= (os.cpu_count() or 1)
    assert f", {cores()} cores, Python " in machine()


@pytest.mark.parametrize(
    ("folder", "limit", "usage", "cached"),
    [
        (".", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_container_memory_includes_cached_files(
    tmp_path: Path, folder: str, limit: str, usage: str, cached: str
) -> None:
    root = tmp_path / folder
    root.mkdir(exist_ok=True)
    (root / limit).write_text("4000\n")
    (root / usage).write_text("1500\n")
    assert container_memory_left(tmp_path) == 2500
    (root / "memory.stat").write_text(f"anon 300\n{cached} 1200\nactive_file 50\n")
    assert container_memory_left(tmp_path) == 3700


def test_without_a_limit_the_memory_is_infinite(tmp_path: Path) -> None:
    assert container_memory_left(tmp_path) == math.inf
    (tmp_path / "memory.max").write_text("max\n")
    assert container_memory_left(tmp_path) == math.inf
