from __future__ import annotations

import hashlib
import json
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import Collection, load_collection
from quantum_rerank.datasets.collection import MAX_CHARACTERS
from quantum_rerank.embeddings import (
    EncoderSettings,
    Role,
    TextEncoder,
    blocks,
    embedding_source,
    encoder,
    source_of,
)
from quantum_rerank.embeddings.coverage import Coverage
from quantum_rerank.embeddings.encoder import ArraySource, normalised, unit_rows
from quantum_rerank.embeddings.text_models import ENCODERS
from quantum_rerank.errors import EmbeddingError


@pytest.fixture
def trees(beir_folder: Callable[..., Path]) -> Collection:
    return load_collection(f"beir:{beir_folder('trees')}")


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


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.float16, np.int32, np.float64])
def test_vectors_of_other_numbers_become_float32_of_length_one(
    vectors: Path, trees: Collection, kind: type[np.generic]
) -> None:
    rows = np.random.default_rng(0).integers(1, 100, size=(16, 5))
    np.save(vectors / "queries.npy", rows.astype(kind))
    queries, _ = ArraySource(vectors).embed(trees)
    assert queries.dtype == np.float32
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(queries, expected, atol=1e-6)


def test_an_array_of_yes_and_no_is_refused(vectors: Path, trees: Collection) -> None:
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


# Queries and documents.

TEXTS = ["how does the virus spread", "Coughing spreads it.", "query: what"]
E5 = {"query": "query: ", "document": "passage: "}
BGE = {"query": "Represent this sentence for searching relevant passages: "}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompts", "default"),
    [
        (E5, None),
        (BGE, None),
        ({"query": "query: ", "passage": "passage: "}, None),
        ({"query": "", "document": "", "sts": "Same? "}, "sts"),
        ({}, None),
    ],
    ids=["e5", "bge", "passage", "default", "none"],
)
def test_texts_are_embedded_as_sentence_transformers_does_for_their_role(
    prompted_minilm: Callable[..., Path], prompts: dict[str, str], default: str | None
) -> None:
    from sentence_transformers import SentenceTransformer

    folder = str(prompted_minilm(prompts, default))
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    ours = TextEncoder(folder)
    for role, theirs in ((Role.QUERY, model.encode_query), (Role.DOCUMENT, model.encode_document)):
        expected = theirs(TEXTS, normalize_embeddings=True)
        np.testing.assert_allclose(ours.encode(TEXTS, role=role), expected, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [E5, {}], ids=["e5", "none"])
def test_prompts_that_are_given_take_the_place_of_the_encoders_own(
    prompted_minilm: Callable[..., Path], prompts: dict[str, str]
) -> None:
    from sentence_transformers import SentenceTransformer

    folder = str(prompted_minilm(prompts))
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    ours = TextEncoder(folder, settings=EncoderSettings("search_query: ", ""))
    expected = model.encode(TEXTS, prompt="search_query: ", normalize_embeddings=True)
    np.testing.assert_allclose(ours.encode(TEXTS, role=Role.QUERY), expected, rtol=0, atol=1e-6)
    bare = model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(ours.encode(TEXTS, role=Role.DOCUMENT), bare, rtol=0, atol=1e-6)


def test_a_prompt_of_wordllama_is_text_before_each_text() -> None:
    pytest.importorskip("wordllama", reason="needs the encoder wordllama")
    prompted = TextEncoder("wordllama", settings=EncoderSettings("query: ", "passage: "))
    bare = TextEncoder("wordllama")
    for role, prompt in ((Role.QUERY, "query: "), (Role.DOCUMENT, "passage: ")):
        expected = bare.encode([prompt + text for text in TEXTS])
        np.testing.assert_array_equal(prompted.encode(TEXTS, role=role), expected)


def test_a_collection_is_embedded_by_the_roles_of_its_texts(
    words_encoder: str, trees: Collection
) -> None:
    data = DataConfig(encoder=words_encoder, query_prompt="query: ", document_prompt="passage: ")
    queries, documents = source_of(data).embed(trees)
    bare = TextEncoder(words_encoder)
    for found, texts, prompt in (
        (queries, trees.queries, "query: "),
        (documents, trees.corpus, "passage: "),
    ):
        expected = bare.encode([prompt + text for text in texts.values()])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_query_and_a_document_of_one_text_share_a_vector_only_without_prompts(
    words_encoder: str, tmp_path: Path
) -> None:
    for name, settings, n_files in (
        ("bare", EncoderSettings(), 1),
        ("empty", EncoderSettings("", ""), 1),
        ("prompted", EncoderSettings("query: "), 2),
    ):
        encoder = TextEncoder(words_encoder, tmp_path / name, settings)
        query, document = (encoder.encode(TEXTS, "texts", role) for role in Role)
        assert len(list((tmp_path / name).glob("*.npy"))) == n_files
        assert np.array_equal(query, document) == (n_files == 1)


