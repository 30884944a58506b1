from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantum_rerank.datasets import Collection
from quantum_rerank.datasets.collection import MAX_CHARACTERS
from quantum_rerank.embeddings import (
    ENCODERS,
    EncoderSettings,
    Role,
    TextEncoder,
)
from quantum_rerank.embeddings.coverage import Coverage
from quantum_rerank.errors import EmbeddingError


@pytest.mark.slow  # imports sentence-transformers
def test_a_folder_without_a_model_is_an_embedding_error(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match="cannot be loaded"):
        TextEncoder(str(tmp_path)).encode(["a text"])


@pytest.mark.parametrize("name", ["no/such/folder", "a name with spaces", "org/never-made"])
def test_an_unknown_name_is_an_embedding_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EmbeddingError, match=f"The encoder `{name}` cannot be loaded"):
        TextEncoder(name).encode(["a text"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm", "wordllama"])
def test_equal_texts_have_equal_vectors_in_any_batch(name: str) -> None:
    # Two batches: in the first, long texts fill the short one up.
    text = "virus of the lung"
    texts = [*(f"oak number {n:03d} " * 8 for n in range(127)), text, text, "an elm", text]
    vectors = TextEncoder(name).encode(pd.Series(texts, index=range(200, 200 + len(texts))))
    assert len({vectors[row].tobytes() for row, one in enumerate(texts) if one == text}) == 1
    np.testing.assert_allclose(vectors[129], TextEncoder(name).encode(["an elm"])[0], atol=1e-6)


@pytest.mark.slow
def test_minilm_gives_similar_texts_similar_vectors_and_caches_them(
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
def test_vectors_of_a_role_equal_those_of_sentence_transformers(
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
def test_configured_prompts_override_those_of_the_model(
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


def test_a_prompt_of_wordllama_is_put_before_each_text() -> None:
    pytest.importorskip("wordllama", reason="needs the encoder wordllama")
    prompted = TextEncoder("wordllama", settings=EncoderSettings("query: ", "passage: "))
    bare = TextEncoder("wordllama")
    for role, prompt in ((Role.QUERY, "query: "), (Role.DOCUMENT, "passage: ")):
        expected = bare.encode([prompt + text for text in TEXTS])
        np.testing.assert_array_equal(prompted.encode(TEXTS, role=role), expected)


def test_a_query_and_a_document_with_equal_texts_share_a_vector_only_without_prompts(
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


def test_vectors_of_other_prompts_are_not_read_from_the_cache(
    words_encoder: str, tmp_path: Path
) -> None:
    for prompt in ("", "a: ", "b: "):
        settings = EncoderSettings(prompt)
        found = TextEncoder(words_encoder, tmp_path, settings).encode(TEXTS, "texts", Role.QUERY)
        expected = TextEncoder(words_encoder).encode([prompt + text for text in TEXTS])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


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
def test_progress_is_shown_for_a_label_unless_overridden(
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


def test_the_tokens_of_a_prompt_count_towards_the_limit(words_encoder: str) -> None:
    settings = EncoderSettings(query_prompt="one two ")
    encoder, texts = TextEncoder(words_encoder, settings=settings), ["oak " * 7]
    assert encoder.coverage(texts, role=Role.QUERY).cut == 1
    assert encoder.coverage(texts, role=Role.DOCUMENT).cut == 0


def test_counts_are_cached(
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
def test_damaged_counts_are_computed_again(
    words_encoder: str, trees: Collection, tmp_path: Path, content: str
) -> None:
    trees = replace(trees, corpus={"1": LONG, "2": "oak"})
    first = TextEncoder(words_encoder, tmp_path / "cache").unread(trees)
    for file in (tmp_path / "cache").glob("*.json"):
        file.write_text(content)
    assert TextEncoder(words_encoder, tmp_path / "cache").unread(trees) == first


def test_a_text_is_cut_before_it_is_counted(words_encoder: str) -> None:
    text = " " * MAX_CHARACTERS + "oak " * 20  # of which only white space is embedded
    assert TextEncoder(words_encoder).coverage([text]) == Coverage(1, limit=8)
