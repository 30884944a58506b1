from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.config import ColumnsConfig, DataConfig
from quantum_rerank.datasets import count_lines, load_collection
from quantum_rerank.datasets.collection import Collection
from quantum_rerank.errors import DataError, MissingPackage


def load(folder: Path, columns: dict[str, list[Any]], config: DataConfig | None = None) -> Any:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), folder / "clicks.parquet")
    return load_collection(f"parquet:{folder / 'clicks.parquet'}", config)


def relevant(collection: Collection) -> dict[str, set[str]]:
    texts, corpus = collection.queries, collection.corpus
    return {
        texts[query]: {corpus[document] for document, grade in judged.items() if grade > 0}
        for query, judged in collection.qrels.items()
    }


@pytest.mark.parametrize("labels", [[2, 0], [2.0, 0.0], [True, False], ["2", "0"]])
def test_a_table_of_judged_pairs_is_read(tmp_path: Path, labels: list[Any]) -> None:
    columns = {"query": ["oak"] * 2, "document": ["a leaf", "a bark"], "label": labels}
    collection = load(tmp_path, columns | {"time": [1, 2]})
    assert collection.domain == "parquet:clicks"
    assert relevant(collection) == {"oak": {"a leaf"}}
    assert set(collection.corpus.values()) == {"a leaf", "a bark"}


def test_a_table_of_triplets_is_read(tmp_path: Path) -> None:
    columns = {"anchor": ["oak"], "positive": ["a leaf"], "negative": [["a bark", "a root"]]}
    collection = load(tmp_path, columns)
    assert relevant(collection) == {"oak": {"a leaf"}}
    assert len(collection.corpus) == 3


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    config = DataConfig(columns=ColumnsConfig(query="q", document="text", label="rel"))
    columns = {"q": ["oak"], "text": ["a leaf"], "rel": [1]}
    assert relevant(load(tmp_path, columns, config)) == {"oak": {"a leaf"}}
    with pytest.raises(DataError, match=r"\['q', 'text', 'rel'\].*query=q,document=text,label=rel"):
        load(tmp_path, columns)


def test_missing_values_are_left_out_and_counted(tmp_path: Path) -> None:
    columns = {"query": ["oak", None, "elm"], "document": ["a", "b", None], "label": [1, 1, 1]}
    assert count_lines(load(tmp_path, columns).skipped) == [
        "1 row without a query left out (row 2)",
        "1 row without a document left out (row 3)",
    ]


def test_values_of_another_type_are_refused_with_their_rows(tmp_path: Path) -> None:
    columns = {"query": ["oak", "elm"], "document": [1, 2], "label": [1, 1]}
    with pytest.raises(DataError) as caught:
        load(tmp_path, columns)
    assert len(caught.value.problems) == 2
    assert "clicks.parquet, row 2: the document is 2, but must be text" in str(caught.value)
    columns = {"query": ["oak", "elm"], "document": ["a", "b"], "label": [0.5, float("nan")]}
    with pytest.raises(DataError, match=r"row 1: the grade is '0\.5', but must be a whole number"):
        load(tmp_path, columns)


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    (tmp_path / "clicks.parquet").write_text("query,document,label\n")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load_collection(f"parquet:{tmp_path / 'clicks.parquet'}")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load_collection(f"parquet:{tmp_path / 'nowhere.parquet'}")


def test_a_fifo_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "trees.parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet: it is not a regular file"):
        load_collection(f"parquet:{tmp_path / 'trees.parquet'}")


def test_the_error_of_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingPackage, match="extra `parquet`"):
        load_collection("parquet:clicks.parquet")
