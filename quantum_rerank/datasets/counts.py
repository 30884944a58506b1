"""Counts of data that were left out or changed, with a few examples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice

N_EXAMPLES = 5
_LONGEST = 100  # characters of an example; longer ones are cut


class Count(int):
    """A whole number with up to five examples of the counted items.

    JSON shows it as a number.

    Args:
        number: The count.
        examples: Descriptions of counted items; all but the first N_EXAMPLES are dropped.

    >>> Count(7, ["q1", "q2"]), Count(7, ["q1", "q2"]).examples
    (7, ('q1', 'q2'))
    """

    examples: tuple[str, ...]

    def __new__(cls, number: int, examples: Iterable[str] = ()) -> Count:
        count = super().__new__(cls, number)
        count.examples = tuple(map(_cut, islice(examples, N_EXAMPLES)))
        return count


class Tally:
    """A counter that keeps the first examples."""

    def __init__(self) -> None:
        self.number = 0
        self._examples: list[str] = []

    def add(self, example: str) -> None:
        """Increase the count by one.

        Args:
            example: Description of the counted item.
        """
        self.number += 1
        if len(self._examples) < N_EXAMPLES:
            self._examples.append(example)

    def as_counts(self, sentence: str) -> dict[str, int]:
        """Return a sentence with its count, or an empty mapping if the count is 0."""
        return {sentence: Count(self.number, self._examples)} if self.number else {}


def count_lines(counts: Mapping[str, int]) -> list[str]:
    """Return a line for each count, with its examples.

    Args:
        counts: Sentence, with the counted noun in the plural first -> count.

    >>> count_lines({"rows left out": Count(2, ["line 5", "line 9"]), "texts cut": 1})
    ['2 rows left out (line 5, line 9)', '1 text cut']
    """
    return [
        f"{count:d} {_singular(sentence) if count == 1 else sentence}{_shown(count)}"
        for sentence, count in counts.items()
    ]


def _singular(sentence: str) -> str:
    """Return a sentence on one thing: its first word is a regular plural, or a preposition."""
    sentence = re.sub(r"^((?:of [\d,]+ )?\w+) are ", r"\1 is ", sentence)
    noun, space, rest = sentence.partition(" ")
    noun = f"{noun[:-3]}y" if noun.endswith("ies") else noun.removesuffix("s")
    return f"{noun}{space}{rest}"


def _shown(count: int) -> str:
    examples = count.examples if isinstance(count, Count) else ()
    more = ", ..." if len(examples) < count else ""
    return f" ({', '.join(examples)}{more})" if examples else ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
