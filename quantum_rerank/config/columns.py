"""`--columns query=q,document=text,label=rel`: the columns of a table on a command line."""

from __future__ import annotations

from quantum_rerank.datasets.config import ColumnsConfig
from quantum_rerank.errors import ConfigError


def parse_columns(text: str) -> dict[str, str]:
    """Parse the value of `--columns` into overrides by dotted keys.

    >>> parse_columns("query=q,label=rel")
    {'data.columns.query': 'q', 'data.columns.label': 'rel'}

    Raises:
        ConfigError: Parts that are not ROLE=COLUMN, or repeat a role; all are listed.
    """
    overrides: dict[str, str] = {}
    problems: list[str] = []
    for part in text.split(","):
        role, separator, column = (piece.strip() for piece in part.partition("="))
        key = f"data.columns.{role}"
        if not separator or not column or role not in ColumnsConfig.model_fields:
            problems.append(
                f"`--columns`: {part!r} must be ROLE=COLUMN, where ROLE is "
                f"{', '.join(ColumnsConfig.model_fields)}."
            )
        elif key in overrides:
            problems.append(f"`--columns` names {role} twice.")
        overrides[key] = column
    if problems:
        raise ConfigError(problems)
    return overrides
