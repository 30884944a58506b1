from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import (
    SOURCES,
    Collection,
    Source,
    checked,
    domain_of,
    load_collection,
    load_texts,
    loading,
)
from quantum_rerank.errors import DataError

TOY = """
from quantum_rerank.datasets import Collection, Source, checked

class Grove(Source):
    def load(self, argument, config):
        return checked(
            Collection(
                domain=self.domain(argument),
                corpus={"a": f"The {argument} is a tree.", "b": "A stone."},
                queries={"q": f"what is an {argument}"},
                qrels={"q": {"a": 1}},
            )
        )
"""


class Trees(Source):
    """A source from outside the package."""

    def load(self, argument: str, config: DataConfig) -> Collection:
        return checked(
            Collection(
                domain=self.domain(argument),
                corpus={"a": f"The {argument} is a tree.", "b": "A stone."},
                queries={"q": f"what is an {argument}"},
                qrels={"q": {"a": 1, "missing": 1}},
            )
        )


@pytest.fixture
def trees() -> Iterator[str]:
    SOURCES.register("trees", Trees)
    yield "trees"
    SOURCES.unregister("trees")


def test_a_source_from_outside_is_one_class_and_one_entry(trees: str) -> None:
    spec = f"{trees}:oak:red"
    collection = load_collection(spec)
    assert collection.corpus["a"] == "The oak:red is a tree."
    assert collection.domain == domain_of(spec) == spec
    assert load_texts(spec) == (collection.corpus, collection.queries, collection.skipped)


@pytest.mark.parametrize("load", [load_collection, load_texts])
def test_unmatched_judgments_of_any_source_are_limited(trees: str, load: object) -> None:
    assert callable(load)
    with pytest.raises(DataError, match=r"but at most 0\.0% may be left out"):
        load(f"{trees}:oak", DataConfig(max_unmatched_judgments=0.0))


def test_a_source_of_an_installed_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    (tmp_path / "toy_grove.py").write_text(TOY, encoding="utf-8")
    folder = tmp_path / "toy_grove-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-grove\nVersion: 1.0\n")
    entry = "[quantum_rerank.sources]\ngrove = toy_grove:Grove\n"
    (folder / "entry_points.txt").write_text(entry)
    code = (
        "import sys; from quantum_rerank.datasets import load_collection; "
        "assert 'toy_grove' not in sys.modules; print(load_collection('grove:oak').domain)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert ended.stdout.strip() == "grove:oak"


@pytest.mark.parametrize("spec", ["nonsense", "icd10", "icd10:", ":5", "oaks:5"])
@pytest.mark.parametrize("load", [load_collection, load_texts])
def test_a_spec_without_source_or_argument_is_refused_with_the_sources(
    spec: str, load: object
) -> None:
    assert callable(load)
    with pytest.raises(DataError, match=r"does not name a collection\. The sources are `icd10:"):
        load(spec)
    assert domain_of(spec) == spec


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
    source, _, path = spec.partition(":")
    if source != "icd10":
        assert domain_of(f"{source}:../{path}") == domain_of(f"{source}:{folder.parent / path}")


def test_every_source_is_described_above_the_registry() -> None:
    for source in SOURCES:
        assert f"\n{source}:" in (loading.__doc__ or "")
