from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_rerank.datasets import beir, load_collection, load_texts, split_by_query
from quantum_rerank.errors import DataError

Folder = Callable[..., Path]
TRAIN = {"fig?leaf": {"fig-leaf": 1}, "fig?bark": {"fig-bark": 1}}
TEST = {"oak?leaf": {"oak-leaf": 1}}
DEV = {"ash?leaf": {"ash-leaf": 1}}
HEADER = "query-id\tcorpus-id\tscore\n"


def test_a_whole_files_is_loaded_under_its_own_name(beir_folder: Folder) -> None:
    collection = load_collection(f"beir:{beir_folder('trees')}")
    assert collection.domain == "beir:trees"
    assert len(collection.corpus) == 24
    assert len(collection.queries) == 16
    assert collection.corpus["oak-leaf"] == "The leaf of the oak."
    assert collection.qrels["oak?leaf"] == {"oak-leaf": 2, "oak-root": 1}
    assert collection.skipped == {}


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ('{"_id": "a", "title": "Oak", "text": "A tree"}', "Oak. A tree"),
        ('{"_id": "a", "title": "", "text": "A tree"}', "A tree"),
        ('{"_id": "a", "title": "Oak", "text": " "}', "Oak"),
        ('{"_id": "a", "title": null, "text": "A tree"}', "A tree"),
    ],
)
def test_title_and_text_are_joined_where_there_are_both(
    beir_folder: Folder, record: str, text: str
) -> None:
    folder = beir_folder(queries={"q": "tree?"}, test={"q": {"a": 1}})
    (folder / "corpus.jsonl").write_text(record, encoding="utf-8")
    assert beir.load(str(folder)).corpus == {"a": text}


def test_numbers_as_ids_are_read_as_text(beir_folder: Folder) -> None:
    folder = beir_folder(corpus={"a": ""}, queries={"1": "tree?"}, test={"1": {"7": 1}})
    (folder / "corpus.jsonl").write_text('{"_id": 7, "text": "A tree"}\n\n', encoding="utf-8")
    assert beir.load(str(folder)).qrels == {"1": {"7": 1}}


def test_a_folder_that_does_not_exist_names_everything_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        beir.load(str(tmp_path / "nowhere"))
    for name in ("corpus.jsonl", "queries.jsonl", "qrels"):
        assert f"{tmp_path / 'nowhere' / name}` does not exist" in str(caught.value)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels"])
def test_a_missing_part_is_named(beir_folder: Folder, name: str) -> None:
    folder = beir_folder()
    part = folder / name
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink()
    with pytest.raises(DataError, match="does not exist") as caught:
        beir.load(str(folder))
    assert str(part) in str(caught.value)


def test_an_empty_corpus_is_refused(beir_folder: Folder) -> None:
    with pytest.raises(DataError, match=r"beir:trees: corpus is empty\."):
        beir.load(str(beir_folder(corpus={})))


def test_an_empty_file_of_queries_is_refused(beir_folder: Folder) -> None:
    with pytest.raises(DataError, match=r"beir:trees: queries is empty\."):
        beir.load(str(beir_folder(queries={})))


def test_empty_judgments_are_refused(beir_folder: Folder) -> None:
    with pytest.raises(DataError, match=r"beir:trees: qrels is empty\."):
        beir.load(str(beir_folder(test={})))


def test_a_qrels_folder_without_a_file_is_refused(beir_folder: Folder) -> None:
    folder = beir_folder()
    (folder / "qrels" / "test.tsv").unlink()
    with pytest.raises(DataError, match=r"qrels` has no judgments: no file \*\.tsv"):
        beir.load(str(folder))


def test_judgments_of_unknown_queries_and_documents_are_both_named(beir_folder: Folder) -> None:
    qrels = {"who?": {"oak-leaf": 1}, "oak?leaf": {"nothing": 1}}
    with pytest.raises(DataError) as caught:
        beir.load(str(beir_folder(test=qrels)))
    assert caught.value.problems == (
        "beir:trees: 1 qrels that name unknown queries: who?. "
        "Add what they name, or take out these qrels.",
        "beir:trees: 1 qrels that name unknown documents: oak?leaf -> nothing. "
        "Add what they name, or take out these qrels.",
    )


