from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_rerank.config import ColumnsConfig, DataConfig
from quantum_rerank.datasets import count_lines, domain_of, load_collection
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
    def write(*rows: str, name: str = "clicks.csv", config: DataConfig | None = None) -> Collection:
        (tmp_path / name).write_text("\n".join(rows), encoding="utf-8")
        return load_collection(f"csv:{tmp_path / name}", config)

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


def test_ids_depend_on_the_content_only(load: Load) -> None:
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
def test_tables_of_several_layouts_are_read(load: Load, rows: tuple[str, ...]) -> None:
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


def test_all_invalid_rows_are_reported_with_their_lines(load: Load) -> None:
    with pytest.raises(DataError) as caught:
        load(
            *ROWS, "oak,The leaf.,", "oak,The leaf.,often", "oak leaf,The leaf of the oak.,1", "oak"
        )
    messages = [problem.split("clicks.csv, ")[1] for problem in caught.value.problems]
    assert messages == [
        "line 5: the grade is '', but must be a whole number.",
        "line 6: the grade is 'often', but must be a whole number.",
        messages[2],
        "line 8: 1 columns, but the header has 3. Quote texts with a separator: ['oak'].",
    ]
    assert "are judged 1, but 2 above" in messages[2]
    assert "oak leaf" in messages[2]


@pytest.mark.parametrize(
    ("header", "way_out"),
    [
        (
            "query,doc,label",
            "no column `document`. Name the right one with `--columns document=doc`",
        ),
        ("q,text,Rel", "`--columns query=q,document=text,label=Rel`"),
        ("querys;document;label", "separated by semicolons. .* `--columns query=querys`"),
        ("a,b,c", "`--columns query=NAME,document=NAME,label=NAME`"),
        ("query,document,label,label", "There is more than one label"),
        (ROWS[1], "There is no column `query`, `document`, `label`"),
    ],
)
def test_a_wrong_header_is_refused_with_its_columns_and_the_nearest(
    load: Load, header: str, way_out: str
) -> None:
    with pytest.raises(
        DataError, match=r"line 1: the header is .* query, document, label once"
    ) as e:
        load(header, *ROWS[1:])
    assert re.search(way_out, str(e.value))
    assert all(repr(name) in str(e.value) for name in re.split("[,;]", header))


def test_columns_may_have_other_names(load: Load) -> None:
    rows = ("Q,Text,Clicks,label", "oak leaf,The leaf.,1,x")
    columns = ColumnsConfig(query="q", document="text", label="clicks")
    config = DataConfig(columns=columns)
    assert by_text(load(*rows, config=config)) == {"oak leaf": {"The leaf.": 1}}


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("|", "`|`"), ("\t", "tabs")])
def test_the_separator_of_the_header_is_detected_and_reported(
    load: Load, separator: str, word: str
) -> None:
    rows = [
        separator.join(row) for row in (("query", "document", "label"), ("oak", "a, leaf", "1"))
    ]
    collection = load(*rows)
    assert by_text(collection) == {"oak": {"a, leaf": 1}}
    assert collection.skipped == {f"rows with {word} between their columns": 1}


def test_the_separator_that_excel_names_above_the_header_is_used(load: Load) -> None:
    rows = ("sep=^", "query^document^label", "oak^a, leaf^1")
    assert by_text(load(*rows)) == {"oak": {"a, leaf": 1}}


def test_a_configured_separator_is_not_detected(load: Load) -> None:
    rows = ("query;document;label", "oak;a leaf;1")
    collection = load(*rows, config=DataConfig(separator="semicolon"))
    assert collection.skipped == {}
    with pytest.raises(DataError, match=r"\['query;document;label'\].* separated by commas"):
        load(*rows, config=DataConfig(separator="comma"))


def test_a_row_with_tabs_ends_with_its_line_despite_quotes(load: Load) -> None:
    rows = (
        "query\tdocument\tlabel",
        'pizza\t"12 inch pizza\t1',
        "new york\tb doc\t1",
        'pizza large\tpizza 12"\t1',
        '"machine learning" jobs\tdoc "a"\t1',
        '"oak leaf"\tdoc\t1',
    )
    collection = load(*rows, name="clicks.tsv")
    assert by_text(collection) == {
        "pizza": {'"12 inch pizza': 1},
        "new york": {"b doc": 1},
        "pizza large": {'pizza 12"': 1},
        '"machine learning" jobs': {'doc "a"': 1},
        '"oak leaf"': {"doc": 1},
    }
    assert count_lines(collection.skipped) == [
        "1 row with a text in double quotes, which are read as a part of it "
        "(`data.quoting: double` removes them) (line 6)"
    ]


