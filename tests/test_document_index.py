from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from quantum_rerank import document_index
from quantum_rerank.config import ExperimentConfig
from quantum_rerank.document_index import DocumentIndex
from quantum_rerank.errors import BundleError, DataError, EmbeddingError, OutputError
from quantum_rerank.similarity import MODELS, Head, build_head, represent

DIM, N = 6, 5
BUNDLE = "0123abcd"

Heads = Callable[..., Head]


def unit_rows(n: int, seed: int = 0) -> Any:
    rows = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def make_head(small_config: Callable[..., ExperimentConfig]) -> Heads:
    def make(model: str = "hybrid", precision: str = "float64") -> Head:
        torch.manual_seed(0)
        config = small_config({"model": model, "circuit.precision": precision})
        return build_head(config, DIM)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def index(make_head: Heads, folder: Path) -> DocumentIndex:
    return DocumentIndex.build(folder, make_head(), BUNDLE, unit_rows(N))


@pytest.mark.parametrize("model", MODELS)
def test_an_index_contains_the_vectors_and_their_states(
    make_head: Heads, folder: Path, model: str
) -> None:
    head = make_head(model)
    index = DocumentIndex.build(folder, head, BUNDLE, unit_rows(N))
    assert len(index) == N
    np.testing.assert_array_equal(index.embeddings, unit_rows(N))
    np.testing.assert_allclose(index.states, represent(head, unit_rows(N)), atol=1e-12)


@pytest.mark.parametrize(
    ("model", "precision", "dtype"),
    [
        ("hybrid", "float64", "complex128"),
        ("hybrid", "float32", "complex64"),
        ("mlp_twin", "float64", "float32"),
        ("cosine", "float64", "float32"),
    ],
)
def test_states_keep_their_precision(
    make_head: Heads, folder: Path, model: str, precision: str, dtype: str
) -> None:
    index = DocumentIndex.build(folder, make_head(model, precision), BUNDLE, unit_rows(N))
    assert (index.embeddings.dtype.name, index.states.dtype.name) == ("float32", dtype)


def test_an_opened_index_equals_the_built_one(index: DocumentIndex, folder: Path) -> None:
    opened = DocumentIndex.open(folder, BUNDLE)
    assert len(opened) == len(index)
    np.testing.assert_array_equal(opened.embeddings, index.embeddings)
    np.testing.assert_array_equal(opened.states, index.states)


@pytest.mark.parametrize("name", ["embeddings", "states"])
def test_the_arrays_are_mapped_and_cannot_be_written_to(index: DocumentIndex, name: str) -> None:
    array = getattr(index, name)
    assert isinstance(array, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_a_corpus_of_many_chunks_is_indexed_completely(make_head: Heads, folder: Path) -> None:
    head, vectors = make_head(), unit_rows(2 * 1024 + 1)
    index = DocumentIndex.build(folder, head, BUNDLE, vectors)
    np.testing.assert_array_equal(index.embeddings, vectors)
    np.testing.assert_allclose(index.states, represent(head, vectors), atol=1e-6)


def test_vectors_may_be_a_mapped_file_of_another_type(
    make_head: Heads, folder: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "vectors.npy", unit_rows(N).astype(np.float64))
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    index = DocumentIndex.build(folder, make_head(), BUNDLE, mapped)
    np.testing.assert_array_equal(index.embeddings, unit_rows(N))


def test_a_head_that_was_training_is_indexed_without_dropout(
    make_head: Heads, folder: Path
) -> None:
    index = DocumentIndex.build(folder, make_head().train(), BUNDLE, unit_rows(N))
    expected = represent(make_head().eval(), unit_rows(N))
    np.testing.assert_allclose(index.states, expected, atol=1e-12)


@pytest.mark.parametrize("rows", [None, [3], [4, 0, 0, 2, 1], (), range(2, 4), np.array([1, 3])])
def test_blocks_contain_the_requested_rows_in_their_order(
    index: DocumentIndex, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block_bytes in [1, 200, 2**22]:
        monkeypatch.setattr(document_index, "_BLOCK_BYTES", block_bytes)
        blocks = list(index.blocks(rows))
        expected = list(range(N)) if rows is None else list(rows)
        vectors = [row for block, _ in blocks for row in block]
        states = [row for _, block in blocks for row in block]
        assert len(vectors) == len(states) == len(expected)
        for place, row in enumerate(expected):
            np.testing.assert_array_equal(vectors[place], index.embeddings[row])
            np.testing.assert_array_equal(states[place], index.states[row])


def test_blocks_of_all_rows_are_views_of_the_files(index: DocumentIndex) -> None:
    for vectors, states in index.blocks():
        assert np.shares_memory(vectors, index.embeddings)
        assert np.shares_memory(states, index.states)


@pytest.mark.parametrize(("rows", "wrong"), [([0, N], N), ([-1], -1), ([2, -3, 99], -3)])
def test_a_row_outside_the_index_is_refused(
    index: DocumentIndex, rows: list[int], wrong: int
) -> None:
    with pytest.raises(DataError, match=rf"Row {wrong} is not in the index, which has {N} doc"):
        list(index.blocks(rows))


@pytest.mark.parametrize("rows", [[0.5], [True, False], [[0, 1]], ["0"]])
def test_rows_that_are_not_integers_are_refused(index: DocumentIndex, rows: Any) -> None:
    with pytest.raises(DataError, match="must be a list of row numbers"):
        list(index.blocks(rows))


def test_an_index_of_another_bundle_is_refused(index: DocumentIndex, folder: Path) -> None:
    with pytest.raises(
        BundleError, match=f"written with another model: the bundle {BUNDLE}, not ff"
    ):
        DocumentIndex.open(folder, "ff")


def cut_off(name: str) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1])

    return damage


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def overwrite_header(folder: Path) -> None:
    content = bytearray((folder / "states.npy").read_bytes())
    content[:4] = b"PK\x03\x04"
    (folder / "states.npy").write_bytes(content)


