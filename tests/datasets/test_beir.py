from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import (
    Collection,
    count_lines,
    load_collection,
    load_texts,
    split_by_query,
)
from quantum_rerank.errors import DataError
from tests.conftest import QRELS, QUERIES

Folder = Callable[..., Path]
TRAIN = {"fig?leaf": {"fig-leaf": 1}, "fig?bark": {"fig-bark": 1}}
TEST = {"oak?leaf": {"oak-leaf": 1}}
DEV = {"ash?leaf": {"ash-leaf": 1}}
HEADER = "query-id\tcorpus-id\tscore\n"


def load(folder: Path) -> Collection:
    return load_collection(f"beir:{folder}")


def test_a_folder_is_loaded_under_its_own_name(beir_folder: Folder) -> None:
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
def test_title_and_text_are_joined_if_both_exist(
    beir_folder: Folder, record: str, text: str
) -> None:
    folder = beir_folder(queries={"q": "tree?"}, test={"q": {"a": 1}})
    (folder / "corpus.jsonl").write_text(record, encoding="utf-8")
    assert load(folder).corpus == {"a": text}


def test_numeric_ids_are_read_as_text(beir_folder: Folder) -> None:
    folder = beir_folder(corpus={"a": ""}, queries={"1": "tree?"}, test={"1": {"7": 1}})
    (folder / "corpus.jsonl").write_text('{"_id": 7, "text": "A tree"}\n\n', encoding="utf-8")
    assert load(folder).qrels == {"1": {"7": 1}}


def test_a_folder_that_does_not_exist_names_everything_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path / "nowhere")
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
        load(folder)
    assert str(part) in str(caught.value)


def test_an_empty_corpus_is_refused(beir_folder: Folder) -> None:
    with pytest.raises(DataError, match=r"beir:trees: corpus is empty\."):
        load(beir_folder(corpus={}))


def test_an_empty_file_of_queries_is_refused(beir_folder: Folder) -> None:
    with pytest.raises(DataError, match=r"beir:trees: queries is empty\."):
        load(beir_folder(queries={}))


def test_empty_judgments_are_refused(beir_folder: Folder) -> None:
    with pytest.raises(DataError, match=r"beir:trees: qrels is empty\."):
        load(beir_folder(test={}))


def test_a_qrels_folder_without_a_file_is_refused(beir_folder: Folder) -> None:
    folder = beir_folder()
    (folder / "qrels" / "test.tsv").unlink()
    with pytest.raises(DataError, match=r"qrels` has no judgments: no file \*\.tsv"):
        load(folder)


def test_judgments_of_unknown_queries_and_documents_are_both_named(beir_folder: Folder) -> None:
    qrels = {"who?": {"oak-leaf": 1}, "oak?leaf": {"nothing": 1}}
    with pytest.raises(DataError) as caught:
        load(beir_folder(test=qrels))
    assert caught.value.problems == (
        "beir:trees: no query has a relevant document.",
        "beir:trees: 1 judgment of an absent query left out (who? -> oak-leaf)",
        "beir:trees: 1 judgment of an absent document counted as not found (oak?leaf -> nothing)",
    )


def test_few_judgments_of_missing_texts_are_left_out_and_counted_with_examples(
    beir_folder: Folder,
) -> None:
    qrels = QRELS | {"who?": {"oak-leaf": 1}, "oak?leaf": {"oak-leaf": 2, "nothing": 0}}
    folder = beir_folder(test=qrels)
    collection = load_collection(f"beir:{folder}", DataConfig(max_unmatched_judgments=0.1))
    assert collection.qrels["oak?leaf"] == {"oak-leaf": 2}
    assert count_lines(collection.skipped) == [
        "1 judgment of an absent query left out (who? -> oak-leaf)",
        "1 judgment of an absent document counted as not found (oak?leaf -> nothing)",
    ]
    assert json.loads(json.dumps(dict(collection.skipped))) == dict(collection.skipped)


