from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantum_rerank.datasets import Collection
from quantum_rerank.embeddings import (
    arrays,
    blocks,
)
from quantum_rerank.embeddings.arrays import ArraySource
from quantum_rerank.embeddings.unit_rows import normalised
from quantum_rerank.errors import EmbeddingError


@pytest.fixture
def vectors(tmp_path: Path, trees: Collection) -> Path:
    """A folder of vectors that fits the collection."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "vectors"
    folder.mkdir()
    np.save(folder / "corpus.npy", rng.normal(size=(len(trees.corpus), 5)))
    np.save(folder / "queries.npy", rng.normal(size=(len(trees.queries), 5)))
    return folder


def test_vectors_come_normalised_as_float32_and_in_order(vectors: Path, trees: Collection) -> None:
    queries, documents = ArraySource(vectors).embed(trees)
    for rows, name in ((queries, "queries"), (documents, "corpus")):
        raw = np.load(vectors / f"{name}.npy")
        expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_a_subfolder_named_by_the_domain_takes_precedence(vectors: Path, trees: Collection) -> None:
    own = vectors / "beir-trees"
    own.mkdir()
    np.save(own / "corpus.npy", np.ones((24, 3)))
    np.save(own / "queries.npy", np.ones((16, 3)))
    _, documents = ArraySource(vectors).embed(trees)
    np.testing.assert_allclose(documents, np.full((24, 3), 3**-0.5), rtol=1e-6)


@pytest.mark.parametrize("name", ["corpus.npy", "queries.npy"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_refused_with_its_number(
    vectors: Path, trees: Collection, name: str, value: float
) -> None:
    array = np.load(vectors / name)
    array[3, 1] = value
    np.save(vectors / name, array)
    with pytest.raises(EmbeddingError, match=rf"{name}: row 3 holds NaN or infinity"):
        ArraySource(vectors).embed(trees)


def test_a_row_of_zeros_is_refused_with_its_number(vectors: Path, trees: Collection) -> None:
    array = np.load(vectors / "corpus.npy")
    array[7] = 0.0
    np.save(vectors / "corpus.npy", array)
    with pytest.raises(EmbeddingError, match=r"corpus\.npy: row 7 is all zero"):
        ArraySource(vectors).embed(trees)


def test_queries_and_documents_of_different_width_are_refused(
    vectors: Path, trees: Collection
) -> None:
    np.save(vectors / "queries.npy", np.ones((16, 4)))
    with pytest.raises(EmbeddingError, match=r"queries\.npy has 4 columns and corpus\.npy 5"):
        ArraySource(vectors).embed(trees)


@pytest.mark.parametrize("shape", [(15, 5), (17, 5), (16,), (16, 5, 1), (0, 5)])
def test_a_wrong_number_of_rows_is_refused(
    vectors: Path, trees: Collection, shape: tuple[int, ...]
) -> None:
    np.save(vectors / "queries.npy", np.ones(shape))
    with pytest.raises(EmbeddingError, match="must have 16 rows: one per text"):
        ArraySource(vectors).embed(trees)


@pytest.mark.parametrize("name", ["corpus.npy", "queries.npy"])
def test_a_missing_file_is_named(vectors: Path, trees: Collection, name: str) -> None:
    (vectors / name).unlink()
    with pytest.raises(EmbeddingError, match="does not exist") as caught:
        ArraySource(vectors).embed(trees)
    assert str(vectors / name) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not an array"])
def test_a_file_that_is_not_an_array_is_refused(
    vectors: Path, trees: Collection, content: bytes
) -> None:
    (vectors / "corpus.npy").write_bytes(content)
    with pytest.raises(EmbeddingError, match="is not a readable array"):
        ArraySource(vectors).embed(trees)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.float16, np.int32, np.float64])
def test_vectors_of_other_types_become_float32_of_length_one(
    vectors: Path, trees: Collection, kind: type[np.generic]
) -> None:
    rows = np.random.default_rng(0).integers(1, 100, size=(16, 5))
    np.save(vectors / "queries.npy", rows.astype(kind))
    queries, _ = ArraySource(vectors).embed(trees)
    assert queries.dtype == np.float32
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(queries, expected, atol=1e-6)


def test_an_array_of_booleans_is_refused(vectors: Path, trees: Collection) -> None:
    np.save(vectors / "queries.npy", np.ones((16, 5), dtype=bool))
    with pytest.raises(EmbeddingError, match="holds bool, but must hold real numbers"):
        ArraySource(vectors).embed(trees)


def test_an_array_of_words_is_refused(vectors: Path, trees: Collection) -> None:
    np.save(vectors / "queries.npy", np.full((16, 5), "oak"))
    with pytest.raises(EmbeddingError):
        ArraySource(vectors).embed(trees)


@pytest.fixture
def all_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as a large one."""
    monkeypatch.setattr(arrays, "MAPPED_FROM", 0)