def append(folder: Path) -> None:
    with (folder / "embeddings.npy").open("ab") as file:
        file.write(b"more")


def exchange_states(folder: Path) -> None:
    np.save(folder / "states.npy", np.ones((N, 2), dtype=np.complex128))


def pickle_states(folder: Path) -> None:
    np.save(folder / "states.npy", np.array([{}] * N, dtype=object), allow_pickle=True)


def set_value(key: str, value: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        record = json.loads((folder / "index.json").read_text())
        (folder / "index.json").write_text(json.dumps(record | {key: value}))

    return change


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param(remove("index.json"), "is not a document index: it has no", id="no record"),
        pytest.param(remove("states.npy"), "states.npy` is missing", id="no states"),
        pytest.param(remove("embeddings.npy"), "embeddings.npy` is missing", id="no vectors"),
        pytest.param(cut_off("states.npy"), "was cut off", id="cut-off states"),
        pytest.param(cut_off("embeddings.npy"), "was cut off", id="cut-off vectors"),
        pytest.param(write("states.npy", b""), "was cut off", id="empty states"),
        pytest.param(append, "was cut off or altered: it is", id="longer vectors"),
        pytest.param(overwrite_header, "altered", id="states that are no array"),
        pytest.param(exchange_states, "altered: it is", id="other states"),
        pytest.param(pickle_states, "altered", id="pickled states"),
        pytest.param(write("index.json", b"{"), "cannot be read", id="cut-off record"),
        pytest.param(write("index.json", b"\xff"), "cannot be read", id="unreadable record"),
        pytest.param(write("index.json", b"[]"), "schema version None", id="other record"),
        pytest.param(set_value("schema_version", 3), "schema version 3", id="newer version"),
        pytest.param(set_value("n_documents", 4), "is damaged: 5 vectors", id="other number"),
        pytest.param(set_value("files", {}), "was cut off or altered", id="no files"),
        pytest.param(set_value("files", None), "was cut off or altered", id="files of no kind"),
    ],
)
def test_a_damaged_index_is_refused_with_a_message(
    index: DocumentIndex, folder: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    damage(folder)
    with pytest.raises(BundleError) as caught:
        DocumentIndex.open(folder, BUNDLE)
    assert sentence in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere` does not exist"):
        DocumentIndex.open(tmp_path / "nowhere", BUNDLE)


def test_an_existing_index_is_not_overwritten(
    index: DocumentIndex, make_head: Heads, folder: Path
) -> None:
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OutputError, match="exists already"):
        DocumentIndex.build(folder, make_head(), BUNDLE, unit_rows(2, seed=1))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == content


def test_an_empty_folder_is_used_and_no_temporary_folder_is_left(
    make_head: Heads, folder: Path
) -> None:
    folder.mkdir()
    DocumentIndex.build(folder, make_head(), BUNDLE, unit_rows(N))
    assert [path.name for path in folder.parent.iterdir()] == ["index"]
    assert {path.name for path in folder.iterdir()} == {
        "embeddings.npy",
        "states.npy",
        "index.json",
    }


def test_a_folder_that_cannot_be_written_is_reported(make_head: Heads, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        DocumentIndex.build(tmp_path / "file" / "index", make_head(), BUNDLE, unit_rows(N))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room cannot be reserved here")
def test_a_full_disk_is_reported_and_leaves_nothing(
    make_head: Heads, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        DocumentIndex.build(folder, make_head(), BUNDLE, unit_rows(N))
    assert list(folder.parent.iterdir()) == []


def test_a_vector_that_is_not_finite_is_refused_and_leaves_nothing(
    make_head: Heads, folder: Path
) -> None:
    vectors = unit_rows(1100)
    vectors[1050, 2] = np.nan
    with pytest.raises(EmbeddingError, match="documents: row 1050 holds NaN or infinity"):
        DocumentIndex.build(folder, make_head(), BUNDLE, vectors)
    assert list(folder.parent.iterdir()) == []


def test_indexed_vectors_are_normalised(make_head: Heads, folder: Path) -> None:
    index = DocumentIndex.build(folder, make_head(), BUNDLE, 7 * unit_rows(N))
    np.testing.assert_allclose(index.embeddings, unit_rows(N), atol=1e-6)


def test_an_index_without_documents_is_refused(make_head: Heads, folder: Path) -> None:
    with pytest.raises(EmbeddingError, match="There are no documents to index"):
        DocumentIndex.build(folder, make_head(), BUNDLE, unit_rows(0))


@pytest.fixture
def repeating(make_head: Heads, folder: Path) -> DocumentIndex:
    """Five documents, of which the third and the last are the first once more."""
    vectors = unit_rows(N)
    vectors[[2, 4]] = vectors[0]
    return DocumentIndex.build(folder, make_head(), BUNDLE, vectors)


def test_an_index_records_equal_rows(repeating: DocumentIndex, folder: Path) -> None:
    for index in (repeating, DocumentIndex.open(folder, BUNDLE)):
        assert index.duplicates.tolist() == [[2, 0], [4, 0]]
        assert index.first_rows([4, 3, 2, 1, 0]).tolist() == [0, 3, 0, 1, 0]
        np.testing.assert_array_equal(index.states[[2, 4]], index.states[[0, 0]])


def test_an_index_without_equal_rows_has_no_duplicates_file(
    index: DocumentIndex, folder: Path
) -> None:
    assert not (folder / "duplicates.npy").exists()
    assert index.first_rows([4, 0, 4]).tolist() == [4, 0, 4]


@pytest.mark.parametrize(
    "pairs", [[[2, 0], [9, 0]], [[4, 0], [2, 0]], [[2, 3], [4, 0]], [[2, -1], [4, 0]], [[2, 0]]]
)
def test_an_altered_duplicates_file_is_refused(
    repeating: DocumentIndex, folder: Path, pairs: list[list[int]]
) -> None:
    assert len(repeating.duplicates) == 2
    np.save(folder / "duplicates.npy", np.array(pairs))
    with pytest.raises(BundleError, match=r"duplicates\.npy` was .*altered"):
        DocumentIndex.open(folder, BUNDLE)


def test_a_missing_duplicates_file_is_named(repeating: DocumentIndex, folder: Path) -> None:
    assert len(repeating.duplicates) == 2
    (folder / "duplicates.npy").unlink()
    with pytest.raises(BundleError, match=r"duplicates\.npy` is missing"):
        DocumentIndex.open(folder, BUNDLE)


def test_the_rows_of_a_column_are_read_by_position(index: DocumentIndex) -> None:
    column = pd.Series([3, 0], index=[0, 3])
    ((vectors, _),) = index.blocks(column)
    np.testing.assert_array_equal(vectors, index.embeddings[[3, 0]])
