from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_rerank.datasets import Collection, load_collection, load_texts, split_by_query
from quantum_rerank.errors import DataError

FILES = {
    "corpus.tsv": "d1\tThe leaf of the oak.\nd2\tThe bark\tof the elm.\n",
    "queries.tsv": "q1\toak leaf\nq2\telm bark\n",
    "qrels.txt": "q1 0 d1 2\nq1 0 d2 -1\nq2  Q0\td2 1\n",
}
TOPICS = (
    '<topics><topic number="q1"><query>oak leaf</query></topic>'
    '<topic number="q2"><query>elm bark</query></topic></topics>'
)
SPLIT_QRELS = {"train": b"q1 0 d1 1\n", "test": b"q2 0 d2 1\n"}
Folder = Callable[..., Path]


def load(folder: Path) -> Collection:
    return load_collection(f"trec:{folder}")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Write a collection of two documents; None takes a file away."""

    def write(changes: dict[str, str | None] | None = None) -> Path:
        root = tmp_path / "trees"
        root.mkdir()
        for name, content in (FILES | (changes or {})).items():
            if content is not None:
                (root / name).write_text(content, encoding="utf-8")
        return root

    return write


def test_a_folder_of_tables_is_loaded_under_its_name(folder: Folder) -> None:
    collection = load_collection(f"trec:{folder()}")
    assert collection.domain == "trec:trees"
    assert collection.corpus == {"d1": "The leaf of the oak.", "d2": "The bark\tof the elm."}
    assert collection.queries == {"q1": "oak leaf", "q2": "elm bark"}
    assert collection.qrels == {"q1": {"d1": 2}, "q2": {"d2": 1}}
    assert collection.skipped == {"judgments below 0 taken as not relevant": 1}


def test_the_texts_of_a_folder_need_no_judgments(folder: Folder) -> None:
    root = folder({"qrels.txt": None, "queries.tsv": "q1\toak leaf\nq9\tfir cone\n"})
    corpus, queries, skipped = load_texts(f"trec:{root}")
    assert corpus == {"d1": "The leaf of the oak.", "d2": "The bark\tof the elm."}
    assert queries == {"q1": "oak leaf", "q9": "fir cone"}
    assert skipped == {}


@pytest.mark.parametrize(
    "corpus",
    [
        '{"id": "d1", "contents": "An oak."}\n{"id": "d2", "contents": "An elm."}',
        '{"_id": "d1", "text": "An oak."}\n{"_id": "d2", "title": "An elm.", "text": ""}',
    ],
)
def test_documents_may_be_objects(folder: Folder, corpus: str) -> None:
    collection = load(folder({"corpus.tsv": None, "corpus.jsonl": corpus}))
    assert collection.corpus == {"d1": "An oak.", "d2": "An elm."}


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ('{"id": "d1"}', "needs the keys `id` and `contents`"),
        ('{"_id": "d1", "contents": "An oak."}', "needs the keys `id` and `contents`"),
        ('{"_id": "d1"}', "needs the keys `_id` and `text`"),
        ('["d1"]', "is not an object"),
    ],
)
def test_an_invalid_document_is_refused_with_the_keys_it_needs(
    folder: Folder, line: str, needed: str
) -> None:
    with pytest.raises(DataError, match=rf"corpus\.jsonl, line 1: .* {needed}"):
        load(folder({"corpus.tsv": None, "corpus.jsonl": line}))


@pytest.mark.parametrize("names", [("id", "contents"), ("_id", "text")])
def test_every_document_is_parsed_once(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    lines = [json.dumps(dict(zip(names, (key, "An oak."), strict=True))) for key in ("d1", "d2")]
    root = folder({"corpus.tsv": None, "corpus.jsonl": "\n".join(lines)})
    parsed, loads = [], json.loads
    monkeypatch.setattr(json, "loads", lambda line: parsed.append(line) or loads(line))
    load(root)
    assert parsed == lines


@pytest.mark.parametrize(
    "topics",
    [
        "<top>\n<num> Number: q1\n<title> oak\nleaf\n\n<desc> Description:\nWhat?\n</top>\n"
        "<top>\n<num> Number: q2\n<title> Topic: elm bark\n<narr> No.\n</top>\n",
        "<topics><top><num>q1</num><title>oak leaf</title></top>\n"
        "<top><num>q2</num><title>elm bark</title><desc>What?</desc></top></topics>\n",
    ],
    ids=["as TREC has them", "closed tags"],
)
def test_topics_are_read_by_number_and_title(folder: Folder, topics: str) -> None:
    collection = load(folder({"queries.tsv": None, "topics.txt": topics}))
    assert collection.queries == {"q1": "oak leaf", "q2": "elm bark"}


@pytest.mark.parametrize(
    ("title", "query"),
    [
        ("<title> p-value < 0.05 in trials\n<desc> Description:\n", "p-value < 0.05 in trials"),
        ("<title> a<b, c>d\n", "a<b, c>d"),
        ("<title>p <0.05</title>\n<desc>What?</desc>", "p <0.05"),
        ("<TITLE> Topic: heart <3\n<DESC> What?\n", "heart <3"),
        ("<title> oak\n<desc lang='en'> What?\n", "oak"),
        ("<title> oak\n<en-desc> What?\n", "oak"),
        ("<title> oak\n<h2> What?\n", "oak"),
    ],
)
def test_a_title_ends_at_a_tag_but_not_at_other_less_than_signs(
    folder: Folder, title: str, query: str
) -> None:
    topics = f"<top>\n<num> Number: q1\n{title}</top>\n"
    path = folder({"queries.tsv": None, "topics.txt": topics, "qrels.txt": "q1 0 d1 1\n"})
    assert load(path).queries == {"q1": query}


def test_files_of_splits_are_official(folder: Folder) -> None:
    parts = {"qrels.train.txt": "q1 0 d1 1\n", "qrels.test.txt": "q2 0 d2 1\n"}
    collection = load(folder({"qrels.txt": None, **parts}))
    assert collection.official == {"train": {"q1"}, "test": {"q2"}}
    with pytest.raises(DataError, match="leave none for validation"):
        split_by_query(collection, 0.2, 0.2, seed=1)


def test_comments_in_qrels_are_skipped_and_counted(folder: Folder) -> None:
    qrels = "# judged by hand\nq1 0 d1 2\n#q9 0 d9 1\nq2 0 d2 1\n"
    collection = load(folder({"qrels.txt": qrels}))
    assert collection.qrels == {"q1": {"d1": 2}, "q2": {"d2": 1}}
    assert collection.skipped == {"comment lines in judgments passed over": 2}


def test_the_files_of_a_folder_may_be_compressed(folder: Folder) -> None:
    root = folder({"queries.tsv": None, "topics.xml": TOPICS})
    expected = load(root)
    for name in ("corpus.tsv", "topics.xml", "qrels.txt"):
        content = (root / name).read_bytes()
        (root / name).unlink()
        (root / f"{name}.gz").write_bytes(gzip.compress(content))
    assert load(root) == expected
    for split in ("train", "test"):
        (root / f"qrels.{split}.txt.gz").write_bytes(gzip.compress(SPLIT_QRELS[split]))
    (root / "qrels.txt.gz").unlink()
    assert load(root).official == {"train": {"q1"}, "test": {"q2"}}


def test_quotation_marks_are_part_of_a_text(folder: Folder) -> None:
    corpus = 'd1\t"12 inch\nd2\tpizza 12"\n'
    assert load(folder({"corpus.tsv": corpus})).corpus == {
        "d1": '"12 inch',
        "d2": 'pizza 12"',
    }


def test_all_missing_files_of_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path / "nowhere")
    for name in ("corpus.tsv", "queries.tsv", "qrels.txt"):
        assert name in str(caught.value)


def test_two_files_of_documents_are_refused(folder: Folder) -> None:
    with pytest.raises(DataError, match=r"has corpus\.tsv and corpus\.jsonl, but must have one"):
        load(folder({"corpus.jsonl": ""}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("qrels.txt", "q1 0 d1 1\nq1 d1 1\n", "line 2: 'q1 d1 1' has 3 columns"),
        ("qrels.txt", "query-id\tcorpus-id\tscore\n", "has 3 columns, but must have four"),
        ("qrels.txt", "q1 0 d1 high\n", "line 1: the grade is 'high'"),
        ("queries.tsv", "q1\toak\nq1\telm\n", "line 2: the id 'q1' has a text already"),
        ("corpus.tsv", "d1 The leaf\n", "is not an id and a text, separated by a tab"),
        ("corpus.tsv", "", "corpus is empty"),
    ],
)
def test_a_broken_line_is_refused_with_its_number(
    folder: Folder, name: str, content: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(folder({name: content}))


@pytest.mark.parametrize(
    ("topics", "message"),
    [
        ("<top><num>1</top>", "has no <num> or <title>"),
        ("<top><title>oak</title></top>", "has no <num> or <title>"),
        ("<top><num>1<title>oak</top>" * 2, "the topic 1 is repeated"),
        ("oak", r"topics\.txt: the file has no topics: neither <top> nor <topic>"),
        ("<top><num>1<title>oak</top><top><num>2", "2 topics begin with <top>, but 1 end"),
        ("<top><num>1<title>oak<TOP><num>2<title>elm</TOP>", "2 topics begin with <top>, but 1"),
    ],
)
def test_invalid_topics_are_refused(folder: Folder, topics: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(folder({"queries.tsv": None, "topics.txt": topics}))
