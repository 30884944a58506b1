"""Embeddings on disk, keyed by model and content, safe for many processes at once."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from quantum_rerank.embeddings.coverage import Coverage
from quantum_rerank.embeddings.mapped import open_mapped, write_rows
from quantum_rerank.errors import OutputError
from quantum_rerank.paths import expanded

CACHE_VARIABLE = "QUANTUM_RERANK_CACHE"

Embeddings = NDArray[np.float32]


def default_cache_folder() -> Path:
    """`$QUANTUM_RERANK_CACHE`, or the user's cache folder.

    Raises:
        OutputError: Neither is set, and the user has no home.
    """
    if named := os.environ.get(CACHE_VARIABLE):
        return expanded(named)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (expanded(base) if base else Path.home() / ".cache") / "quantum-rerank"
    except RuntimeError:  # a user of a container, whom its system does not know
        raise OutputError(
            f"HOME is not set, and the user {os.getuid()} has no home folder for the embedding "
            f"cache. Set {CACHE_VARIABLE} to a folder that can be written to."
        ) from None


def cache_key(model_fingerprint: str, texts: Sequence[str]) -> str:
    """SHA-256 over the model and every text in order, so that neither can be confused."""
    digest = hashlib.sha256(model_fingerprint.encode())
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


class EmbeddingCache:
    """A folder of `KEY.npy` files, and of `KEY.json` files with counts of their texts.

    Two processes that want the same key wait for each other: one computes, the
    other reads. A file appears under its name only when it is whole.

    Raises: OutputError, from each method, if the folder cannot be written, or a file in it is
        another user's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with self._refused_in_words():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".lock").touch()

    def get_or_compute(self, key: str, compute: Callable[[], Embeddings]) -> Embeddings:
        """Read the array of a key, or compute and keep it."""
        path = self._folder / f"{key}.npy"
        with self._locked(key):
            with self._refused_in_words():
                found = _read(path)
            if found is None:
                found = compute()
                with self._refused_in_words():
                    _write(path, len(found), [found])
        return found

    def get_or_write(
        self, key: str, n_rows: int, compute: Callable[[], Iterable[Embeddings]]
    ) -> Embeddings:
        """Map the array of a key, which is computed and written block by block where it must be."""
        path = self._folder / f"{key}.npy"
        with self._locked(key), self._refused_in_words():
            found = _mapped(path)
            if found is None:
                _write(path, n_rows, compute())
        return open_mapped(path) if found is None else found

    def get_or_count(self, key: str, compute: Callable[[], Coverage]) -> Coverage:
        """Read what was counted of a key's texts, or count and keep it."""
        path = self._folder / f"{key}.json"
        with self._locked(key):
            with self._refused_in_words():
                found = _read_coverage(path)
            if found is None:
                found = compute()
                with self._refused_in_words(), _appearing(path) as file:
                    file.write(json.dumps(asdict(found)).encode())
        return found

    def _locked(self, key: str) -> AbstractContextManager[object]:
        """The lock of a key, held until its context ends."""
        lock = FileLock(self._folder / f"{key}.lock")
        with self._refused_in_words():
            return lock.acquire()

    @contextmanager
    def _refused_in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"The embedding cache `{self._folder}` cannot be written: {error.strerror}. "
                f"Set {CACHE_VARIABLE} to a folder that can."
            ) from None


def _mapped(path: Path) -> Embeddings | None:
    """As `_read`, without reading it."""
    try:
        return open_mapped(path)
    except (FileNotFoundError, ValueError, EOFError):
        return None


def _read(path: Path) -> Embeddings | None:
    """The array of a file, or None where there is none or it was cut off."""
    try:
        array: Embeddings = np.load(path, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return array


def _read_coverage(path: Path) -> Coverage | None:
    """As `_read`, of counts; those of another version are None too."""
    try:
        return Coverage(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def _write(path: Path, n_rows: int, parts: Iterable[Embeddings]) -> None:
    with _appearing(path) as file:
        write_rows(file, n_rows, parts)


@contextmanager
def _appearing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that gets its name when all of it is written."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        part = Path(file.name)
        try:
            yield file
            file.close()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
