from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from quantum_rerank.embeddings.cache import (
    CACHE_VARIABLE,
    EmbeddingCache,
    Embeddings,
    cache_key,
    default_cache_folder,
)
from quantum_rerank.errors import OutputError

FullDisk = Callable[[int], AbstractContextManager[None]]

KEY = cache_key("model", ["a text"])
VECTORS = np.arange(6, dtype=np.float32).reshape(2, 3)


class Counter:
    """Computes, and says how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Embeddings:
        self.calls += 1
        return VECTORS


@pytest.mark.parametrize(
    ("model", "texts"),
    [
        ("model", ["b", "a"]),
        ("model", ["ab"]),
        ("model", ["a", "b", ""]),
        ("model", ["", "a", "b"]),
        ("model", ["a"]),
        ("other", ["a", "b"]),
        ("modela", ["b"]),
    ],
)
def test_a_key_depends_on_model_order_and_borders(model: str, texts: list[str]) -> None:
    assert cache_key(model, texts) != cache_key("model", ["a", "b"])


def test_the_same_texts_have_the_same_key() -> None:
    assert cache_key("model", ["a", "ü"]) == cache_key("model", ("a", "ü"))


def test_a_cached_array_is_not_computed_again(tmp_path: Path) -> None:
    compute = Counter()
    for _ in range(2):
        # A new object, as a new process would have.
        found = EmbeddingCache(tmp_path / "cache").get_or_compute(KEY, compute)
        np.testing.assert_array_equal(found, VECTORS)
    assert compute.calls == 1


@pytest.mark.parametrize("kept", [0, 3, 20, 100, -4], ids="{} bytes".format)
def test_a_truncated_file_is_computed_again(tmp_path: Path, kept: int) -> None:
    cache, compute = EmbeddingCache(tmp_path), Counter()
    cache.get_or_compute(KEY, compute)
    path = tmp_path / f"{KEY}.npy"
    path.write_bytes(path.read_bytes()[:kept])
    np.testing.assert_array_equal(cache.get_or_compute(KEY, compute), VECTORS)
    assert compute.calls == 2
    np.testing.assert_array_equal(np.load(path), VECTORS)


def test_a_failed_computation_leaves_no_file(tmp_path: Path) -> None:
    def fail() -> Embeddings:
        raise RuntimeError("no model")

    cache, compute = EmbeddingCache(tmp_path), Counter()
    with pytest.raises(RuntimeError, match="no model"):
        cache.get_or_compute(KEY, fail)
    assert not list(tmp_path.glob("*.npy"))
    cache.get_or_compute(KEY, compute)
    assert compute.calls == 1


def test_no_temporary_file_is_left(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path).get_or_compute(KEY, Counter())
    assert not list(tmp_path.glob("*.part"))


def test_an_array_may_be_written_block_by_block_and_is_mapped_afterwards(tmp_path: Path) -> None:
    calls = 0

    def parts() -> Iterator[Embeddings]:
        nonlocal calls
        calls += 1
        yield VECTORS
        yield VECTORS[:1] + 10

    for _ in range(2):
        found = EmbeddingCache(tmp_path).get_or_write(KEY, 3, parts)
        np.testing.assert_array_equal(found, [[0, 1, 2], [3, 4, 5], [10, 11, 12]])
        assert found.dtype == np.float32
        assert not found.flags.writeable
    assert calls == 1
    assert not list(tmp_path.glob("*.part"))


def test_a_truncated_mapped_file_is_written_again(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.get_or_write(KEY, 2, lambda: [VECTORS])
    path = tmp_path / f"{KEY}.npy"
    path.write_bytes(path.read_bytes()[:-4])
    np.testing.assert_array_equal(cache.get_or_write(KEY, 2, lambda: [VECTORS]), VECTORS)


def test_failed_blocks_leave_no_file(tmp_path: Path) -> None:
    def fail() -> Iterator[Embeddings]:
        yield VECTORS
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        EmbeddingCache(tmp_path).get_or_write(KEY, 4, fail)
    assert not list(tmp_path.glob("*.npy"))
    assert not list(tmp_path.glob("*.part"))


FILL = """
import os, sys, time
from pathlib import Path
import numpy as np
from quantum_rerank.embeddings.cache import EmbeddingCache

folder, key = Path(sys.argv[1]), sys.argv[2]

def compute():
    (folder / f"computed-by-{os.getpid()}").touch()
    time.sleep(0.3)  # long enough for the other to come and find the lock taken
    return np.ones((2, 3), dtype=np.float32)

(folder / f"ready-{os.getpid()}").touch()
while len(list(folder.glob("ready-*"))) < 2:
    time.sleep(0.005)
print(EmbeddingCache(folder).get_or_compute(key, compute).sum())
"""


def test_two_processes_compute_the_same_key_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["-c", str(tmp_path), KEY]
    monkeypatch.setattr(sys, "argv", arguments)
    command = [sys.executable, "-W", "error", "-c", FILL, *arguments[1:]]
    with subprocess.Popen(command) as other:
        exec(FILL, {})
    assert other.returncode == 0
    assert capfd.readouterr() == ("6.0\n6.0\n", "")
    assert len(list(tmp_path.glob("computed-by-*"))) == 1


def test_the_error_of_an_unwritable_folder_names_the_variable_that_moves_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=CACHE_VARIABLE):
        EmbeddingCache(tmp_path / "file" / "cache")


def get_mapped(cache: EmbeddingCache) -> Embeddings:
    return cache.get_or_write(KEY, 2, lambda: [VECTORS])


def get_computed(cache: EmbeddingCache) -> Embeddings:
    return cache.get_or_compute(KEY, lambda: VECTORS)


Get = Callable[[EmbeddingCache], Embeddings]


@pytest.mark.parametrize("get", [get_computed, get_mapped])
def test_a_full_disk_is_a_clear_error_and_leaves_no_file(
    tmp_path: Path, get: Get, full_disk: FullDisk
) -> None:
    cache = EmbeddingCache(tmp_path)
    with full_disk(100), pytest.raises(OutputError, match=f"File too large.*{CACHE_VARIABLE}"):
        get(cache)
    assert not list(tmp_path.glob("*.npy"))
    assert not list(tmp_path.glob("*.part"))
    np.testing.assert_array_equal(get(cache), VECTORS)


@pytest.mark.parametrize("get", [get_computed, get_mapped])
@pytest.mark.parametrize("suffix", ["lock", "npy"])
def test_a_file_that_cannot_be_opened_is_a_clear_error(
    tmp_path: Path, get: Get, suffix: str
) -> None:
    (tmp_path / f"{KEY}.{suffix}").mkdir()  # as another user's, but for root as well
    with pytest.raises(OutputError, match=f"cannot be written: .*{CACHE_VARIABLE}"):
        get(EmbeddingCache(tmp_path))


def test_errors_of_a_computation_are_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        EmbeddingCache(tmp_path).get_or_compute(KEY, lambda: np.load(tmp_path / "no.npy"))


def test_the_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_folder() == tmp_path / "named"
    monkeypatch.delenv(CACHE_VARIABLE)
    assert default_cache_folder() == tmp_path / "xdg" / "quantum-rerank"