def test_a_single_judgment_of_a_missing_text_is_allowed(
    beir_folder: Folder,
) -> None:
    folder = beir_folder(test={"oak?leaf": {"oak-leaf": 1, "nothing": 1}})
    assert load_collection(f"beir:{folder}").qrels == {"oak?leaf": {"oak-leaf": 1}}
    with pytest.raises(DataError, match=r"but at most 0\.0% may be left out"):
        load_collection(f"beir:{folder}", DataConfig(max_unmatched_judgments=0.0))


def test_a_collection_with_too_many_judgments_of_missing_texts_is_refused(
    beir_folder: Folder,
) -> None:
    absent = {"oak?leaf": {"oak-leaf": 1} | {f"none-{n}": 1 for n in range(7)}}
    folder = beir_folder(test=QRELS | absent)
    with pytest.raises(DataError) as caught:
        load_collection(f"beir:{folder}")
    (problem,) = caught.value.problems
    assert "7 of 38 judgments (18.4%) name a query or document that is absent or empty" in problem
    assert "at most 5.0% may be left out" in problem
    assert "`data.max_unmatched_judgments`" in problem
    assert problem.count("oak?leaf -> none-") == 5
    config = DataConfig(max_unmatched_judgments=0.2)
    assert load_collection(f"beir:{folder}", config).qrels["oak?leaf"] == {"oak-leaf": 1}


def test_at_most_five_examples_of_an_error_are_shown(beir_folder: Folder) -> None:
    qrels = {"oak?leaf": {f"none-{n}": 1 for n in range(7)}}
    with pytest.raises(DataError) as caught:
        load(beir_folder(test=qrels))
    message = str(caught.value)
    assert "7 judgments of an absent document counted as not found" in message
    assert message.count("oak?leaf -> ") == 5
    assert "none-4, ...)" in message


@pytest.mark.parametrize("text", ["", "  \t"])
def test_a_judged_query_without_text_is_left_out_and_counted(
    beir_folder: Folder, text: str
) -> None:
    folder = beir_folder(queries=QUERIES | {"oak?leaf": text})
    collection = load_collection(f"beir:{folder}", DataConfig(max_unmatched_judgments=0.1))
    assert "oak?leaf" not in collection.queries
    assert collection.skipped == {"judgments of a query without text left out": 2}
    assert collection.unmatched == (2, 32)


def test_a_collection_whose_queries_all_lack_text_is_refused(beir_folder: Folder) -> None:
    folder = beir_folder(queries={"oak?leaf": " "}, test=TEST)
    with pytest.raises(DataError, match=r"1 judgment of a query without text left out \(oak"):
        load(folder)


@pytest.mark.parametrize("value", ["null", "7", '["a", "b"]'])
def test_a_query_text_of_another_type_is_refused_with_its_line(
    beir_folder: Folder, value: str
) -> None:
    folder = beir_folder(test=TEST)
    record = f'{{"_id": "oak?leaf", "text": {value}}}\n'
    (folder / "queries.jsonl").write_text(record, encoding="utf-8")
    with pytest.raises(DataError, match="line 1"):
        load(folder)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_a_repeated_id_is_refused(beir_folder: Folder, name: str) -> None:
    folder = beir_folder()
    text = (folder / name).read_text(encoding="utf-8")
    twice = text + "\n" + text.splitlines()[0].replace("leaf of", "LEAF of")
    (folder / name).write_text(twice, encoding="utf-8")
    with pytest.raises(DataError, match="oak"):
        load(folder)


def test_unjudged_queries_are_left_out_and_counted(beir_folder: Folder) -> None:
    collection = load(beir_folder(test=TEST))
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
    collection = load(beir_folder(test=qrels))
    assert collection.qrels == {"oak?leaf": {"oak-leaf": 1}}
    assert list(collection.queries) == ["oak?leaf"]
    assert collection.skipped["queries without a relevant document left out"] == 2


def test_a_collection_without_a_relevant_document_is_refused(beir_folder: Folder) -> None:
    with pytest.raises(DataError, match="no query has a relevant document"):
        load(beir_folder(test={"oak?leaf": {"oak-leaf": 0}}))


