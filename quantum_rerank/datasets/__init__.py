"""Sources of judged collections, by name.

icd10:CHAPTER          ICD-10-CM, 1 to 22, from the package simple-icd-10-cm
beir:FOLDER            corpus.jsonl, queries.jsonl, qrels/*.tsv
trec:FOLDER            corpus.tsv or .jsonl, queries.tsv or topics.txt, qrels.txt
csv:FILE               one table with the columns query, document and label
ir_datasets:ID         the catalogue of https://ir-datasets.com
zaragoza:CATEGORIES    questions on building in Sweden; `zaragoza:all`
gpe:TOPIC              claims and the web pages that bear on them

A new source is one module with `load(argument) -> Collection` and one line in SOURCES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quantum_rerank.datasets import (
    beir,
    csv_table,
    gpe,
    icd10,
    ir_dataset,
    trec,
    zaragoza,
)
from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.splits import Split, repeated_texts, split_by_query
from quantum_rerank.errors import DataError

SOURCES: dict[str, Callable[[str], Collection]] = {
    "icd10": icd10.load,
    "beir": beir.load,
    "trec": trec.load,
    "csv": csv_table.load,
    "ir_datasets": ir_dataset.load,
    "zaragoza": zaragoza.load,
    "gpe": gpe.load,
}


def load_collection(spec: str) -> Collection:
    """Load the collection that `SOURCE:ARGUMENT` names."""
    source, separator, argument = spec.partition(":")
    if source not in SOURCES or not separator or not argument:
        forms = ", ".join(f"`{name}:...`" for name in SOURCES)
        raise DataError(f"`{spec}` names no collection. Known sources: {forms}.")
    return SOURCES[source](argument)


def load_texts(spec: str) -> tuple[Mapping[str, str], Mapping[str, str], Mapping[str, int]]:
    """Corpus and queries of a collection, by id, and what is not taken as it was given.

    Of a BEIR folder, unjudged queries too.
    """
    source, _, argument = spec.partition(":")
    if source == "beir" and argument:
        return beir.texts(argument)
    collection = load_collection(spec)
    return collection.corpus, collection.queries, collection.skipped


__all__ = [
    "SOURCES",
    "Collection",
    "Split",
    "load_collection",
    "load_texts",
    "repeated_texts",
    "split_by_query",
]
