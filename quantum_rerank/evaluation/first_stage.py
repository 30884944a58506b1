"""Results of a first-stage retrieval: read from a TREC run or from JSONL, written reranked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import IdenticalRule, load_texts, own_documents
from quantum_rerank.datasets.collection import text_counts
from quantum_rerank.datasets.raw_lines import uncompressed_name
from quantum_rerank.datasets.text_files import each_line, is_encodable
from quantum_rerank.errors import DataError
from quantum_rerank.evaluation import trec_runs

JSONL = ".jsonl"
SCORE, RETRIEVAL_SCORE = "score", "retrieval_score"
"""Keys of a document in JSONL: the reranker's score, and the score of the first stage."""


@dataclass(frozen=True)
class Request:
    """Query with the documents retrieved for it, best first.

    Attributes:
        query: Key of the query's text.
        documents: Keys of the documents' texts.
        record: Line of JSONL that the request was read from; empty for a TREC run.
    """

    query: str
    documents: Sequence[str]
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Texts:
    """Texts of queries and documents by key.

    Attributes:
        queries: Key -> text.
        documents: Key -> text.
        skipped: Reason -> number of texts that were skipped or changed.
        collection: Collection of the texts; empty if the input holds the texts.
    """

    queries: Mapping[str, str]
    documents: Mapping[str, str]
    skipped: Mapping[str, int]
    collection: str = ""


Ranked = list[tuple[Request, list[tuple[int, float]]]]
"""Requests, each with the positions of its documents in the new order, and falling scores."""


def is_jsonl(path: Path) -> bool:
    """Return whether a file, compressed or not, is named as JSONL."""
    return uncompressed_name(path).suffix == JSONL


def read_trec_run(
    path: Path, data: str | None, config: DataConfig | None = None
) -> tuple[list[Request], Texts]:
    """Read the requests of a TREC run.

    Args:
        path: TREC run, which names texts without holding them.
        data: Collection of the texts.
        config: Settings for reading the collection.

    Returns:
        The requests, and the texts of the collection.

    Raises:
        DataError: No collection is named, or it or the run cannot be read.
    """
    if data is None:
        raise DataError(
            "A TREC run names texts without holding them. Name their collection, as in "
            f"`--data beir:FOLDER`; a JSONL file must be called *{JSONL}."
        )
    requests = [Request(query, ids) for query, ids in trec_runs.read_run(path).items()]
    documents, queries, skipped = load_texts(data, config)
    return requests, Texts(queries, documents, skipped, data)


def without_own_documents(
    requests: Sequence[Request], texts: Texts, rule: IdenticalRule
) -> tuple[list[Request], Texts]:
    """Remove documents that are the query itself, and count them in `skipped`.

    Judgments are not available here, so that a relevant document is removed too.

    Args:
        requests: Requests of a TREC run.
        texts: Texts of the requests.
        rule: Rule by which a document is the query itself.
    """
    identical = own_documents(texts.queries, texts.documents, rule)
    remaining = [
        replace(
            request,
            documents=[d for d in request.documents if d not in identical.get(request.query, ())],
        )
        for request in requests
    ]
    n_removed = _n_documents(requests) - _n_documents(remaining)
    if not n_removed:
        return list(requests), texts
    reason = "documents of the run left out as the query itself"
    return remaining, replace(texts, skipped={**texts.skipped, reason: n_removed})


def _n_documents(requests: Sequence[Request]) -> int:
    return sum(len(request.documents) for request in requests)


def read_jsonl(path: Path) -> tuple[list[Request], Texts]:
    """Read the requests of a JSONL file, whose texts are their own keys.

    Args:
        path: File with a line per query: `{"query": TEXT, "documents": [...]}`; a document is a
            text or an object with a `text`.

    Returns:
        The requests and their texts.

    Raises:
        DataError: All lines that have another form, with their numbers.
    """
    requests: list[Request] = []
    each_line(path, lambda line: requests.append(_request(line)))
    if not requests:
        raise DataError(f"{path}: the file is empty.")
    queries = {request.query: request.query for request in requests}
    documents = {d: d for request in requests for d in request.documents}
    return requests, Texts(queries, documents, text_counts(documents, queries))


def _request(line: str) -> Request:
    try:
        record = json.loads(line)
        documents = record["documents"]
        texts = [d if isinstance(d, str) else d["text"] for d in documents]
        texts = [record["query"], *texts] if isinstance(documents, list) else []
    except (ValueError, TypeError, KeyError, RecursionError):
        texts = []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise DataError(
            "needs `query`, a text, and `documents`, a list of texts or of objects with a `text`."
        )
    if not texts[0].strip():
        raise DataError("the query has no text.")
    if not is_encodable(json.dumps(record, ensure_ascii=False)):
        raise DataError("it has half a surrogate pair, which is no text.")
    if any(isinstance(d, dict) and {SCORE, RETRIEVAL_SCORE} <= d.keys() for d in documents):
        raise DataError(
            f"a document has both `{SCORE}` and `{RETRIEVAL_SCORE}`, but `{SCORE}` is kept as "
            f"`{RETRIEVAL_SCORE}` beside the new score. Rename or remove one of them."
        )
    return Request(texts[0], texts[1:], record)


def run_lines(ranked: Ranked, tag: str) -> Iterator[str]:
    """Yield the reranked requests as lines of a TREC run.

    Args:
        ranked: Reranked requests.
        tag: Name of the run, its sixth column.
    """
    return trec_runs.run_lines(
        {
            request.query: [(request.documents[position], score) for position, score in order]
            for request, order in ranked
        },
        tag,
    )


def json_lines(ranked: Ranked) -> Iterator[str]:
    """Yield the lines that the requests were read from, with their documents reranked."""
    for request, order in ranked:
        documents = request.record["documents"]
        rescored = [_rescored(documents[position], score) for position, score in order]
        yield json.dumps({**request.record, "documents": rescored}, ensure_ascii=False) + "\n"


def _rescored(document: str | dict[str, Any], score: float) -> dict[str, Any]:
    """Return a document with its new score; its previous score becomes `retrieval_score`.

    >>> _rescored({"text": "Phobias", "score": 12.5}, 0.75)
    {'text': 'Phobias', 'retrieval_score': 12.5, 'score': 0.75}
    """
    if isinstance(document, str):
        return {"text": document, SCORE: score}
    fields = {RETRIEVAL_SCORE if key == SCORE else key: value for key, value in document.items()}
    return {**fields, SCORE: score}
