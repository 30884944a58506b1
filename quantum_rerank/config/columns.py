"""`--columns query=q,document=text,label=rel`: the columns of a table on a command line."""

from __future__ import annotations

from quantum_rerank.config.sections import ColumnsConfig
from quantum_rerank.errors import ConfigError


def parse_columns(text: str) -> dict[str, str]:
    """Read what `--columns` was given, as overrides by dotted keys.

    >>> parse_columns("query=q,label=rel")
    {'data.columns.query': 'q', 'data.columns.label': 'rel'}

    Raises: ConfigError with every part that is not a role and a column, or is given twice.
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
