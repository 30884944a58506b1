"""Numbers with their nouns."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in the singular or the plural.

    Args:
        number: Number.
        noun: Noun in the singular, with a regular plural.

    >>> counted(1, "layer"), counted(2, "layer"), counted(1200, "query")
    ('1 layer', '2 layers', '1,200 queries')
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun[:-1]}ies" if noun.endswith("y") else f"{number:,} {noun}s"
