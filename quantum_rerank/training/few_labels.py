"""Advice where there are few training queries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from quantum_rerank.config import DataConfig
from quantum_rerank.plain_text import pasted

FEW_QUERIES = 100
"""Below this number of training queries, BM25 and the cosine are hard to beat."""

_WORD = re.compile(r"(?!(true|false|null)$)[a-z][\w+./:-]*", re.IGNORECASE)  # YAML reads a text


def few_labels(n_queries: int, data: DataConfig) -> list[str]:
    """Return what to expect of few training queries, as one sentence or none.

    Args:
        n_queries: Number of training queries of all collections.
        data: Collections, for the command of the learning curve.
    """
    if n_queries >= FEW_QUERIES:
        return []
    return [
        f"Only {n_queries} training queries: with fewer than {FEW_QUERIES}, BM25 + cosine is hard "
        "to beat, and the winner may be delivered with a model weight of 0, which leaves the "
        f"ranking to the first stage. See what more labels bring: {learning_curve_command(data)}"
    ]


def learning_curve_command(data: DataConfig) -> str:
    """Return the command of the learning curve on the same collections.

    >>> from quantum_rerank.config import DataConfig
    >>> data = DataConfig(seen=("csv:my clicks.csv",), unseen_validation=(), unseen_test=())
    >>> learning_curve_command(data)
    "quantum-rerank train --learning-curve --data 'csv:my clicks.csv' --output FOLDER"
    """
    collections = [word for name in data.seen for word in ("--data", name)]
    settings = [word for setting in _settings(data) for word in ("--set", setting)]
    command = ("quantum-rerank", "train", "--learning-curve")
    return pasted(*command, *collections, *settings, "--output", "FOLDER")


def _settings(data: DataConfig) -> Iterator[str]:
    """Yield `key=value` for the other keys that differ from what `--data` alone means."""
    values = data.model_dump(mode="json")
    alone = DataConfig(seen=data.seen, unseen_validation=(), unseen_test=()).model_dump(mode="json")
    columns, columns_alone = values.pop("columns"), alone.pop("columns")
    for prefix, given, without in (
        ("data.", values, alone),
        ("data.columns.", columns, columns_alone),
    ):
        for name, value in given.items():
            if value != without[name]:
                is_word = isinstance(value, str) and _WORD.fullmatch(value)
                yield f"{prefix}{name}={value if is_word else json.dumps(value)}"
