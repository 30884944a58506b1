from __future__ import annotations

import pytest

from quantum_rerank import datasets
from quantum_rerank.datasets import Collection, load_collection
from quantum_rerank.datasets.collection import checked


def load_trees(kind: str) -> Collection:
    """A source of one's own: what stands behind the colon comes as it is."""
    return checked(
        Collection(
            domain=f"trees:{kind}",
            corpus={"a": f"The {kind} is a tree.", "b": "A stone."},
            queries={"q": f"what is an {kind}"},
            qrels={"q": {"a": 1}},
        )
    )


def test_a_source_of_ones_own_is_one_function_and_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(datasets.SOURCES, "trees", load_trees)
    assert load_collection("trees:oak:red").corpus["a"] == "The oak:red is a tree."


@pytest.mark.parametrize("source", datasets.SOURCES)
def test_every_source_is_described_where_sources_are_listed(source: str) -> None:
    assert f"\n{source}:" in (datasets.__doc__ or "")