@pytest.mark.usefixtures("all_mapped")
def test_large_vectors_are_normalised_into_a_mapped_file_of_the_cache(
    vectors: Path, trees: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = ArraySource(vectors, tmp_path / "cache").embed(trees)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    monkeypatch.setattr(arrays, "MAPPED_FROM", 2**40)
    for large, small in zip(mapped, ArraySource(vectors).embed(trees), strict=True):
        np.testing.assert_array_equal(large, small)
        assert isinstance(large.base, np.memmap)
        assert not isinstance(small.base, np.memmap)


@pytest.mark.usefixtures("all_mapped")
def test_large_normalised_vectors_are_mapped_without_a_copy(
    vectors: Path, trees: Collection, tmp_path: Path
) -> None:
    for name in ("queries", "corpus"):
        path = vectors / f"{name}.npy"
        np.save(path, normalised(np.load(path).astype(np.float32), name))
    for found, name in zip(
        ArraySource(vectors, tmp_path / "cache").embed(trees), ("queries", "corpus"), strict=True
    ):
        np.testing.assert_array_equal(found, np.load(vectors / f"{name}.npy"))
        assert isinstance(found.base, np.memmap)
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("all_mapped")
def test_replaced_large_vectors_are_not_read_from_the_cache(
    vectors: Path, trees: Collection, tmp_path: Path
) -> None:
    source = ArraySource(vectors, tmp_path / "cache")
    source.embed(trees)
    np.save(vectors / "corpus.npy", np.ones((24, 5)))
    _, documents = source.embed(trees)
    np.testing.assert_allclose(documents, np.full((24, 5), 5**-0.5), rtol=1e-6)


@pytest.mark.usefixtures("all_mapped")
@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_an_invalid_row_of_large_vectors_is_numbered_over_all_blocks(
    vectors: Path, trees: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    monkeypatch.setattr(arrays, "blocks", lambda array: blocks(array, 5))
    rows = normalised(np.load(vectors / "corpus.npy").astype(np.float32), "rows")
    rows[17] = value
    np.save(vectors / "corpus.npy", rows)
    with pytest.raises(EmbeddingError, match=r"corpus\.npy: row 17 "):
        ArraySource(vectors, tmp_path / "cache").embed(trees)


@pytest.mark.parametrize("file", ["corpus.npy", "queries.npy", "beir-trees/corpus.npy"])
def test_the_fingerprint_of_arrays_depends_on_every_file(vectors: Path, file: str) -> None:
    (vectors / "beir-trees").mkdir()
    np.save(vectors / "beir-trees" / "corpus.npy", np.ones((3, 5)))
    source = ArraySource(vectors)
    first = source.fingerprint
    assert first.startswith("npy:")
    assert ArraySource(vectors).fingerprint == first
    rows = np.load(vectors / file)
    rows[-1, -1] += 1e-6
    np.save(vectors / file, rows)
    assert ArraySource(vectors).fingerprint != first
    assert source.fingerprint == first  # of the vectors that it has handed out


def test_the_fingerprint_of_arrays_depends_on_nested_subfolders(
    tmp_path: Path, trees: Collection
) -> None:
    collection = replace(trees, domain="ir_datasets:beir/trees/test")
    folder = tmp_path / "ir_datasets-beir" / "trees" / "test"
    folder.mkdir(parents=True)
    found = []
    for seed in (0, 1):
        rows = np.random.default_rng(seed).normal(size=(24, 5))
        np.save(folder / "corpus.npy", rows)
        np.save(folder / "queries.npy", rows[:16])
        ArraySource(tmp_path).embed(collection)
        found.append(ArraySource(tmp_path).fingerprint)
    assert found[0] != found[1]
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "ir_datasets-beir").symlink_to(tmp_path / "ir_datasets-beir")
    assert ArraySource(linked).fingerprint == found[1]


def test_the_fingerprint_of_arrays_is_stable_across_versions(tmp_path: Path) -> None:
    (tmp_path / "beir-trees").mkdir()
    for number, name in enumerate(
        ("queries.npy", "beir-trees/corpus.npy", "beir-trees/queries.npy")
    ):
        np.save(tmp_path / name, np.arange(number, number + 6, dtype="<f4").reshape(3, 2))
    assert (
        ArraySource(tmp_path).fingerprint
        == "npy:ca2891f62730f3d793c54b823a1ed86d5a812fc8ae1bb3f17322b6c7cb667617"
    )


def test_the_fingerprint_of_arrays_distinguishes_queries_and_documents(vectors: Path) -> None:
    first = ArraySource(vectors).fingerprint
    (vectors / "corpus.npy").rename(vectors / "other.npy")
    (vectors / "queries.npy").rename(vectors / "corpus.npy")
    (vectors / "other.npy").rename(vectors / "queries.npy")
    assert ArraySource(vectors).fingerprint != first


def test_the_fingerprint_of_arrays_ignores_the_folder_and_other_files(
    vectors: Path, tmp_path: Path
) -> None:
    first = ArraySource(vectors).fingerprint
    np.save(vectors / "unused.npy", np.ones(3))
    moved = vectors.rename(tmp_path / "moved")
    assert ArraySource(moved).fingerprint == first


def test_the_fingerprint_of_arrays_reads_files_in_blocks(tmp_path: Path) -> None:
    np.lib.format.open_memmap(tmp_path / "corpus.npy", "w+", np.float32, (2**17, 128))
    tracemalloc.start()
    assert ArraySource(tmp_path).fingerprint.startswith("npy:")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


def test_the_fingerprint_of_an_unreadable_array_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "corpus.npy").mkdir()
    with pytest.raises(EmbeddingError, match=r"corpus\.npy` cannot be read: Is a directory"):
        _ = ArraySource(tmp_path).fingerprint


def test_precomputed_vectors_have_no_counts(vectors: Path, trees: Collection) -> None:
    assert ArraySource(vectors).unread(trees) == {}