def test_quotes_between_tabs_are_removed_if_configured(load: Load) -> None:
    rows = ("query\tdocument\tlabel", '"oak\tleaf"\t"a ""big"" leaf"\t1')
    collection = load(*rows, name="clicks.tsv", config=DataConfig(quoting="double"))
    assert by_text(collection) == {"oak\tleaf": {'a "big" leaf': 1}}


def test_an_error_in_a_row_with_tabs_names_the_setting_for_quotes(load: Load) -> None:
    rows = ("query\tdocument\tlabel", 'oak\t"a', 'leaf"\t1')
    with pytest.raises(DataError, match=r"line 2: 2 columns, .* set `data\.quoting: double`"):
        load(*rows, name="clicks.tsv")
    collection = load(*rows, name="clicks.tsv", config=DataConfig(quoting="double"))
    assert by_text(collection) == {"oak": {"a\nleaf": 1}}


def test_quotes_between_commas_are_preserved_if_configured(load: Load) -> None:
    rows = ("query,document,label", 'pizza,"12 inch,1', 'oak,12",1')
    collection = load(*rows, config=DataConfig(quoting="none"))
    assert by_text(collection) == {"pizza": {'"12 inch': 1}, "oak": {'12"': 1}}


def test_line_breaks_within_texts_are_counted_with_their_lines(load: Load) -> None:
    collection = load(*ROWS, 'oak,"The\nleaf.",1', 'elm,"The leaf.",1')
    assert "The\nleaf." in collection.corpus.values()
    assert count_lines(collection.skipped) == ["1 row with line breaks within a text (line 6)"]


def test_a_row_without_a_query_is_left_out_and_counted_with_its_line(load: Load) -> None:
    collection = load(*ROWS, ",The leaf.,1")
    assert by_text(collection) == by_text(load(*ROWS))
    assert count_lines(collection.skipped) == ["1 row without a query left out (line 5)"]


def test_a_table_with_too_many_rows_without_a_query_is_refused(load: Load) -> None:
    rows = (*ROWS, ",The leaf.,1", " ,The leaf.,1")
    with pytest.raises(DataError, match=r"2 of 5 judgments \(40\.0%\).*\(line 5, line 6\)"):
        load(*rows)
    assert len(load(*rows, config=DataConfig(max_unmatched_judgments=0.5)).queries) == 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_table_in_utf_16_is_read_by_its_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    text = ("" if encoding in ("utf-16", "utf-32") else "\ufeff") + "\r\n".join(ROWS)
    (tmp_path / "clicks.csv").write_bytes(text.encode(encoding))
    collection = load_collection(f"csv:{tmp_path / 'clicks.csv'}")
    assert by_text(collection)["oak leaf"] == {"The leaf of the oak.": 2}


def test_a_compressed_table_is_named_by_its_uncompressed_file(tmp_path: Path) -> None:
    path = tmp_path / "clicks.tsv.gz"
    path.write_bytes(gzip.compress(b"query\tdocument\tlabel\noak\ta leaf\t1\n"))
    collection = load_collection(f"csv:{path}")
    assert collection.domain == domain_of(f"csv:{path}") == "csv:clicks"
    assert by_text(collection) == {"oak": {"a leaf": 1}}


def test_carriage_returns_end_rows(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_bytes("\r".join(ROWS).encode())
    assert len(load_collection(f"csv:{tmp_path / 'clicks.csv'}").queries) == 2


def test_an_empty_file_is_refused_for_its_header(load: Load) -> None:
    with pytest.raises(DataError, match=r"line 1: the header is \[\]"):
        load("")


def test_an_unclosed_quote_is_refused(load: Load) -> None:
    with pytest.raises(DataError, match=r"line 5: not a table"):
        load(*ROWS, 'oak,"The leaf,1')


def test_a_byte_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_bytes("\n".join(ROWS).encode() + b"\ncaf\xe9,The leaf.,1")
    with pytest.raises(DataError, match=r"clicks\.csv, line 5: the byte 0xe9 is not UTF-8"):
        load_collection(f"csv:{path}")


def test_a_huge_text_is_cut_and_the_global_field_limit_is_restored(load: Load) -> None:
    limit = csv.field_size_limit()
    collection = load(*ROWS, f"oak,{'leaf ' * 100_000},1")
    assert max(map(len, collection.corpus.values())) == MAX_CHARACTERS
    assert collection.skipped == {"texts cut after 100,000 characters": 1}
    assert csv.field_size_limit() == limit
