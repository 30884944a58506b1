from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.config import ColumnsConfig, DataConfig
from quantum_rerank.datasets import domain_of, load_collection
from quantum_rerank.datasets.collection import Collection
from quantum_rerank.errors import DataError, MissingPackage

TRIPLETS = {"anchor": ["oak", "elm"], "positive": ["a leaf", "a bark"], "negative": ["x", "y"]}


@pytest.fixture
def hf() -> Any:
    return pytest.importorskip("datasets", reason="needs the extra `datasets`")


def relevant(collection: Collection) -> dict[str, set[str]]:
    texts, corpus = collection.queries, collection.corpus
    return {
        texts[query]: {corpus[document] for document, grade in judged.items() if grade > 0}
        for query, judged in collection.qrels.items()
    }


def test_a_saved_dataset_of_triplets_is_read(hf: Any, tmp_path: Path) -> None:
    hf.Dataset.from_dict(TRIPLETS).save_to_disk(tmp_path / "trees")
    spec = f"datasets:{tmp_path / 'trees'}"
    collection = load_collection(spec)
    assert collection.domain == domain_of(spec) == "datasets:trees"
    assert relevant(collection) == {"oak": {"a leaf"}, "elm": {"a bark"}}
    assert len(collection.corpus) == 4


def test_a_saved_dataset_of_judged_pairs_is_read_by_configured_columns(
    hf: Any, tmp_path: Path
) -> None:
    columns = {"q": ["oak", "oak"], "text": ["a leaf", "x"], "rel": [1, 0], "id": [7, 8]}
    hf.Dataset.from_dict(columns).save_to_disk(tmp_path / "trees")
    config = DataConfig(columns=ColumnsConfig(query="q", document="text", label="rel"))
    collection = load_collection(f"datasets:{tmp_path / 'trees'}", config)
    assert relevant(collection) == {"oak": {"a leaf"}}
    with pytest.raises(DataError, match=r"trees: the columns are \['q', 'text', 'rel', 'id'\]"):
        load_collection(f"datasets:{tmp_path / 'trees'}")


def test_the_splits_of_a_saved_dataset_are_official(hf: Any, tmp_path: Path) -> None:
    other = {"anchor": ["ash"], "positive": ["a root"], "negative": ["z"]}
    both = {"train": hf.Dataset.from_dict(TRIPLETS), "test": hf.Dataset.from_dict(other)}
    hf.DatasetDict(both).save_to_disk(tmp_path / "trees")
    collection = load_collection(f"datasets:{tmp_path / 'trees'}")
    texts = {s: {collection.queries[q] for q in ids} for s, ids in collection.official.items()}
    assert texts == {"train": {"oak", "elm"}, "test": {"ash"}}
    twice = {"train": hf.Dataset.from_dict(TRIPLETS), "test": hf.Dataset.from_dict(TRIPLETS)}
    hf.DatasetDict(twice).save_to_disk(tmp_path / "leaks")
    with pytest.raises(DataError, match="2 queries are in train and test"):
        load_collection(f"datasets:{tmp_path / 'leaks'}")


def test_invalid_rows_are_reported_with_their_split(hf: Any, tmp_path: Path) -> None:
    wrong = hf.Dataset.from_dict({"query": [1, 2], "positive": ["a", "b"]})
    hf.DatasetDict({"train": wrong}).save_to_disk(tmp_path / "trees")
    with pytest.raises(DataError, match="trees, train, row 2: the query is 2, but must be text"):
        load_collection(f"datasets:{tmp_path / 'trees'}")


def test_a_folder_that_was_not_saved_by_the_package_is_refused(hf: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was not saved by `datasets`"):
        load_collection(f"datasets:{tmp_path}")
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        load_collection(f"datasets:{tmp_path}")


def test_the_error_of_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingPackage, match="extra `datasets`"):
        load_collection("datasets:trees")


def test_a_fifo_in_the_folder_is_refused_instead_of_waited_for(hf: Any, tmp_path: Path) -> None:
    folder = tmp_path / "trees"
    hf.Dataset.from_dict(TRIPLETS).save_to_disk(folder)
    (arrow,) = folder.glob("*.arrow")
    arrow.unlink()
    os.mkfifo(arrow)
    with pytest.raises(DataError, match=r"cannot be read: .*it is not a regular file"):
        load_collection(f"datasets:{folder}")
