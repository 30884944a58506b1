"""Any folder in BEIR layout: `corpus.jsonl`, `queries.jsonl`, `qrels/*.tsv`.

Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of
Information Retrieval Models", 2021.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantum_rerank.datasets.collection import Collection, checked, text_counts
from quantum_rerank.datasets.judgments import SPLITS, Judgment, read_judgments, whole_grade
from quantum_rerank.datasets.text_files import (
    id_of,
    json_record,
    shortened,
    text_of,
    texts_by_id,
    with_title,
)
from quantum_rerank.errors import DataError

HEADER = ["query-id", "corpus-id", "score"]


def load(folder: str) -> Collection:
    """Load a folder; the name of the folder becomes the domain.

    With two or more of `train.tsv`, `dev.tsv` (or `valid.tsv`) and `test.tsv` they are
    the official splits, and queries judged elsewhere are left out; otherwise all
    judged queries are pooled and split by seed.
    """
    root = Path(folder)
    missing = [
        f"`{root / name}` does not exist"
        for name in ("corpus.jsonl", "queries.jsonl", "qrels")
        if not (root / name).exists()
    ]
    if missing:
        raise DataError(f"{'; '.join(missing)}. A BEIR folder holds all three.")
    files = sorted((root / "qrels").glob("*.tsv"))
    if not files:
        raise DataError(f"`{root / 'qrels'}` has no judgments: no file *.tsv, such as test.tsv.")
    corpus = texts_by_id(root / "corpus.jsonl", _document)
    queries = texts_by_id(root / "queries.jsonl", _query)
    judgments = read_judgments({path: SPLITS.get(path.stem) for path in files}, _judgment, _header)
    judged, counts = judgments.of_known(queries)
    return checked(
        Collection(
            domain=domain(folder),
            corpus=corpus,
            queries=judged,
            qrels=judgments.qrels,
            official=judgments.official,
            skipped=counts,
        )
    )


def domain(folder: str) -> str:
    """The domain of a folder, which need not be there: its name, however its path is spelt."""
    return f"beir:{Path(folder).resolve().name}"


def texts(folder: str) -> tuple[dict[str, str], dict[str, str], dict[str, int]]:
    """The corpus and all queries of a folder, judged or not, and what is to be said of them.

    It needs no judgments.
    """
    root = Path(folder)
    corpus = texts_by_id(root / "corpus.jsonl", _document)
    queries = texts_by_id(root / "queries.jsonl", _query)
    return corpus, queries, text_counts(corpus, queries)


def _document(line: str) -> tuple[str, str]:
    return document(json_record(line, "_id", "text"))


def document(record: dict[str, Any]) -> tuple[str, str]:
    """Id and text of an object of `corpus.jsonl`, the title before the text."""
    return id_of(record, "_id"), with_title(str(record.get("title") or ""), text_of(record, "text"))


def _query(line: str) -> tuple[str, str]:
    record = json_record(line, "_id", "text")
    return id_of(record, "_id"), text_of(record, "text")


def _header(line: str) -> None:
    if (header := line.split("\t")) != HEADER:
        raise DataError(
            f"the header is {shortened(header)}, but must be "
            "query-id, corpus-id and score, separated by tabs."
        )


def _judgment(line: str) -> Judgment:
    row = line.split("\t")
    if len(row) != 3:
        raise DataError(f"{shortened(row)} is not query id, document id and grade.")
    return row[0], row[1], whole_grade(row[2])