def test_vectors_of_other_prompts_are_not_taken_from_the_cache(
    words_encoder: str, tmp_path: Path
) -> None:
    for prompt in ("", "a: ", "b: "):
        settings = EncoderSettings(prompt)
        found = TextEncoder(words_encoder, tmp_path, settings).encode(TEXTS, "texts", Role.QUERY)
        expected = TextEncoder(words_encoder).encode([prompt + text for text in TEXTS])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_only_prompts_change_the_fingerprint_of_an_encoder(words_encoder: str) -> None:
    def fingerprint(**settings: Any) -> str:
        return TextEncoder(words_encoder, settings=EncoderSettings(**settings)).fingerprint

    # As earlier versions had it, whose bundles and caches stay good.
    plain = hashlib.sha256(b"model.txt" + b"words").hexdigest()
    assert fingerprint() == fingerprint(query_prompt="", document_prompt="") == plain
    assert fingerprint(device="auto", batch_size=7, show_progress_bar=False) == plain
    prompted = {
        fingerprint(query_prompt="a"),
        fingerprint(query_prompt="b"),
        fingerprint(document_prompt="a"),
        fingerprint(query_prompt="a", document_prompt="a"),
    }
    assert len(prompted | {plain}) == 5
    assert fingerprint(query_prompt="a", document_prompt="") == fingerprint(query_prompt="a")


def test_the_fingerprint_tells_an_encoders_own_prompts_from_none(
    words_encoder: str, tmp_path: Path
) -> None:
    config = tmp_path / "words" / "config_sentence_transformers.json"
    config.write_text(json.dumps({"prompts": E5}))
    own = TextEncoder(words_encoder).fingerprint
    none = TextEncoder(words_encoder, settings=EncoderSettings("", "")).fingerprint
    half = TextEncoder(words_encoder, settings=EncoderSettings("")).fingerprint
    files = config.name.encode() + config.read_bytes() + b"model.txt" + b"words"
    assert none == hashlib.sha256(files).hexdigest()
    assert len({own, none, half}) == 3


@pytest.mark.parametrize("batch_size", [1, 3, 32, 500])
def test_the_batch_size_changes_no_vector(words_encoder: str, batch_size: int) -> None:
    texts = [f"tree {number}" for number in range(300)]
    settings = EncoderSettings(batch_size=batch_size)
    found = TextEncoder(words_encoder, settings=settings).encode(texts)
    np.testing.assert_array_equal(found, TextEncoder(words_encoder).encode(texts))


@pytest.mark.parametrize(
    ("settings", "label", "shown", "expected"),
    [
        ({}, "trees", None, True),
        ({}, None, None, False),
        ({}, None, True, True),
        ({"show_progress_bar": False}, "trees", None, False),
        ({}, "trees", False, False),
    ],
)
def test_progress_is_shown_where_it_is_asked_for(
    words_encoder: str,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, bool],
    label: str | None,
    shown: bool | None,
    expected: bool,
) -> None:
    encoder = TextEncoder(words_encoder, settings=EncoderSettings(**settings))
    encoder.encode(TEXTS, label, show_progress_bar=shown)
    assert ("embedding" in capsys.readouterr().err) == expected


# What an encoder does not read.


LONG, STRANGE = "oak " * 20, "\u0e15\u0e49\u0e19\u0e44\u0e21\u0e49"


def test_texts_that_are_not_read_in_full_are_counted_by_their_role(
    words_encoder: str, trees: Collection
) -> None:
    corpus = {f"{row}": LONG if row < 6 else "oak" for row in range(200)} | {"strange": STRANGE}
    queries = {"1": "oak", "2": LONG, "3": STRANGE}
    counts = TextEncoder(words_encoder).unread(replace(trees, corpus=corpus, queries=queries))
    plain = "documents are longer than the 8 tokens that the encoder reads; it ignores the rest"
    assert counts[plain] == 6
    assert sorted(counts.values()) == [1, 1, 1, 6]
    warned = [sentence for sentence in counts if "Warning: this is 33%." in sentence]
    assert [sentence.split(" are ")[0] for sentence in warned] == ["of 3 queries"] * 2


def test_a_prompt_takes_room_from_a_text(words_encoder: str) -> None:
    settings = EncoderSettings(query_prompt="one two ")
    encoder, texts = TextEncoder(words_encoder, settings=settings), ["oak " * 7]
    assert encoder.coverage(texts, role=Role.QUERY).cut == 1
    assert encoder.coverage(texts, role=Role.DOCUMENT).cut == 0


def test_counts_are_kept_beside_the_vectors(
    words_encoder: str, trees: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = replace(trees, corpus={"1": LONG, "2": "oak"})
    first = TextEncoder(words_encoder, tmp_path / "cache").unread(trees)
    assert 1 in first.values()

    def refuse(*arguments: object) -> Coverage:
        raise AssertionError("The encoder is asked again.")

    kind = type(ENCODERS[words_encoder](EncoderSettings()))
    monkeypatch.setattr(kind, "coverage", refuse)
    assert TextEncoder(words_encoder, tmp_path / "cache").unread(trees) == first


@pytest.mark.parametrize("content", ["", "{", "[]", '{"another": 1}'])
def test_damaged_counts_are_made_anew(
    words_encoder: str, trees: Collection, tmp_path: Path, content: str
) -> None:
    trees = replace(trees, corpus={"1": LONG, "2": "oak"})
    first = TextEncoder(words_encoder, tmp_path / "cache").unread(trees)
    for file in (tmp_path / "cache").glob("*.json"):
        file.write_text(content)
    assert TextEncoder(words_encoder, tmp_path / "cache").unread(trees) == first


def test_nothing_is_counted_of_vectors_that_were_computed_elsewhere(
    vectors: Path, trees: Collection
) -> None:
    assert ArraySource(vectors).unread(trees) == {}


def test_a_text_is_counted_as_it_is_embedded(words_encoder: str) -> None:
    text = " " * MAX_CHARACTERS + "oak " * 20  # of which only white space is embedded
    assert TextEncoder(words_encoder).coverage([text]) == Coverage(1, limit=8)
