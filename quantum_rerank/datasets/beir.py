"""Any folder in BEIR layout: `corpus.jsonl`, `queries.jsonl`, `qrels/*.tsv`.

Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of
Information Retrieval Models", 2021.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quantum_rerank.datasets.collection import Collection, checked
from quantum_rerank.errors import DataError

SPLITS = ("train", "dev", "test")


def load(folder: str) -> Collection:
    """Load a folder; the name of the folder becomes the domain.

    Where both `train.tsv` and `test.tsv` exist they are taken as the official
    splits; otherwise all judged queries are pooled and split by seed.
    """
    root = Path(folder)
    missing = [
        f"`{root / name}` does not exist"
        for name in ("corpus.jsonl", "queries.jsonl", "qrels")
        if not (root / name).exists()
    ]
    if missing:
        raise DataError(f"{'; '.join(missing)}. A BEIR folder holds all three.")
    corpus = {record["_id"]: _document_text(record) for record in _records(root / "corpus.jsonl")}
    queries = {record["_id"]: record["text"] for record in _records(root / "queries.jsonl")}
    qrels: dict[str, dict[str, int]] = defaultdict(dict)
    official: dict[str, frozenset[str]] = {}
    for path in sorted((root / "qrels").glob("*.tsv")):
        judged = list(_judgments(path))
        for query, document, grade in judged:
            qrels[query][document] = grade
        if path.stem in SPLITS:
            official[path.stem] = frozenset(query for query, _, _ in judged)
    shared = official.get("train", frozenset()) & official.get("test", frozenset())
    if shared:
        raise DataError(f"`{root / 'qrels'}`: {len(shared)} queries are in train and in test.")
    if not {"train", "test"} <= official.keys():
        official = {}
    judged_queries = {query: text for query, text in queries.items() if query in qrels}
    skipped = len(queries) - len(judged_queries)
    return checked(
        Collection(
            domain=f"beir:{root.resolve().name}",
            corpus=corpus,
            queries=judged_queries,
            qrels=qrels,
            official=official,
            skipped={"queries without judgments": skipped} if skipped else {},
        )
    )


def _document_text(record: dict[str, Any]) -> str:
    title = str(record.get("title") or "").strip()
    text = str(record.get("text") or "").strip()
    return f"{title}. {text}" if title and text else title or text


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file, each with a string `_id` and a `text`."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                record = json.loads(line)
                if not isinstance(record, dict) or "_id" not in record or "text" not in record:
                    raise DataError(f"{path}, line {number}: needs the keys `_id` and `text`.")
                record["_id"] = str(record["_id"])
                yield record
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number}: not valid JSON: {error.msg}.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text.") from None


def _judgments(path: Path) -> Iterator[tuple[str, str, int]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(rows, None)
        if header != ["query-id", "corpus-id", "score"]:
            raise DataError(
                f"{path}, line 1: the header is {header}, but must be "
                "query-id, corpus-id and score, separated by tabs."
            )
        for number, row in enumerate(rows, start=2):
            try:
                query, document, grade = row
                yield query, document, int(grade)
            except ValueError:
                raise DataError(
                    f"{path}, line {number}: {row} is not query id, document id and whole grade."
                ) from None
