"""Text of unknown origin, made safe for a terminal, a shell and a spreadsheet.

A name, an id or a message of an error may come from a file that somebody else has written.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import Any

# All control characters but tab and newline, and those that reorder or break a line.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def shown(text: str) -> str:
    """Replace control characters, so that a name cannot send commands to a terminal.

    Characters that reverse the direction of a line are replaced too.

    >>> shown("run\\x1b[2J")
    'run�[2J'
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def table_cell(value: Any) -> Any:
    """Return a value for a CSV file; a spreadsheet does not take its text for a formula.

    Args:
        value: Text that begins as a formula gets an apostrophe in front. Numbers are unchanged.

    >>> table_cell("=1+2"), table_cell(-1.5), table_cell("triplet")
    ("'=1+2", -1.5, 'triplet')
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def pasted(*words: object) -> str:
    """Return a command that can be pasted into a shell, whatever its paths contain.

    Args:
        words: Words of the command, not quoted.

    >>> pasted("python", "-m", "tuning.search", "--resume", "runs/lr=1 or 2?")
    "python -m tuning.search --resume 'runs/lr=1 or 2?'"
    """
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    """Return a quoted word; line breaks and the like become escapes of bash and zsh."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = "".join(c if c.isprintable() and c not in "'\\" else _escape(c) for c in word)
    return f"$'{escaped}'"


def _escape(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