def test_at_most_five_examples_of_a_mistake_are_shown(beir_folder: Folder) -> None:
    qrels = {"oak?leaf": {f"none-{n}": 1 for n in range(7)}}
    with pytest.raises(DataError) as caught:
        beir.load(str(beir_folder(test=qrels)))
    message = str(caught.value)
    assert "7 qrels that name unknown documents" in message
    assert message.count("oak?leaf -> ") == 5
    assert ", .... Add what they name" in message


@pytest.mark.parametrize("text", ["", "  \t"])
def test_a_judged_query_without_text_is_refused(beir_folder: Folder, text: str) -> None:
    folder = beir_folder(queries={"oak?leaf": text}, test=TEST)
    with pytest.raises(DataError, match=r"1 queries with no text: oak\?leaf"):
        beir.load(str(folder))


@pytest.mark.parametrize("value", ["null", "7", '["a", "b"]'])
def test_a_query_whose_text_is_not_text_is_refused_with_its_line(
    beir_folder: Folder, value: str
) -> None:
    folder = beir_folder(test=TEST)
    record = f'{{"_id": "oak?leaf", "text": {value}}}\n'
    (folder / "queries.jsonl").write_text(record, encoding="utf-8")
    with pytest.raises(DataError, match="line 1"):
        beir.load(str(folder))


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_an_id_that_stands_twice_is_refused(beir_folder: Folder, name: str) -> None:
    folder = beir_folder()
    text = (folder / name).read_text(encoding="utf-8")
    twice = text + "\n" + text.splitlines()[0].replace("leaf of", "LEAF of")
    (folder / name).write_text(twice, encoding="utf-8")
    with pytest.raises(DataError, match="oak"):
        beir.load(str(folder))


def test_queries_that_nobody_judged_are_left_out_and_counted(beir_folder: Folder) -> None:
    collection = beir.load(str(beir_folder(test=TEST)))
    assert list(collection.queries) == ["oak?leaf"]
    assert collection.skipped == {"queries without judgments left out": 15}


def test_grades_of_zero_and_below_are_dropped_and_their_queries_counted(
    beir_folder: Folder,
) -> None:
    qrels = {
        "oak?leaf": {"oak-leaf": 1, "oak-bark": 0, "oak-root": -1},
        "oak?bark": {"oak-bark": 0},
        "elm?leaf": {"elm-leaf": -2},
    }
    collection = beir.load(str(beir_folder(test=qrels)))
    assert collection.qrels == {"oak?leaf": {"oak-leaf": 1}}
    assert list(collection.queries) == ["oak?leaf"]
    assert collection.skipped["queries without a relevant document left out"] == 2


def test_a_collection_in_which_nothing_is_relevant_is_refused(beir_folder: Folder) -> None:
    with pytest.raises(DataError, match="no query has a relevant document"):
        beir.load(str(beir_folder(test={"oak?leaf": {"oak-leaf": 0}})))


@pytest.mark.parametrize(
    "header", ["", "query\tdoc\tscore\n", "query-id,corpus-id,score\n", "oak?leaf\toak-leaf\t1\n"]
)
def test_a_wrong_header_is_refused_with_the_right_one(beir_folder: Folder, header: str) -> None:
    folder = beir_folder()
    (folder / "qrels" / "test.tsv").write_text(header + "oak?leaf\toak-leaf\t1\n")
    with pytest.raises(DataError, match=r"line 1: the header is .*query-id, corpus-id and score"):
        beir.load(str(folder))


