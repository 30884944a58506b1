"""A cache of embeddings on disk, keyed by model and texts, safe for concurrent processes."""

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
from quantum_rerank.regular_files import read_json, require_regular

CACHE_VARIABLE = "QUANTUM_RERANK_CACHE"

Embeddings = NDArray[np.float32]


def default_cache_folder() -> Path:
    """Return `$QUANTUM_RERANK_CACHE`, or `quantum-rerank` in the user's cache folder.

    Raises:
        OutputError: The variable is not set, and the user has no home folder.
    """
    if configured := os.environ.get(CACHE_VARIABLE):
        return expanded(configured)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (expanded(base) if base else Path.home() / ".cache") / "quantum-rerank"
    except RuntimeError:  # a user id without an account, as in containers
        raise OutputError(
            f"HOME is not set, and the user {os.getuid()} has no home folder for the embedding "
            f"cache. Set {CACHE_VARIABLE} to a folder that can be written to."
        ) from None


def cache_key(model_fingerprint: str, texts: Sequence[str]) -> str:
    """Return the SHA-256 of a model and of texts in order.

    Args:
        model_fingerprint: Fingerprint of the model and the role of the texts.
        texts: Texts; the length of each is hashed too, so that their borders count.
    """
    digest = hashlib.sha256(model_fingerprint.encode())
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


class EmbeddingCache:
    """A folder of `KEY.npy` files, and of `KEY.json` files with counts of their texts.

    If two processes need the same key, the first computes and the second waits and reads. Files
    are complete when they appear under their names.

    Args:
        folder: Folder, which is created if it does not exist.

    Raises:
        OutputError: The folder cannot be written, or a file in it belongs to another user; also
            raised by each method.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with self._clear_errors():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".lock").touch()

    def get_or_compute(self, key: str, compute: Callable[[], Embeddings]) -> Embeddings:
        """Read the array of a key, or compute and cache it.

        Args:
            key: Key of `cache_key`.
            compute: Returns the array, (n, dim) float32.
        """
        path = self._folder / f"{key}.npy"
        with self._locked(key):
            with self._clear_errors():
                array = _read(path)
            if array is None:
                array = compute()
                with self._clear_errors():
                    _write(path, len(array), [array])
        return array

    def get_or_write(
        self, key: str, n_rows: int, compute: Callable[[], Iterable[Embeddings]]
    ) -> Embeddings:
        """Map the array of a key, or compute and write it block by block.

        Args:
            key: Key of `cache_key`.
            n_rows: Rows of all blocks together.
            compute: Returns the blocks, (n, dim) float32 each.
        """
        path = self._folder / f"{key}.npy"
        with self._locked(key), self._clear_errors():
            array = _mapped(path)
            if array is None:
                _write(path, n_rows, compute())
        return open_mapped(path) if array is None else array

    def get_or_count(self, key: str, compute: Callable[[], Coverage]) -> Coverage:
        """Read the counts of a key's texts, or compute and cache them.

        Args:
            key: Key of `cache_key`.
            compute: Returns the counts.
        """
        path = self._folder / f"{key}.json"
        with self._locked(key):
            with self._clear_errors():
                coverage = _read_coverage(path)
            if coverage is None:
                coverage = compute()
                with self._clear_errors(), _appearing(path) as file:
                    file.write(json.dumps(asdict(coverage)).encode())
        return coverage

    def _locked(self, key: str) -> AbstractContextManager[object]:
        """Acquire the lock of a key until the end of the context."""
        lock = FileLock(self._folder / f"{key}.lock")
        with self._clear_errors():
            return lock.acquire()

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Raise OutputError in place of errors of the operating system."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"The embedding cache `{self._folder}` cannot be written: {error.strerror}. "
                f"Set {CACHE_VARIABLE} to a writable folder."
            ) from None


def _mapped(path: Path) -> Embeddings | None:
    """Map the array of a file; None if it does not exist or is truncated."""
    try:
        return open_mapped(path)
    except (FileNotFoundError, ValueError):
        return None


def _read(path: Path) -> Embeddings | None:
    """Return the array of a file; None if it does not exist or is truncated."""
    try:
        require_regular(path)
        return np.array(open_mapped(path))
    except (FileNotFoundError, ValueError):
        return None


def _read_coverage(path: Path) -> Coverage | None:
    """Return the counts of a file; None if it does not exist, is damaged, or of another version."""
    try:
        return Coverage(**read_json(path))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def _write(path: Path, n_rows: int, parts: Iterable[Embeddings]) -> None:
    with _appearing(path) as file:
        write_rows(file, n_rows, parts)


@contextmanager
def _appearing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that is renamed when it is complete."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        part = Path(file.name)
        try:
            yield file
            file.close()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
