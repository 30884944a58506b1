"""Counts of what was not taken as it was given, with a few examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

N_EXAMPLES = 5
_LONGEST = 100  # characters of an example


class Count(int):
    """A whole number that remembers up to five examples of what was counted.

    It is written to JSON as its number.

    >>> Count(7, ["q1", "q2"]), Count(7, ["q1", "q2"]).examples
    (7, ('q1', 'q2'))
    """

    examples: tuple[str, ...]

    def __new__(cls, number: int, examples: Iterable[str] = ()) -> Count:
        count = super().__new__(cls, number)
        count.examples = tuple(map(_cut, islice(examples, N_EXAMPLES)))
        return count


class Tally:
    """Counts what it is given, and keeps the first examples."""

    def __init__(self) -> None:
        self.number = 0
        self._examples: list[str] = []

    def add(self, example: str) -> None:
        """Count one more."""
        self.number += 1
        if len(self._examples) < N_EXAMPLES:
            self._examples.append(example)

    def as_counts(self, what: str) -> dict[str, int]:
        """The sentence `what` with its count, or nothing where nothing was counted."""
        return {what: Count(self.number, self._examples)} if self.number else {}


def count_lines(counts: Mapping[str, int]) -> list[str]:
    """A sentence for each kind, with its examples.

    >>> count_lines({"rows left out": Count(2, ["line 5", "line 9"]), "texts cut": 1})
    ['2 rows left out (line 5, line 9)', '1 texts cut']
    """
    return [f"{count:d} {what}{_shown(count)}" for what, count in counts.items()]


def _shown(count: int) -> str:
    examples = count.examples if isinstance(count, Count) else ()
    more = ", ..." if len(examples) < count else ""
    return f" ({', '.join(examples)}{more})" if examples else ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
