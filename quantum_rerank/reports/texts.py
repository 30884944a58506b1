"""Texts of the queries in a report, loaded from the collections of the trainings."""

from __future__ import annotations

from collections.abc import Sequence

from quantum_rerank.datasets import Collection, load_collection
from quantum_rerank.errors import QuantumRerankError
from quantum_rerank.reports.runs import Group
from quantum_rerank.reports.tables import TextOf

_MAX_CHARACTERS = 200  # of a text in a table


def query_texts(groups: Sequence[Group]) -> tuple[TextOf, list[str]]:
    """Load the collections of trainings, for the texts of their queries.

    Args:
        groups: Groups of trainings.

    Returns:
        A function of a domain and a query id, which returns the texts of the query and of its
        most relevant document, empty if the collection is missing; and a message for every
        collection that cannot be loaded.
    """
    collections: dict[str, Collection] = {}
    problems: list[str] = []
    configs = [group.runs[0].config.data for group in groups]
    specs = {spec: config for config in configs for spec in (*config.seen, *config.unseen_test)}
    for spec, config in specs.items():
        try:
            collection = load_collection(spec, config)
        except QuantumRerankError as error:
            problems.append(f"No texts of {spec}: {error}")
        else:
            collections[collection.domain] = collection

    def text_of(domain: str, query: str) -> tuple[str, str]:
        collection = collections.get(domain)
        if collection is None or query not in collection.queries:
            return "", ""
        grades = collection.qrels[query]
        best = max(grades, key=grades.__getitem__)
        return _shortened(collection.queries[query]), _shortened(collection.corpus[best])

    return text_of, problems


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    is_short = len(text) <= _MAX_CHARACTERS
    return text if is_short else f"{text[: _MAX_CHARACTERS - 3]}..."