@pytest.mark.parametrize(
    "header", ["query\tdoc\tscore\n", "query-id,corpus-id,score\n", "query doc x score\n"]
)
def test_a_wrong_header_is_refused_with_the_right_one(beir_folder: Folder, header: str) -> None:
    folder = beir_folder()
    (folder / "qrels" / "test.tsv").write_text(header + "oak?leaf\toak-leaf\t1\n")
    with pytest.raises(DataError, match=r"line 1: the header is .*query-id, corpus-id and score"):
        load(folder)


@pytest.mark.parametrize(
    "qrels",
    [
        "oak?leaf\toak-leaf\t2\nelm?bark\telm-bark\t1\n",
        "oak?leaf oak-leaf 2\nelm?bark  elm-bark 1\n",
        "oak?leaf 0 oak-leaf 2\nelm?bark\tQ0\telm-bark\t1\n",
        "# by hand\nquery-id corpus-id score\noak?leaf oak-leaf 2\n\n# end\nelm?bark elm-bark 1\n",
        "\ufeffQuery-ID\tCorpus-ID\tScore\r\noak?leaf\toak-leaf\t2\r\nelm?bark\telm-bark\t1\r\n",
    ],
    ids=["no header", "spaces", "columns of TREC", "comments", "as Windows writes it"],
)
def test_judgments_of_several_layouts_are_read(beir_folder: Folder, qrels: str) -> None:
    folder = beir_folder()
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    collection = load(folder)
    assert collection.qrels == {"oak?leaf": {"oak-leaf": 2}, "elm?bark": {"elm-bark": 1}}


def test_identical_judgments_are_counted_with_examples(beir_folder: Folder) -> None:
    folder = beir_folder()
    row = "oak?leaf\toak-leaf\t2\n"
    (folder / "qrels" / "test.tsv").write_text(HEADER + row * 3, encoding="utf-8")
    example = "oak?leaf -> oak-leaf"
    assert count_lines({k: v for k, v in load(folder).skipped.items() if "twice" in k}) == [
        f"2 judgments given twice, taken once ({example}, {example})"
    ]


@pytest.mark.parametrize("title", ["null", "NaN", '""'])
def test_a_missing_title_is_left_out(beir_folder: Folder, title: str) -> None:
    folder = beir_folder(queries={"q": "tree?"}, test={"q": {"a": 1}})
    record = f'{{"_id": "a", "title": {title}, "text": "A tree"}}'
    (folder / "corpus.jsonl").write_text(record, encoding="utf-8")
    assert load(folder).corpus == {"a": "A tree"}


@pytest.mark.parametrize("title", ['["A", "B"]', '{"en": "A"}', "7", "0", "false", "[]"])
def test_a_title_of_another_type_is_refused_with_its_line(beir_folder: Folder, title: str) -> None:
    folder = beir_folder()
    record = f'{{"_id": "a", "title": {title}, "text": "A tree"}}'
    (folder / "corpus.jsonl").write_text(record, encoding="utf-8")
    with pytest.raises(DataError, match=r"corpus\.jsonl, line 1: `title` is .* must be a string"):
        load(folder)


@pytest.mark.parametrize("key", ["1.5", "true", "null", "NaN", "[1]"])
def test_an_id_that_is_neither_text_nor_a_whole_number_is_refused(
    beir_folder: Folder, key: str
) -> None:
    folder = beir_folder()
    (folder / "corpus.jsonl").write_text(f'{{"_id": {key}, "text": "x"}}', encoding="utf-8")
    with pytest.raises(DataError, match=r"`_id` is .* must be a string or a whole number"):
        load(folder)


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_the_files_of_a_folder_may_be_compressed(beir_folder: Folder, ending: str) -> None:
    folder = beir_folder()
    expected = load(folder)
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[ending]
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / f"{name}{ending}").write_bytes(pack(content))
    assert load(folder) == expected


