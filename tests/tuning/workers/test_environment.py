from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from quantum_rerank.embeddings.cache import default_cache_folder
from quantum_rerank.errors import ConfigError, OutputError
from tuning.workers.environment import refuse_unfit_environment


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_TMPDIR", "TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


def refusal(address: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        refuse_unfit_environment(address)
    (problem,) = caught.value.problems
    return problem


def test_this_machine_is_fit() -> None:
    refuse_unfit_environment(None)
    refuse_unfit_environment(None, is_divided=True)


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_too_long_for_sockets_is_named_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    monkeypatch.setenv(variable, str(folder))
    problem = refusal()
    assert f"{variable}, `{folder}`, is" in problem
    assert "bytes too long for the paths of Ray's sockets. Set RAY_TMPDIR" in problem


def test_the_longest_folder_that_is_accepted_holds_the_sockets_of_ray(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        for n_bytes in range(len(short) + 2, 107):
            folder = Path(short) / ("x" * (n_bytes - len(short) - 1))
            monkeypatch.setenv("RAY_TMPDIR", str(folder))
            folder.mkdir()
            try:
                refuse_unfit_environment(None)
            except ConfigError:
                break
            longest = folder
    session = f"session_2026-01-02_03-04-05_678901_{2**22}"
    assert len(f"{longest}/ray-{os.getuid()}/ray/{session}/sockets/plasma_store") <= 107
    assert n_bytes < 107


def test_a_ray_folder_of_its_own_wins_over_a_long_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("x" * 90)))
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    refuse_unfit_environment(None)


def test_a_folder_that_cannot_hold_a_socket_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/proc/nothing")
    problem = refusal()
    assert "RAY_TMPDIR, `/proc/nothing`, cannot hold Ray's sockets" in problem
    assert "Set RAY_TMPDIR to a folder on a local disk" in problem


def test_a_folder_that_is_not_there_yet_is_left_to_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("TMPDIR", f"{short}/new")
        refuse_unfit_environment(None)
        assert list(Path(short).iterdir()) == []


def test_a_cluster_that_is_joined_has_its_own_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/proc/nothing")
    refuse_unfit_environment("auto")


def test_a_user_without_a_home_is_told_which_variable_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert refusal("auto").startswith("HOME is not set")
    for name in ("QUANTUM_RERANK_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OutputError, match="Set QUANTUM_RERANK_CACHE to a folder"):
        default_cache_folder()
