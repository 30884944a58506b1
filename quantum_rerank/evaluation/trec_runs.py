"""Runs in the format of TREC: `query Q0 document rank score tag`, a line per document.

trec_eval ignores the rank and the order of lines. It sorts by the score, a float of 32 bits, and
of equal scores it puts the larger document id first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from quantum_rerank.datasets.text_files import each_line
from quantum_rerank.errors import DataError

_STEP = 1e-6  # between two scores of at most 1: more than the steps of a float32 there


def read_run(path: Path) -> dict[str, list[str]]:
    """Read the rankings of a run, in the order of trec_eval.

    Args:
        path: File of the run.

    Returns:
        Query id -> document ids, best first.

    Raises:
        DataError: Lines do not have the format or rank a document twice for one query. The
            message has file and line.
    """
    scores: dict[str, dict[str, np.float32]] = {}

    def add(line: str) -> None:
        columns = line.split()
        if len(columns) != 6:
            raise DataError(
                f"{len(columns)} columns, but a TREC run has 6: query Q0 document rank score tag."
            )
        query, _, document, _, score, _ = columns
        ranked = scores.setdefault(query, {})
        if document in ranked:
            raise DataError(f"{document} is ranked for query {query} already.")
        ranked[document] = _score(score)

    each_line(path, add)
    if not scores:
        raise DataError(f"{path}: the run is empty.")
    return {
        query: sorted(ranked, key=lambda document: (ranked[document], document), reverse=True)
        for query, ranked in scores.items()
    }


def falling(scores: Sequence[float]) -> list[float]:
    """Lower scores as little as is needed for them to fall strictly as floats of 32 bits.

    trec_eval then has no ties to break.

    Args:
        scores: At most 1, best first.

    >>> falling([0.5, 0.5, 0.25])
    [0.5, 0.499999, 0.25]
    """
    lowered: list[float] = []
    for score in scores:
        at_most = lowered[-1] - _STEP if lowered else math.inf
        lowered.append(round(min(score, at_most), 7))
    return lowered


def run_lines(ranked: Mapping[str, Sequence[tuple[str, float]]], tag: str) -> Iterator[str]:
    """Yield the lines of a run.

    Args:
        ranked: Query -> documents with falling scores, best first.
        tag: Name of the system.
    """
    for query, documents in ranked.items():
        for rank, (document, score) in enumerate(documents, start=1):
            yield f"{query} Q0 {document} {rank} {score:.7f} {tag}\n"


def _score(text: str) -> np.float32:
    try:
        value = math.nan if "_" in text else float(text)  # Python reads 1_0 as 10
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"the score is {text!r}, but must be a number.")
    return np.float32(value)
