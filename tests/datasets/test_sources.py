from __future__ import annotations

from pathlib import Path

import pytest

from quantum_rerank import datasets
from quantum_rerank.datasets import Collection, domain_of, load_collection
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


@pytest.mark.parametrize(
    "spec", ["beir:trees", "trec:trees", "csv:trees.csv", "triplets:trees.jsonl", "icd10:3"]
)
def test_the_domain_of_a_spec_is_that_of_its_collection(
    spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "trees"
    (folder / "qrels").mkdir(parents=True)
    for name, content in {
        "trees/corpus.jsonl": '{"_id": "a", "text": "An oak."}',
        "trees/queries.jsonl": '{"_id": "q", "text": "oak"}',
        "trees/qrels/test.tsv": "query-id\tcorpus-id\tscore\nq\ta\t1",
        "trees/queries.tsv": "q\toak",
        "trees/qrels.txt": "q 0 a 1",
        "trees.jsonl": '["oak", "An oak.", "An elm."]',
        "trees.csv": "query,document,label\noak,An oak.,1",
    }.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert domain_of(spec) == load_collection(spec).domain
    monkeypatch.chdir(folder)
    source, _, place = spec.partition(":")
    if source != "icd10":
        assert domain_of(f"{source}:../{place}") == domain_of(f"{source}:{folder.parent / place}")


@pytest.mark.parametrize("source", datasets.SOURCES)
def test_every_source_is_described_where_sources_are_listed(source: str) -> None:
    assert f"\n{source}:" in (datasets.__doc__ or "")
