"""Judged collections of the catalogue ir_datasets (https://ir-datasets.com), by their ids.

MacAvaney et al., "Simplified Data Wrangling with ir_datasets", 2021.
"""

from __future__ import annotations

from typing import Any

from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.datasets.json_lines import is_missing
from quantum_rerank.datasets.judgments import Judgments
from quantum_rerank.datasets.source import Source
from quantum_rerank.datasets.text_files import shortened
from quantum_rerank.errors import DataError, MissingPackage, first_line

PARTS = ("docs", "queries", "qrels")


class IrDataset(Source):
    """The source `ir_datasets:ID`."""

    def load(self, argument: str, config: DataConfig) -> Collection:
        """Load a collection such as `beir/scifact/test`; it is downloaded if it is not on disk.

        The text of a document or query is the catalogue's `default_text`. Queries without
        judgments are left out.

        See `Source.load`.
        """
        dataset = _dataset(argument)
        try:
            corpus = {document.doc_id: _text(document) for document in dataset.docs_iter()}
            queries = {query.query_id: _text(query) for query in dataset.queries_iter()}
            rows = [(row.query_id, row.doc_id, row.relevance) for row in dataset.qrels_iter()]
        except (OSError, RuntimeError, ValueError, ImportError) as error:
            raise DataError(
                f"`ir_datasets:{argument}` cannot be read: {shortened(first_line(error), 120)}. "
                "Its files are downloaded from their publishers: see https://ir-datasets.com."
            ) from None
        return _judgments(argument, rows).collection(self.domain(argument), corpus, queries)


def _text(record: Any) -> str:
    """Return the text of a record, in which missing fields are empty.

    The catalogue joins fields as they are, so that a missing title would be read as `None`.
    """
    missing = {key: "" for key, value in record._asdict().items() if is_missing(value)}
    text = (record._replace(**missing) if missing else record).default_text()
    if not isinstance(text, str):
        raise ValueError(f"the text of {record[0]!r} is {shortened(text)}")
    return text


def _dataset(name: str) -> Any:
    try:
        import ir_datasets
    except ModuleNotFoundError:
        raise MissingPackage("ir-datasets", "ir-datasets", "The source `ir_datasets`") from None
    try:
        dataset = ir_datasets.load(name)
    except KeyError:
        raise DataError(
            f"`ir_datasets:{name}` is not in the catalogue at https://ir-datasets.com."
        ) from None
    if missing := [part for part in PARTS if not dataset.has(part)]:
        raise DataError(f"`ir_datasets:{name}` has no {' and no '.join(missing)}.{_below(name)}")
    return dataset


def _below(name: str) -> str:
    """Return a sentence with the judged parts of a collection that is not judged itself."""
    from ir_datasets import registry

    parts = [part for part in registry if part.startswith(f"{name}/")]
    judged = [part for part in parts if all(registry[part].has(kind) for kind in PARTS)]
    return f" Judged parts of it are {', '.join(judged[:5])}." if judged else ""


def _judgments(name: str, rows: list[tuple[str, str, int]]) -> Judgments:
    judgments = Judgments()
    try:
        for row in rows:
            judgments.add(*row)
    except DataError as error:
        raise DataError(f"ir_datasets:{name}: {error}") from None
    return judgments
