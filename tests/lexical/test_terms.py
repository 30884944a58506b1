from __future__ import annotations

import pytest

from quantum_rerank.lexical import TermExtractor, languages
from quantum_rerank.lexical.terms import N_CHARACTERS, term_number


def test_words_are_lower_cased_sequences_of_letters_and_digits() -> None:
    extractor = TermExtractor("words", "english")
    assert extractor.terms("Type-2 DIABETES, übel!") == ["type", "2", "diabetes", "übel"]


def test_forms_of_a_word_have_one_stem() -> None:
    extractor = TermExtractor("stems", "english")
    (stem,) = {*extractor.terms("fracture"), *extractor.terms("Fractured fractures")}
    assert stem == "fractur"


def test_the_stems_are_those_of_the_language() -> None:
    german, english = (TermExtractor("stems", name) for name in ("german", "english"))
    assert german.terms("Häuser") == german.terms("Hauses")
    assert german.terms("Häuser") != english.terms("Häuser")


@pytest.mark.parametrize("word", ["a", "ab", "abc", "abcdefgh"])
def test_ngrams_cover_a_word_and_its_ends(word: str) -> None:
    terms = TermExtractor("ngrams", "english").terms(word)
    marked = f" {word} "
    assert len(terms) == max(len(marked) - N_CHARACTERS + 1, 1)
    assert terms[0][0] == " " and terms[-1][-1] == " "
    assert all(term in marked for term in terms)


@pytest.mark.parametrize("kind", ["words", "stems", "ngrams"])
@pytest.mark.parametrize("text", ["", "  \n", "?!", "\ud800"])
def test_a_text_without_words_has_no_terms(kind: str, text: str) -> None:
    assert TermExtractor(kind, "english").counts(text) == {}  # type: ignore[arg-type]


def test_occurrences_are_counted() -> None:
    counts = TermExtractor("words", "english").counts("red red Oak")
    assert counts == {term_number("red"): 2, term_number("oak"): 1}


def test_numbers_of_terms_are_the_same_in_every_process() -> None:
    assert term_number("oak") == 7164548706259542353
    assert 0 <= term_number("\ud800") < 2**63


def test_there_is_a_stemmer_for_every_language() -> None:
    assert {"english", "german", "french"} <= set(languages())
    for language in languages():
        assert TermExtractor("stems", language).terms("x") == ["x"]
