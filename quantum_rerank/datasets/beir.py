"""Any folder in BEIR layout: `corpus.jsonl`, `queries.jsonl`, `qrels/*.tsv`.

Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of
Information Retrieval Models", 2021.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from quantum_rerank.datasets.collection import Collection, checked
from quantum_rerank.errors import DataError

SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "test": "test"}  # file -> split


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
    corpus = {key: _with_title(record) for key, record in _records(root / "corpus.jsonl")}
    queries = {key: record["text"] for key, record in _records(root / "queries.jsonl")}
    qrels: Mapping[str, dict[str, int]] = defaultdict(dict)
    official: dict[str, frozenset[str]] = {}
    for path in sorted((root / "qrels").glob("*.tsv")):
        judged = _judgments(path)
        for query, document, grade in judged:
            qrels[query][document] = grade
        if split := SPLITS.get(path.stem):
            official[split] = frozenset(query for query, _, _ in judged)
    for one, other in combinations(official, 2):
        if shared := official[one] & official[other]:
            raise DataError(f"`{root / 'qrels'}`: {len(shared)} queries are in {one} and {other}.")
    if len(official) < 2:
        official = {}
    else:
        used = frozenset().union(*official.values())
        qrels = {query: judged for query, judged in qrels.items() if query in used}
    judged_queries = {query: text for query, text in queries.items() if query in qrels}
    skipped = len(queries) - len(judged_queries)
    return checked(
        Collection(
            domain=f"beir:{root.resolve().name}",
            corpus=corpus,
            queries=judged_queries,
            qrels=qrels,
            official=official,
            skipped={"queries without judgments in its splits": skipped} if skipped else {},
        )
    )


def texts(folder: str) -> tuple[dict[str, str], dict[str, str]]:
    """The corpus and all queries of a folder, judged or not; it needs no judgments."""
    root = Path(folder)
    corpus = {key: _with_title(record) for key, record in _records(root / "corpus.jsonl")}
    return corpus, {key: record["text"] for key, record in _records(root / "queries.jsonl")}


def _with_title(record: dict[str, Any]) -> str:
    title, text = str(record.get("title") or "").strip(), record["text"].strip()
    return f"{title}. {text}" if title and text else title or text


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield id and JSON object of each line; ids are unique, and each has a `text`."""
    seen: set[str] = set()
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                record = json.loads(line)
                place = f"{path}, line {number}"
                if not isinstance(record, dict) or "_id" not in record or "text" not in record:
                    raise DataError(f"{place}: needs the keys `_id` and `text`.")
                key, text = str(record["_id"]), record["text"]
                if not isinstance(text, str):
                    raise DataError(f"{place}: `text` is {text!r}, but must be a string.")
                if key in seen:
                    raise DataError(f"{place}: the `_id` {key!r} stands above already.")
                seen.add(key)
                yield key, record
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number}: not valid JSON: {error.msg}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable file of UTF-8 text: {error}.") from None


def _judgments(path: Path) -> list[tuple[str, str, int]]:
    """Rows of query id, document id and grade."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataError(f"{path}: not a table in UTF-8 text.") from None
    header = rows[0] if rows else None
    if header != ["query-id", "corpus-id", "score"]:
        raise DataError(
            f"{path}, line 1: the header is {header}, but must be "
            "query-id, corpus-id and score, separated by tabs."
        )
    return [_judgment(row, f"{path}, line {n}") for n, row in enumerate(rows[1:], start=2)]


def _judgment(row: list[str], place: str) -> tuple[str, str, int]:
    try:
        query, document, grade = row
        return query, document, int(grade)
    except ValueError:
        raise DataError(f"{place}: {row} is not query id, document id and whole grade.") from None
