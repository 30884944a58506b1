from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from quantum_rerank.export.terms import lexicon_bytes, read_lexicon
from quantum_rerank.lexical import index_texts

CORPUS = ["fractured femur", "fracture of the skull", "cholera"]

Tensors = dict[str, Any]


@pytest.fixture
def content() -> bytes:
    return lexicon_bytes(index_texts(CORPUS, "stems+ngrams", "english").lexicon)


def test_a_lexicon_is_read_as_it_was_written(content: bytes) -> None:
    read = read_lexicon(content, "stems+ngrams", "english")
    written = index_texts(CORPUS, "stems+ngrams", "english").lexicon
    query = "a skull fracture"
    np.testing.assert_array_equal(read.scores(query, CORPUS), written.scores(query, CORPUS))


def test_a_file_holds_no_text(content: bytes) -> None:
    assert not any(word in content for word in (b"femur", b"fractur", b"emur"))


def test_terms_of_another_kind_are_missing() -> None:
    content = lexicon_bytes(index_texts(CORPUS, "words", "english").lexicon)
    with pytest.raises(KeyError):
        read_lexicon(content, "stems", "english")


def longer(tensors: Tensors) -> None:
    tensors["stems.terms"] = np.append(tensors["stems.terms"], np.int64(2**62))


def reversed_terms(tensors: Tensors) -> None:
    tensors["stems.terms"] = tensors["stems.terms"][::-1].copy()


def as_float(tensors: Tensors) -> None:
    tensors["ngrams.frequencies"] = tensors["ngrams.frequencies"].astype(np.float64)


def too_frequent(tensors: Tensors) -> None:
    tensors["stems.frequencies"] = tensors["stems.frequencies"] + 3


def not_finite(tensors: Tensors) -> None:
    tensors["stems.corpus"] = np.array([3.0, np.nan])


def negative(tensors: Tensors) -> None:
    tensors["stems.corpus"] = np.array([-3.0, 2.0])


@pytest.mark.parametrize(
    "change", [longer, reversed_terms, as_float, too_frequent, not_finite, negative]
)
def test_numbers_that_are_no_frequencies_are_refused(
    content: bytes, change: Callable[[Tensors], None]
) -> None:
    tensors = load(content)
    change(tensors)
    with pytest.raises(ValueError, match=r"stems|ngrams"):
        read_lexicon(save(tensors), "stems+ngrams", "english")
