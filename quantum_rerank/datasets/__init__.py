"""Sources of judged collections, by name.

icd10:CHAPTER          ICD-10-CM, 1 to 22, from the package simple-icd-10-cm
beir:FOLDER            corpus.jsonl, queries.jsonl, qrels/*.tsv
trec:FOLDER            corpus.tsv or .jsonl, queries.tsv or topics.txt, qrels.txt
csv:FILE               one table with the columns query, document and label
ir_datasets:ID         the catalogue of https://ir-datasets.com
zaragoza:CATEGORIES    questions on building in Sweden; `zaragoza:all`
gpe:TOPIC              claims and the web pages that bear on them

A new source is one module with `load(argument) -> Collection` and one line in SOURCES; where
the argument is a place, also `domain(argument)` and one line in _DOMAINS.
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
from quantum_rerank.datasets.collection import Collection, require_ranking
from quantum_rerank.datasets.splits import Split, repeated_texts, split_by_query
from quantum_rerank.errors import DataError
from quantum_rerank.paths import expanded

SOURCES: dict[str, Callable[[str], Collection]] = {
    "icd10": icd10.load,
    "beir": beir.load,
    "trec": trec.load,
    "csv": csv_table.load,
    "ir_datasets": ir_dataset.load,
    "zaragoza": zaragoza.load,
    "gpe": gpe.load,
}
# Of the sources that name a place; elsewhere the spec is the domain.
_DOMAINS: dict[str, Callable[[str], str]] = {
    "beir": beir.domain,
    "trec": trec.domain,
    "csv": csv_table.domain,
}
# Of the sources that have texts without judgments: corpus, queries, and what is to be said.
_TEXTS: dict[str, Callable[[str], tuple[dict[str, str], dict[str, str], dict[str, int]]]] = {
    "beir": beir.texts,
    "trec": trec.texts,
}


def load_collection(spec: str) -> Collection:
    """Load the collection that `SOURCE:ARGUMENT` names."""
    source, separator, argument = spec.partition(":")
    if source not in SOURCES or not separator or not argument:
        forms = ", ".join(f"`{name}:...`" for name in SOURCES)
        raise DataError(f"`{spec}` names no collection. Known sources: {forms}.")
    return SOURCES[source](_located(source, argument))


def domain_of(spec: str) -> str:
    """The domain that the collection of a spec has, wherever it lies; it need not be there.

    >>> domain_of("csv:./clicks.csv"), domain_of("beir:data/../data/cran"), domain_of("icd10:5")
    ('csv:clicks', 'beir:cran', 'icd10:5')
    """
    source, _, argument = spec.partition(":")
    return _DOMAINS[source](_located(source, argument)) if source in _DOMAINS else spec


def load_texts(spec: str) -> tuple[Mapping[str, str], Mapping[str, str], Mapping[str, int]]:
    """Corpus and queries of a collection, by id, and what is not taken as it was given.

    Of a BEIR or TREC folder, unjudged queries too.
    """
    source, _, argument = spec.partition(":")
    if source in _TEXTS and argument:
        return _TEXTS[source](_located(source, argument))
    collection = load_collection(spec)
    return collection.corpus, collection.queries, collection.skipped


def _located(source: str, argument: str) -> str:
    """The argument of a source, with a leading `~` expanded where it is a place."""
    is_at_home = source in _DOMAINS and argument.startswith("~")
    return str(expanded(argument)) if is_at_home else argument


__all__ = [
    "SOURCES",
    "Collection",
    "Split",
    "domain_of",
    "load_collection",
    "load_texts",
    "repeated_texts",
    "require_ranking",
    "split_by_query",
]
