"""Terms of a text, by which BM25 compares texts: words, their stems, or n-grams of characters.

Terms are numbered by a hash, so that an index needs no vocabulary: the numbers of a corpus are an
array, which can be mapped from a file and holds no text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

TermKind = Literal["words", "stems", "ngrams"]

N_CHARACTERS = 4
_WORD = re.compile(r"\w+")
_WORDS, _TERMS = 2**16, 2**18  # kept, so that a frequent word is analysed once


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
        self._number = lru_cache(_TERMS)(term_number)

    def terms(self, text: str) -> list[str]:
        """Return the terms of a text in their order, repeated as often as they occur."""
        return list(self._each(text))

    def counts(self, text: str) -> dict[int, int]:
        """Return number of a term -> number of its occurrences in a text."""
        number = self._number
        return {number(term): count for term, count in Counter(self._each(text)).items()}

    def _each(self, text: str) -> Iterator[str]:
        for word in _WORD.findall(text.lower()):
            yield from self._terms_of_word(word)


def term_number(term: str) -> int:
    """Return the number of a term, from 0 to 2**63 - 1: equal for two terms by accident alone."""
    digest = blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def languages() -> tuple[str, ...]:
    """Return the languages that have a stemmer."""
    import snowballstemmer

    return tuple(sorted(snowballstemmer.algorithms()))


def _ngrams(word: str) -> tuple[str, ...]:
    marked = f" {word} "
    if len(marked) <= N_CHARACTERS:
        return (marked,)
    return tuple(marked[i : i + N_CHARACTERS] for i in range(len(marked) - N_CHARACTERS + 1))