@pytest.mark.parametrize(
    "row", ["oak?leaf\toak-leaf", "oak?leaf\toak-leaf\t1\t2", "oak?leaf\toak-leaf\tgood", "x"]
)
def test_a_bad_row_is_refused_with_its_line(beir_folder: Folder, row: str) -> None:
    folder = beir_folder()
    path = folder / "qrels" / "test.tsv"
    path.write_text(f"{HEADER}oak?leaf\toak-leaf\t1\n{row}\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 3") as caught:
        beir.load(str(folder))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"_id": "b", "text": ', "not valid JSON"),
        ('{"_id": "b"}', "needs the keys `_id` and `text`"),
        ('{"text": "b"}', "needs the keys `_id` and `text`"),
        ('["b", "text"]', "needs the keys `_id` and `text`"),
    ],
)
@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_a_broken_record_is_refused_with_its_line(
    beir_folder: Folder, name: str, line: str, complaint: str
) -> None:
    folder = beir_folder()
    (folder / name).write_text(f'{{"_id": "a", "text": "x"}}\n\n{line}\n', encoding="utf-8")
    with pytest.raises(DataError, match=complaint) as caught:
        beir.load(str(folder))
    assert f"{folder / name}, line 3" in str(caught.value)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_file_that_is_not_utf_8_is_refused_by_its_name(beir_folder: Folder, name: str) -> None:
    folder = beir_folder()
    path = folder / name
    path.write_bytes(path.read_bytes().replace(b"leaf", b"l\xe9af"))
    with pytest.raises(DataError, match="UTF-8") as caught:
        beir.load(str(folder))
    assert str(path) in str(caught.value)


def test_official_train_and_test_are_kept(beir_folder: Folder) -> None:
    collection = beir.load(str(beir_folder(train=TRAIN, test=TEST, dev=DEV)))
    assert collection.official == {
        "train": {"fig?leaf", "fig?bark"},
        "test": {"oak?leaf"},
        "dev": {"ash?leaf"},
    }


def test_an_official_query_that_nothing_answers_leaves_its_split(beir_folder: Folder) -> None:
    train = TRAIN | {"elm?leaf": {"elm-leaf": 0}}
    collection = beir.load(str(beir_folder(train=train, test=TEST)))
    assert collection.official["train"] == {"fig?leaf", "fig?bark"}


def test_a_folder_with_one_file_of_judgments_has_no_official_splits(beir_folder: Folder) -> None:
    collection = beir.load(str(beir_folder(test=TEST)))
    assert collection.official == {}
    assert set(collection.queries) == set(TEST)


@pytest.mark.parametrize("name", ["dev", "valid"])
def test_official_test_queries_stay_test_queries_without_a_train_file(
    beir_folder: Folder, name: str
) -> None:
    collection = beir.load(str(beir_folder(**{name: TRAIN | DEV, "test": TEST})))
    split = split_by_query(collection, 0.4, 0.4, seed=1)
    assert set(split.test) == set(TEST)
    assert set(split.train) | set(split.validation) == set(TRAIN | DEV)


def test_queries_judged_outside_the_official_splits_are_left_out(beir_folder: Folder) -> None:
    collection = beir.load(str(beir_folder(train=TRAIN, test=TEST, other=DEV)))
    assert set(collection.queries) == set(TRAIN) | set(TEST)


@pytest.mark.parametrize(
    "splits",
    [
        {"train": TRAIN | TEST, "test": TEST},
        {"train": TRAIN, "test": TEST, "dev": TEST},
        {"train": TRAIN, "test": TEST, "dev": TRAIN},
    ],
    ids=["train and test", "dev and test", "dev and train"],
)
def test_a_query_in_two_official_splits_is_refused(
    beir_folder: Folder, splits: dict[str, dict[str, dict[str, int]]]
) -> None:
    with pytest.raises(DataError, match="queries are in"):
        beir.load(str(beir_folder(**splits)))


def test_the_texts_of_a_folder_need_no_judgments(beir_folder: Folder) -> None:
    folder = beir_folder("trees", queries={"judged": "a query", "unjudged": "another"})
    for path in (folder / "qrels").iterdir():
        path.unlink()
    corpus, queries, skipped = load_texts(f"beir:{folder}")
    assert queries == {"judged": "a query", "unjudged": "another"}
    assert len(corpus) == 24
    assert skipped == {}
