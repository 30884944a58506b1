from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_rerank.datasets import load_collection
from quantum_rerank.datasets.collection import MAX_CHARACTERS, Collection
from quantum_rerank.errors import DataError

ROWS = (
    "query,document,label",
    "oak leaf,The leaf of the oak.,2",
    'oak leaf,"The bark, of the elm.",0',
    'elm bark,"The bark, of the elm.",1',
)
Load = Callable[..., Collection]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write(*rows: str, name: str = "clicks.csv") -> Collection:
        (tmp_path / name).write_text("\n".join(rows), encoding="utf-8")
        return load_collection(f"csv:{tmp_path / name}")

    return write


def by_text(collection: Collection) -> dict[str, dict[str, int]]:
    return {
        collection.queries[query]: {collection.corpus[key]: grade for key, grade in judged.items()}
        for query, judged in collection.qrels.items()
    }


def test_a_table_becomes_a_collection_named_by_its_file(load: Load) -> None:
    collection = load(*ROWS)
    assert collection.domain == "csv:clicks"
    assert len(collection.corpus) == len(collection.queries) == 2
    assert by_text(collection) == {
        "oak leaf": {"The leaf of the oak.": 2},
        "elm bark": {"The bark, of the elm.": 1},
    }


def test_ids_follow_from_the_content_alone(load: Load) -> None:
    collection = load(*ROWS)
    again = load(ROWS[0], *ROWS[:0:-1], name="other.csv")
    assert again.corpus == collection.corpus
    assert again.qrels == collection.qrels


@pytest.mark.parametrize(
    "rows",
    [
        ("\ufeffQuery, Document ,LABEL", *ROWS[1:]),
        ("time,label,document,query", "9:00,2,The leaf of the oak.,oak leaf", *("",) * 3),
        (ROWS[0], "oak leaf,The leaf of the oak.,2.0", " oak leaf,The leaf of the oak. ,2"),
    ],
    ids=["names as Excel writes them", "more columns in another order", "spaces around"],
)
def test_a_table_is_read_as_people_have_it(load: Load, rows: tuple[str, ...]) -> None:
    assert by_text(load(*rows))["oak leaf"] == {"The leaf of the oak.": 2}


def test_a_table_with_tabs_ends_in_tsv(load: Load) -> None:
    rows = ("query\tdocument\tlabel", "oak, leaf\tThe leaf.\t1")
    assert by_text(load(*rows, name="clicks.tsv")) == {"oak, leaf": {"The leaf.": 1}}


def test_a_row_without_a_document_is_left_out_and_counted(load: Load) -> None:
    collection = load(*ROWS, "elm bark,,1", "elm bark, ,1")
    assert by_text(collection) == by_text(load(*ROWS))
    assert collection.skipped == {"rows without a document left out": 2}


def test_a_repeated_row_is_counted(load: Load) -> None:
    assert load(*ROWS, ROWS[1]).skipped == {"judgments given twice, taken once": 1}


def test_all_wrong_rows_are_told_together_with_their_lines(load: Load) -> None:
    with pytest.raises(DataError) as caught:
        load(*ROWS, ",The leaf.,1", "oak,The leaf.,often", "oak leaf,The leaf of the oak.,1", "oak")
    messages = [problem.split("clicks.csv, ")[1] for problem in caught.value.problems]
    assert messages == [
        "line 5: the query is empty. Fill it in, or take the row out.",
        "line 6: the grade is 'often', but must be a whole number.",
        messages[2],
        "line 8: 1 columns, but the header has 3. Quote what holds a separator: ['oak'].",
    ]
    assert "are judged 1, but 2 above" in messages[2]
    assert "oak leaf" in messages[2]


@pytest.mark.parametrize(
    "header", ["", "query;document;label", "query,doc,label", "query,document,label,label", ROWS[1]]
)
def test_a_wrong_header_is_refused_with_the_right_one(load: Load, header: str) -> None:
    with pytest.raises(DataError, match=r"line 1: the header is .* query, document, label once"):
        load(header, *ROWS[1:])


def test_an_empty_file_has_a_wrong_header(load: Load) -> None:
    with pytest.raises(DataError, match=r"line 1: the header is \[\]"):
        load("")


def test_a_quote_that_does_not_end_is_refused(load: Load) -> None:
    with pytest.raises(DataError, match=r"line 5: not a table"):
        load(*ROWS, 'oak,"The leaf,1')


def test_a_byte_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_bytes("\n".join(ROWS).encode() + b"\ncaf\xe9,The leaf.,1")
    with pytest.raises(DataError, match=r"clicks\.csv, line 5: the byte 0xe9 is not UTF-8"):
        load_collection(f"csv:{path}")


def test_a_huge_text_is_cut_and_the_limit_of_others_left_alone(load: Load) -> None:
    limit = csv.field_size_limit()
    collection = load(*ROWS, f"oak,{'leaf ' * 100_000},1")
    assert max(map(len, collection.corpus.values())) == MAX_CHARACTERS
    assert collection.skipped == {"texts cut after 100,000 characters": 1}
    assert csv.field_size_limit() == limit
