"""Sources of judged collections, by name.

icd10:CHAPTER          ICD-10-CM, 1 to 22, from the package simple-icd-10-cm
beir:FOLDER            corpus.jsonl, queries.jsonl, qrels/*.tsv; texts also as .parquet
trec:FOLDER            corpus.tsv or .jsonl, queries.tsv or topics.txt, qrels.txt
csv:FILE               one table with the columns query, document and label
parquet:FILE           the same table in Parquet, or one with query, positive and negative
triplets:FILE          JSONL with query, pos and neg, or with anchor, positive and negative
datasets:FOLDER        a Hugging Face dataset that `save_to_disk` has written, columns as Parquet's
ir_datasets:ID         the catalogue of https://ir-datasets.com
zaragoza:CATEGORIES    questions on building in Sweden; `zaragoza:all`
gpe:TOPIC              claims and the web pages that bear on them

Text files may be compressed (.gz, .bz2, .xz) and UTF-8, or UTF-16 with a byte order mark.
`data.columns` (`--columns query=q,document=text,label=rel`) gives other names of columns.

A new source is one module with `load(argument) -> Collection` and one line in SOURCES; where
the argument is a place, also `domain(argument)` and one line in _DOMAINS; where it reads the
configuration of the data, `load(argument, config)` and one line in _CONFIGURED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quantum_rerank.datasets import (
    beir,
    csv_table,
    gpe,
    hf_dataset,
    icd10,
    ir_dataset,
    parquet_table,
    trec,
    triplets,
    zaragoza,
)
from quantum_rerank.datasets.collection import Collection, require_matched, require_ranking
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.datasets.copies import with_copies_judged
from quantum_rerank.datasets.counts import count_lines
from quantum_rerank.datasets.own_documents import (
    IdenticalRule,
    own_documents,
    without_own_documents,
)
from quantum_rerank.datasets.splits import Split, repeated_texts, split_by_query
from quantum_rerank.errors import DataError
from quantum_rerank.paths import expanded

SOURCES: dict[str, Callable[[str], Collection]] = {
    "icd10": icd10.load,
    "beir": beir.load,
    "trec": trec.load,
    "csv": csv_table.load,
    "parquet": parquet_table.load,
    "triplets": triplets.load,
    "datasets": hf_dataset.load,
    "ir_datasets": ir_dataset.load,
    "zaragoza": zaragoza.load,
    "gpe": gpe.load,
}
# Of the sources that need to know what a table's columns are called, and more.
_CONFIGURED: dict[str, Callable[[str, DataConfig], Collection]] = {
    "csv": csv_table.load,
    "parquet": parquet_table.load,
    "triplets": triplets.load,
    "datasets": hf_dataset.load,
}
# Of the sources that name a place; elsewhere the spec is the domain.
_DOMAINS: dict[str, Callable[[str], str]] = {
    "beir": beir.domain,
    "trec": trec.domain,
    "csv": csv_table.domain,
    "parquet": parquet_table.domain,
    "triplets": triplets.domain,
    "datasets": hf_dataset.domain,
}
# Of the sources that have texts without judgments: corpus, queries, and what is to be said.
_TEXTS: dict[str, Callable[[str], tuple[dict[str, str], dict[str, str], dict[str, int]]]] = {
    "beir": beir.texts,
    "trec": trec.texts,
}


def load_collection(spec: str, config: DataConfig | None = None) -> Collection:
    """Load the collection that `SOURCE:ARGUMENT` names.

    Args:
        spec: source and argument.
        config: how tables are read, and how many judgments may name absent texts; the defaults
            if not given.
    Raises: DataError where there is no such collection, or it cannot be read as it is.
    """
    source, separator, argument = spec.partition(":")
    if source not in SOURCES or not separator or not argument:
        forms = ", ".join(f"`{name}:...`" for name in SOURCES)
        raise DataError(f"`{spec}` names no collection. Known sources: {forms}.")
    config, argument = config or DataConfig(), _located(source, argument)
    if source in _CONFIGURED:
        collection = _CONFIGURED[source](argument, config)
    else:
        collection = SOURCES[source](argument)
    require_matched(collection, config.max_unmatched_judgments)
    return collection


def domain_of(spec: str) -> str:
    """The domain that the collection of a spec has, wherever it lies; it need not be there.

    >>> domain_of("csv:./clicks.csv"), domain_of("beir:data/../data/cran"), domain_of("icd10:5")
    ('csv:clicks', 'beir:cran', 'icd10:5')
    """
    source, _, argument = spec.partition(":")
    return _DOMAINS[source](_located(source, argument)) if source in _DOMAINS else spec


def load_texts(
    spec: str, config: DataConfig | None = None
) -> tuple[Mapping[str, str], Mapping[str, str], Mapping[str, int]]:
    """Corpus and queries of a collection, by id, and what is not taken as it was given.

    Of a BEIR or TREC folder, unjudged queries too. config: how tables are read.
    """
    source, _, argument = spec.partition(":")
    if source in _TEXTS and argument:
        return _TEXTS[source](_located(source, argument))
    collection = load_collection(spec, config)
    return collection.corpus, collection.queries, collection.skipped


def _located(source: str, argument: str) -> str:
    """The argument of a source, with a leading `~` expanded where it is a place."""
    is_at_home = source in _DOMAINS and argument.startswith("~")
    return str(expanded(argument)) if is_at_home else argument


__all__ = [
    "SOURCES",
    "Collection",
    "IdenticalRule",
    "Split",
    "count_lines",
    "domain_of",
    "load_collection",
    "load_texts",
    "own_documents",
    "repeated_texts",
    "require_ranking",
    "split_by_query",
    "with_copies_judged",
    "without_own_documents",
]
