"""Sources of judged collections, by name: `icd10:5`, `beir:FOLDER`.

A new source is one module with `load(argument) -> Collection` and one line in SOURCES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quantum_rerank.datasets import beir, icd10
from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.splits import Split, split_by_query
from quantum_rerank.errors import DataError

SOURCES: dict[str, Callable[[str], Collection]] = {"icd10": icd10.load, "beir": beir.load}


def load_collection(spec: str) -> Collection:
    """Load the collection that `SOURCE:ARGUMENT` names."""
    source, separator, argument = spec.partition(":")
    if source not in SOURCES or not separator or not argument:
        forms = ", ".join(f"`{name}:...`" for name in SOURCES)
        raise DataError(f"`{spec}` names no collection. Known sources: {forms}.")
    return SOURCES[source](argument)


def load_texts(spec: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Corpus and queries of a collection, by id: of a BEIR folder, unjudged queries too."""
    source, _, argument = spec.partition(":")
    if source == "beir" and argument:
        return beir.texts(argument)
    collection = load_collection(spec)
    return collection.corpus, collection.queries


__all__ = ["SOURCES", "Collection", "Split", "load_collection", "load_texts", "split_by_query"]