def test_texts_may_be_parquet(beir_folder: Folder) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    table = pytest.importorskip("pyarrow").table
    folder = beir_folder()
    expected = load(folder)
    for name in ("corpus", "queries"):
        lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        (folder / f"{name}.jsonl").unlink()
        records = [json.loads(line) for line in lines]
        columns = {key: [record[key] for record in records] for key in ("_id", "text")}
        parquet.write_table(table(columns), folder / f"{name}.parquet")
    assert load(folder) == expected
    parquet.write_table(table({"_id": ["a", "a"], "text": ["x", "y"]}), folder / "corpus.parquet")
    with pytest.raises(DataError, match=r"corpus\.parquet, row 2: the id 'a' has a text already"):
        load(folder)
    parquet.write_table(table({"id": ["a"], "text": ["x"]}), folder / "corpus.parquet")
    with pytest.raises(DataError, match=r"row 1: .* needs the keys `_id` and `text`"):
        load(folder)


@pytest.mark.parametrize(
    "row", ["oak?leaf\toak-leaf", "oak?leaf\t0\toak-leaf\t1\t2", "oak?leaf\toak-leaf\tgood", "x"]
)
def test_a_bad_row_is_refused_with_its_line(beir_folder: Folder, row: str) -> None:
    folder = beir_folder()
    path = folder / "qrels" / "test.tsv"
    path.write_text(f"{HEADER}oak?leaf\toak-leaf\t1\n{row}\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 3") as caught:
        load(folder)
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
        load(folder)
    assert f"{folder / name}, line 3" in str(caught.value)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_file_that_is_not_utf_8_is_refused_by_its_name(beir_folder: Folder, name: str) -> None:
    folder = beir_folder()
    path = folder / name
    path.write_bytes(path.read_bytes().replace(b"leaf", b"l\xe9af"))
    with pytest.raises(DataError, match="UTF-8") as caught:
        load(folder)
    assert str(path) in str(caught.value)


def test_official_train_and_test_are_kept(beir_folder: Folder) -> None:
    collection = load(beir_folder(train=TRAIN, test=TEST, dev=DEV))
    assert collection.official == {
        "train": {"fig?leaf", "fig?bark"},
        "test": {"oak?leaf"},
        "dev": {"ash?leaf"},
    }


def test_an_official_query_without_a_relevant_document_leaves_its_split(
    beir_folder: Folder,
) -> None:
    train = TRAIN | {"elm?leaf": {"elm-leaf": 0}}
    collection = load(beir_folder(train=train, test=TEST))
    assert collection.official["train"] == {"fig?leaf", "fig?bark"}


def test_a_folder_with_one_file_of_judgments_has_no_official_splits(beir_folder: Folder) -> None:
    collection = load(beir_folder(test=TEST))
    assert collection.official == {}
    assert set(collection.queries) == set(TEST)


@pytest.mark.parametrize("name", ["dev", "valid"])
def test_official_test_queries_stay_test_queries_without_a_train_file(
    beir_folder: Folder, name: str
) -> None:
    collection = load(beir_folder(**{name: TRAIN | DEV, "test": TEST}))
    split = split_by_query(collection, 0.4, 0.4, seed=1)
    assert set(split.test) == set(TEST)
    assert set(split.train) | set(split.validation) == set(TRAIN | DEV)


def test_queries_judged_outside_the_official_splits_are_left_out(beir_folder: Folder) -> None:
    collection = load(beir_folder(train=TRAIN, test=TEST, other=DEV))
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
        load(beir_folder(**splits))


def test_the_texts_of_a_folder_need_no_judgments(beir_folder: Folder) -> None:
    folder = beir_folder("trees", queries={"judged": "a query", "unjudged": "another"})
    for path in (folder / "qrels").iterdir():
        path.unlink()
    corpus, queries, skipped = load_texts(f"beir:{folder}")
    assert queries == {"judged": "a query", "unjudged": "another"}
    assert len(corpus) == 24
    assert skipped == {}
