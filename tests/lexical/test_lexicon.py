from __future__ import annotations

import numpy as np
import pytest

from quantum_rerank.lexical import extractors_of, index_texts, merged_lexicon

CORPUS = ["fractured femur", "fracture of the skull", "cholera", ""]


@pytest.mark.parametrize("kind", ["words", "stems", "ngrams", "stems+ngrams"])
def test_texts_score_as_the_rows_of_an_index(kind: str) -> None:
    index = index_texts(CORPUS, kind, "english")  # type: ignore[arg-type]
    for query in ("fractures", "cholera of a femur", "?!", "pigeon"):
        texts = index.lexicon.scores(query, CORPUS)
        np.testing.assert_allclose(index.scores(query), texts, atol=1e-7)
        rows = np.array([2, 0])
        np.testing.assert_allclose(index.scores(query, rows), texts[rows], atol=1e-7)


def test_two_kinds_of_terms_count_the_same() -> None:
    query = "fractures"
    both, stems, ngrams = (
        index_texts(CORPUS, kind, "english").scores(query)
        for kind in ("stems+ngrams", "stems", "ngrams")
    )
    np.testing.assert_allclose(both, (stems + ngrams) / 2)


def test_stems_match_what_words_miss() -> None:
    stems = index_texts(CORPUS, "stems", "english").scores("fractures")
    words = index_texts(CORPUS, "words", "english").scores("fractures")
    assert stems[0] > 0.0 and stems[1] > 0.0
    assert not words.any()


def test_a_merged_lexicon_is_that_of_all_texts() -> None:
    parts = [index_texts(texts, "stems+ngrams", "english") for texts in (CORPUS[:2], CORPUS[2:])]
    merged = merged_lexicon([part.lexicon for part in parts])
    whole = index_texts(CORPUS, "stems+ngrams", "english").lexicon
    query = "skull fractures"
    np.testing.assert_allclose(merged.scores(query, CORPUS), whole.scores(query, CORPUS))


def test_kinds_name_their_extractors() -> None:
    assert [e.kind for e in extractors_of("stems+ngrams", "english")] == ["stems", "ngrams"]
    assert [e.kind for e in extractors_of("words", "english")] == ["words"]
