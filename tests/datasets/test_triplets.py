from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.config import ColumnsConfig, DataConfig
from quantum_rerank.datasets import count_lines, domain_of, load_collection
from quantum_rerank.datasets.collection import Collection
from quantum_rerank.errors import DataError

QUERY, GOOD, BAD, WORSE = "how to prune an oak", "Prune in winter.", "An oak.", "An elm."


def load(folder: Path, *records: Any, config: DataConfig | None = None) -> Collection:
    path = folder / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return load_collection(f"triplets:{path}", config)


def relevant(collection: Collection) -> dict[str, set[str]]:
    texts, corpus = collection.queries, collection.corpus
    return {
        texts[query]: {corpus[document] for document, grade in judged.items() if grade > 0}
        for query, judged in collection.qrels.items()
    }


@pytest.mark.parametrize(
    "records",
    [
        [{"query": QUERY, "pos": [GOOD], "neg": [BAD, WORSE]}],
        [{"query": QUERY, "pos": [GOOD], "neg": [BAD, WORSE], "prompt": "x", "pos_scores": [1]}],
        [{"query": QUERY, "pos": GOOD, "neg": [BAD]}, {"query": QUERY, "pos": [], "neg": [WORSE]}],
        [{"anchor": QUERY, "positive": GOOD, "negative": n} for n in (BAD, WORSE)],
        [{"anchor": QUERY, "positive": GOOD, "negative_1": BAD, "negative_2": WORSE}],
        [{"query": QUERY, "positive": [GOOD], "negative": [BAD, WORSE]}],
        [[QUERY, GOOD, BAD, WORSE]],
    ],
    ids=[
        "FlagEmbedding",
        "with scores",
        "one text or several",
        "triplets",
        "numbered negatives",
        "lists",
        "arrays",
    ],
)
def test_positives_are_relevant_and_negatives_are_in_the_corpus(
    tmp_path: Path, records: list[Any]
) -> None:
    collection = load(tmp_path, *records)
    assert relevant(collection) == {QUERY: {GOOD}}
    assert set(collection.corpus.values()) == {GOOD, BAD, WORSE}
    assert collection.domain == "triplets:train"


def test_negatives_may_be_missing(tmp_path: Path) -> None:
    records = ({"query": QUERY, "pos": [GOOD]}, {"anchor": "elm", "positive": WORSE, "neg": None})
    assert relevant(load(tmp_path, *records)) == {QUERY: {GOOD}, "elm": {WORSE}}


def test_keys_may_have_other_names(tmp_path: Path) -> None:
    config = DataConfig(columns=ColumnsConfig(query="q", positive="answer", negative="hard"))
    record = {"q": QUERY, "answer": GOOD, "hard": [BAD], "negative": 7}
    assert relevant(load(tmp_path, record, config=config)) == {QUERY: {GOOD}}


def test_a_file_may_be_compressed(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps([QUERY, GOOD, BAD]).encode()))
    assert relevant(load_collection(f"triplets:{path}")) == {QUERY: {GOOD}}
    assert domain_of(f"triplets:{path}") == "triplets:train"


def test_empty_texts_are_counted_with_their_lines(tmp_path: Path) -> None:
    records = ([QUERY, GOOD, BAD], [" ", GOOD], {"query": "elm", "pos": []}, ["elm", None, ""])
    assert count_lines(load(tmp_path, *records).skipped) == [
        "1 row without a query left out (line 2)",
        "3 rows without a document left out (line 3, line 4, line 4)",
    ]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"query": 7, "pos": [GOOD]}, "the query is 7, but must be text"),
        ({"query": QUERY, "pos": [["a"]]}, "the document is .'a'., but must be text"),
        ({"query": QUERY, "pos": 7}, "`pos` is 7, but must be a text or a list of texts"),
        ({"query": QUERY, "text": "a"}, r"the columns are \['query', 'text'\]"),
        ([QUERY], "must be a query, a positive and any negatives"),
        ("oak", "'oak' is not an object or a list"),
        ({"query": QUERY, "pos": [GOOD], "neg": [GOOD]}, "are judged 0, but 1 above"),
        ({"query": QUERY, "pos": ["\ud83c"]}, "half a surrogate pair"),
    ],
)
def test_an_invalid_record_is_refused_with_its_line(
    tmp_path: Path, record: Any, message: str
) -> None:
    with pytest.raises(DataError, match=rf"train\.jsonl, line 2: .*{message}"):
        load(tmp_path, ["elm", GOOD], record)
