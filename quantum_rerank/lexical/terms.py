"""Terms of a text, by which BM25 compares texts: words, their stems, or n-grams of characters.

Terms are numbered by a hash, so that an index needs no vocabulary: the numbers of a corpus are an
array, which can be mapped from a file and holds no text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

TermKind = Literal["words", "stems", "ngrams"]

N_CHARACTERS = 4
_WORD = re.compile(r"\w+")
_WORDS = 2**16  # kept, so that a frequent word is analysed once


class TermExtractor:
    """Extracts the terms of texts.

    - `words`: sequences of letters, digits and underscores, in lower case.
    - `stems`: words without their endings, by the Snowball stemmer of a language.
    - `ngrams`: sequences of four characters of each word, its start and end marked by a space.
      They match compounds, codes and spellings that differ.

    Args:
        kind: Kind of terms.
        language: Language of the stemmer, one of `languages()`.

    >>> TermExtractor("stems", "english").terms("Fractured femurs")
    ['fractur', 'femur']
    >>> TermExtractor("ngrams", "english").terms("Femur")
    [' fem', 'femu', 'emur', 'mur ']
    """

    def __init__(self, kind: TermKind, language: str) -> None:
        self.kind, self.language = kind, language
        self._terms_of_word: Callable[[str], tuple[str, ...]]
        if kind == "stems":
            import snowballstemmer

            stem = snowballstemmer.stemmer(language).stemWord
            self._terms_of_word = lru_cache(_WORDS)(lambda word: (stem(word),))
        elif kind == "ngrams":
            self._terms_of_word = lru_cache(_WORDS)(_ngrams)
        else:
            self._terms_of_word = lambda word: (word,)
        self._numbers_of_word = lru_cache(_WORDS)(
            lambda word: tuple(map(term_number, self._terms_of_word(word)))
        )

    def terms(self, text: str) -> list[str]:
        """Return the terms of a text in their order, repeated as often as they occur."""
        return [term for word in _words(text) for term in self._terms_of_word(word)]

    def counts(self, text: str) -> dict[int, int]:
        """Return number of a term -> number of its occurrences in a text."""
        counts: dict[int, int] = {}
        for word, n in Counter(_words(text)).items():
            for number in self._numbers_of_word(word):
                counts[number] = counts.get(number, 0) + n
        return counts


def term_number(term: str) -> int:
    """Return the number of a term, from 0 to 2**63 - 1: equal for two terms by accident alone."""
    digest = blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def languages() -> tuple[str, ...]:
    """Return the languages that have a stemmer."""
    import snowballstemmer

    return tuple(sorted(snowballstemmer.algorithms()))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _ngrams(word: str) -> tuple[str, ...]:
    marked = f" {word} "
    if len(marked) <= N_CHARACTERS:
        return (marked,)
    return tuple(marked[i : i + N_CHARACTERS] for i in range(len(marked) - N_CHARACTERS + 1))
