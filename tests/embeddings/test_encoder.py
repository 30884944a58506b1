from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantum_rerank.datasets import Collection, beir
from quantum_rerank.embeddings import TextEncoder, blocks, embedding_source, encoder
from quantum_rerank.embeddings.encoder import ArraySource, normalised, unit_rows
from quantum_rerank.errors import EmbeddingError


@pytest.fixture
def trees(beir_folder: Callable[..., Path]) -> Collection:
    return beir.load(str(beir_folder("trees")))


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


def test_a_subfolder_named_by_the_domain_goes_first(vectors: Path, trees: Collection) -> None:
    own = vectors / "beir-trees"
    own.mkdir()
    np.save(own / "corpus.npy", np.ones((24, 3)))
    np.save(own / "queries.npy", np.ones((16, 3)))
    _, documents = ArraySource(vectors).embed(trees)
    np.testing.assert_allclose(documents, np.full((24, 3), 3**-0.5), rtol=1e-6)


@pytest.mark.parametrize("name", ["corpus.npy", "queries.npy"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_named(
    vectors: Path, trees: Collection, name: str, value: float
) -> None:
    array = np.load(vectors / name)
    array[3, 1] = value
    np.save(vectors / name, array)
    with pytest.raises(EmbeddingError, match=rf"{name}: row 3 holds NaN or infinity"):
        ArraySource(vectors).embed(trees)


def test_a_row_of_zeros_is_named(vectors: Path, trees: Collection) -> None:
    array = np.load(vectors / "corpus.npy")
    array[7] = 0.0
    np.save(vectors / "corpus.npy", array)
    with pytest.raises(EmbeddingError, match=r"corpus\.npy: row 7 is all zero"):
        ArraySource(vectors).embed(trees)


@pytest.mark.parametrize("size", [1e-25, 1e25])
@pytest.mark.parametrize("divided", [normalised, unit_rows])
def test_a_row_whose_length_a_float32_cannot_hold_is_named_with_its_numbers(
    divided: Callable[..., object], size: float
) -> None:
    rows = np.ones((3, 5), dtype=np.float32)
    rows[1] = size
    with pytest.raises(EmbeddingError, match=re.escape(f"row 1 has numbers up to {size:.0e}, and")):
        divided(rows, "rows")


@pytest.mark.parametrize("size", [1e-19, 1e-3, 1e18])
def test_rows_are_divided_by_their_length_in_float32(size: float) -> None:
    rows = (np.random.default_rng(0).normal(size=(8, 4)) * size).astype(np.float32)
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_array_equal(normalised(rows, "rows"), expected)


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
def test_a_file_that_is_no_array_is_refused(
    vectors: Path, trees: Collection, content: bytes
) -> None:
    (vectors / "corpus.npy").write_bytes(content)
    with pytest.raises(EmbeddingError, match="is no readable array"):
        ArraySource(vectors).embed(trees)


def test_an_array_of_words_is_refused(vectors: Path, trees: Collection) -> None:
    np.save(vectors / "queries.npy", np.full((16, 5), "oak"))
    with pytest.raises(EmbeddingError):
        ArraySource(vectors).embed(trees)


@pytest.fixture
def all_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as a large one."""
    monkeypatch.setattr(encoder, "MAPPED_FROM", 0)


@pytest.mark.usefixtures("all_mapped")
def test_large_vectors_are_normalised_into_a_mapped_file_of_the_cache(
    vectors: Path, trees: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = ArraySource(vectors, tmp_path / "cache").embed(trees)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    monkeypatch.setattr(encoder, "MAPPED_FROM", 2**40)
    for large, small in zip(mapped, ArraySource(vectors).embed(trees), strict=True):
        np.testing.assert_array_equal(large, small)
        assert isinstance(large.base, np.memmap)
        assert not isinstance(small.base, np.memmap)


@pytest.mark.usefixtures("all_mapped")
def test_large_vectors_that_are_ready_are_mapped_where_they_lie(
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
def test_large_vectors_that_were_replaced_are_not_taken_from_the_cache(
    vectors: Path, trees: Collection, tmp_path: Path
) -> None:
    source = ArraySource(vectors, tmp_path / "cache")
    source.embed(trees)
    np.save(vectors / "corpus.npy", np.ones((24, 5)))
    _, documents = source.embed(trees)
    np.testing.assert_allclose(documents, np.full((24, 5), 5**-0.5), rtol=1e-6)


@pytest.mark.usefixtures("all_mapped")
@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_bad_row_of_large_vectors_has_its_number_in_the_whole(
    vectors: Path, trees: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    monkeypatch.setattr(encoder, "blocks", lambda array: blocks(array, 5))
    rows = normalised(np.load(vectors / "corpus.npy").astype(np.float32), "rows")
    rows[17] = value
    np.save(vectors / "corpus.npy", rows)
    with pytest.raises(EmbeddingError, match=r"corpus\.npy: row 17 "):
        ArraySource(vectors, tmp_path / "cache").embed(trees)


def test_normalising_twice_changes_nothing_more() -> None:
    rows = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    once = normalised(rows, "rows")
    np.testing.assert_allclose(np.linalg.norm(once, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(normalised(once, "rows"), once, rtol=1e-6)


def test_a_source_is_chosen_by_its_name_and_loads_nothing_yet(tmp_path: Path) -> None:
    assert isinstance(embedding_source("minilm"), TextEncoder)
    assert isinstance(embedding_source(f"npy:{tmp_path / 'nowhere'}"), ArraySource)


@pytest.mark.slow  # imports sentence-transformers
def test_a_folder_without_a_model_is_an_embedding_error(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match="cannot be loaded"):
        TextEncoder(str(tmp_path)).encode(["a text"])


def test_the_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    first = TextEncoder(str(tmp_path)).fingerprint
    weights.write_bytes(b"two")
    assert TextEncoder(str(tmp_path)).fingerprint != first
    settings = tmp_path / "config.json"
    settings.write_text("{}")
    with_settings = TextEncoder(str(tmp_path)).fingerprint
    settings.write_text('{"pooling": "max"}')
    assert TextEncoder(str(tmp_path)).fingerprint != with_settings


def test_the_fingerprint_does_not_follow_the_place(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"one")
    here, there = (TextEncoder(str(tmp_path / name)).fingerprint for name in ("here", "there"))
    assert here == there


@pytest.mark.parametrize("file", ["corpus.npy", "queries.npy", "beir-trees/corpus.npy"])
def test_the_fingerprint_of_arrays_follows_every_file_of_vectors(vectors: Path, file: str) -> None:
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


def test_the_fingerprint_of_arrays_follows_those_of_a_domain_with_folders_in_its_name(
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


def test_the_fingerprint_of_arrays_stays_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "beir-trees").mkdir()
    for name in ("queries.npy", "beir-trees/corpus.npy", "beir-trees/queries.npy"):
        (tmp_path / name).write_bytes(name.encode())
    assert (
        ArraySource(tmp_path).fingerprint
        == "npy:fce29dd5388e9d04d379d398a2d3426c16b4c5f7e34705b10695326fd518130c"
    )


def test_the_fingerprint_of_arrays_tells_queries_from_documents(vectors: Path) -> None:
    first = ArraySource(vectors).fingerprint
    (vectors / "corpus.npy").rename(vectors / "other.npy")
    (vectors / "queries.npy").rename(vectors / "corpus.npy")
    (vectors / "other.npy").rename(vectors / "queries.npy")
    assert ArraySource(vectors).fingerprint != first


def test_the_fingerprint_of_arrays_follows_neither_the_place_nor_what_lies_beside(
    vectors: Path, tmp_path: Path
) -> None:
    first = ArraySource(vectors).fingerprint
    np.save(vectors / "unused.npy", np.ones(3))
    moved = vectors.rename(tmp_path / "moved")
    assert ArraySource(moved).fingerprint == first


def test_the_fingerprint_of_arrays_holds_no_file_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "corpus.npy").open("wb") as file:
        file.truncate(2**26)
    tracemalloc.start()
    assert ArraySource(tmp_path).fingerprint.startswith("npy:")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


def test_an_array_that_cannot_be_read_is_named_by_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "corpus.npy").mkdir()
    with pytest.raises(EmbeddingError, match=r"corpus\.npy` cannot be read: Is a directory"):
        _ = ArraySource(tmp_path).fingerprint


@pytest.mark.parametrize("name", ["no/such/folder", "a name with spaces", "org/never-made"])
def test_a_name_that_is_nowhere_is_an_embedding_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EmbeddingError, match=f"The encoder `{name}` cannot be loaded"):
        TextEncoder(name).encode(["a text"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm", "wordllama"])
def test_equal_texts_have_equal_vectors_whatever_stands_between_them(name: str) -> None:
    # Two batches: in the first, long texts fill the short one up.
    text = "virus of the lung"
    texts = [*(f"oak number {n:03d} " * 30 for n in range(127)), text, text, "an elm", text]
    vectors = TextEncoder(name).encode(pd.Series(texts, index=range(200, 200 + len(texts))))
    assert len({vectors[row].tobytes() for row, one in enumerate(texts) if one == text}) == 1
    np.testing.assert_allclose(vectors[129], TextEncoder(name).encode(["an elm"])[0], atol=1e-6)


@pytest.mark.slow
def test_minilm_places_near_texts_near_and_caches_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["fear of spiders", "irrational fear of spiders and insects", "broken left ankle"]
    encoder = TextEncoder("minilm", tmp_path)
    vectors = encoder.encode(texts, "three texts")
    printed = capsys.readouterr()
    assert "embedding three texts" in printed.err
    assert printed.out == ""  # what a command prints may be read by another
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.6 > 0.3 > far
    # Nothing about the order or the company of a text may change its vector.
    np.testing.assert_allclose(encoder.encode(texts[::-1])[::-1], vectors, atol=1e-5)
    (file,) = tmp_path.glob("*.npy")
    np.testing.assert_allclose(np.load(file), vectors, atol=1e-6)
