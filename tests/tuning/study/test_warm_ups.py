"""Warm-ups of a run are files beside those of its trials."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuning.study import warm_ups
from tuning.study.warm_ups import SharedWarmUps


@pytest.fixture(params=["a folder", "a URI that pyarrow knows"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> SharedWarmUps:
    root = tmp_path / "trials"
    return SharedWarmUps(str(root) if request.param == "a folder" else root.as_uri(), "run")


def test_a_warm_up_is_read_back_by_its_key(shared: SharedWarmUps) -> None:
    assert list(shared.versions("ab")) == []
    shared.write("ab", b"1")
    assert list(shared.versions("ab")) == [b"1"]
    assert list(shared.versions("cd")) == []


def test_the_oldest_gives_its_place_to_the_newest(
    shared: SharedWarmUps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_ups, "_MOST", 2)
    for age, key in enumerate(("ab", "cd", "ef")):
        shared.write(key, key.encode())
        path = tmp_path / "trials/warm_ups" / key / "weights.safetensors"
        os.utime(path, (age, age))
    assert [any(shared.versions(key)) for key in ("ab", "cd", "ef")] == [False, True, True]


def test_all_are_removed_at_the_end(shared: SharedWarmUps, tmp_path: Path) -> None:
    shared.remove()
    for key in ("ab", "cd"):
        shared.write(key, b"1")
    (tmp_path / "trials/00000").mkdir()
    shared.remove()
    assert not any(any(shared.versions(key)) for key in ("ab", "cd"))
    assert (tmp_path / "trials/00000").exists()
