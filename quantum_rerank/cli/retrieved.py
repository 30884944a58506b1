"""What a first retrieval found, read from a TREC run or from JSONL, and written again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.errors import DataError

if TYPE_CHECKING:
    from quantum_rerank.config import DataConfig
    from quantum_rerank.datasets import IdenticalRule

JSONL = ".jsonl"
SCORE, RETRIEVAL_SCORE = "score", "retrieval_score"
"""Of a document of JSONL: the reranker's score, and the one that the document came with."""


@dataclass(frozen=True)
class Request:
    """A query and what was retrieved for it, best first.

    query, documents: keys of their texts.  record: a line of JSONL, to be written again.
    """

    query: str
    documents: Sequence[str]
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Texts:
    """Texts by key, and the collection that they are of, empty where they came with the input.

    skipped: what is not taken as it was given, as sentence -> count.
    """

    queries: Mapping[str, str]
    documents: Mapping[str, str]
    skipped: Mapping[str, int]
    collection: str = ""


Ranked = list[tuple[Request, list[tuple[int, float]]]]
"""Each request with the positions of its documents in their new order, and falling scores."""


def from_run(
    path: Path, data: str | None, config: DataConfig | None = None
) -> tuple[list[Request], Texts]:
    """The requests of a TREC run, whose texts are in a collection.

    config: how the collection is read.
    """
    from quantum_rerank.datasets import load_texts
    from quantum_rerank.evaluation.trec_runs import read_run

    if data is None:
        raise DataError(
            "A TREC run names texts without having them. Name their collection, as in "
            f"`--data beir:FOLDER`; a JSONL file must be called *{JSONL}."
        )
    requests = [Request(query, documents) for query, documents in read_run(path).items()]
    documents, queries, skipped = load_texts(data, config)
    return requests, Texts(queries, documents, skipped, data)


def without_own_documents(
    requests: Sequence[Request], texts: Texts, rule: IdenticalRule
) -> tuple[list[Request], Texts]:
    """Leave the documents out that are the query itself, and count them in `skipped`.

    Of the judgments nothing is known here, so that a relevant one is left out too.
    """
    from quantum_rerank.datasets import own_documents

    own = own_documents(texts.queries, texts.documents, rule)
    kept = [
        replace(
            request,
            documents=[d for d in request.documents if d not in own.get(request.query, ())],
        )
        for request in requests
    ]
    n_documents, n_kept = (sum(len(one.documents) for one in some) for some in (requests, kept))
    if n_kept == n_documents:
        return list(requests), texts
    what = "documents of the run left out, since they are the query itself"
    return kept, replace(texts, skipped={**texts.skipped, what: n_documents - n_kept})


def from_jsonl(path: Path) -> tuple[list[Request], Texts]:
    """The requests of a file, whose texts are their own keys."""
    from quantum_rerank.datasets.collection import text_counts
    from quantum_rerank.datasets.text_files import each_line

    requests: list[Request] = []
    each_line(path, lambda line: requests.append(_request(line)))
    if not requests:
        raise DataError(f"{path}: the file is empty.")
    queries = {request.query: request.query for request in requests}
    documents = {d: d for request in requests for d in request.documents}
    return requests, Texts(queries, documents, text_counts(documents, queries))


def _request(line: str) -> Request:
    from quantum_rerank.datasets.text_files import is_encodable

    try:
        record = json.loads(line)
        given = record["documents"]
        documents = [one if isinstance(one, str) else one["text"] for one in given]
        texts = [record["query"], *documents] if isinstance(given, list) else []
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
    if any(isinstance(one, dict) and {SCORE, RETRIEVAL_SCORE} <= one.keys() for one in given):
        raise DataError(
            f"a document has both `{SCORE}` and `{RETRIEVAL_SCORE}`, but `{SCORE}` is kept as "
            f"`{RETRIEVAL_SCORE}` beside the new score. Rename or remove one of them."
        )
    return Request(texts[0], texts[1:], record)


def run_lines(ranked: Ranked, tag: str) -> Iterator[str]:
    """The reranked requests as the lines of a TREC run."""
    from quantum_rerank.evaluation import trec_runs

    return trec_runs.run_lines(
        {
            request.query: [(request.documents[position], score) for position, score in order]
            for request, order in ranked
        },
        tag,
    )


def json_lines(ranked: Ranked) -> Iterator[str]:
    """The lines that the requests came from, with their documents in the new order."""
    for request, order in ranked:
        given = request.record["documents"]
        documents = [_rescored(given[position], score) for position, score in order]
        yield json.dumps({**request.record, "documents": documents}, ensure_ascii=False) + "\n"


def _rescored(document: str | dict[str, Any], score: float) -> dict[str, Any]:
    """A document with its new score; the score that it came with is kept beside it.

    >>> _rescored({"text": "Phobias", "score": 12.5}, 0.75)
    {'text': 'Phobias', 'retrieval_score': 12.5, 'score': 0.75}
    """
    if isinstance(document, str):
        return {"text": document, SCORE: score}
    fields = {RETRIEVAL_SCORE if key == SCORE else key: value for key, value in document.items()}
    return {**fields, SCORE: score}
