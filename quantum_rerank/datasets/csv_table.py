"""One table of judged pairs, such as a log of clicks: its columns `query`, `document` and `label`.

    query,document,label
    how to prune an oak,Prune oaks in winter.,1
    how to prune an oak,The oak is a tree.,0

Columns are separated by commas, in a file that ends in `.tsv` by tabs; further columns are
not read. A label is a whole grade, and above 0 relevant; 0 and below is judged not relevant.
"""

from __future__ import annotations

import csv
import io
from hashlib import sha256
from pathlib import Path

from quantum_rerank.datasets.collection import Collection, checked
from quantum_rerank.datasets.judgments import Judgments, whole_grade
from quantum_rerank.datasets.text_files import SHOWN, shortened
from quantum_rerank.errors import DataError

COLUMNS = ("query", "document", "label")


def load(file: str) -> Collection:
    """Load a table; the name of the file becomes the domain.

    The same text is the same query or document, whose id follows from its content. The corpus
    are all documents of the table, those that are relevant to nothing too.
    """
    path = Path(file)
    documents: dict[str, None] = {}
    judgments = Judgments()  # by text, so that its errors show texts
    problems: list[str] = []
    n_empty = 0
    (_, header), *rows = _rows(path)
    columns = _columns(path, header)
    for line, row in rows:
        try:
            query, document, label = _chosen(row, columns, len(header))
            if document:
                judgments.add(query, document, whole_grade(label))
                documents[document] = None
            else:
                n_empty += 1
        except DataError as error:
            problems.append(f"{path}, line {line}: {error}")
    if problems:
        more = [f"{path}: {len(problems) - SHOWN} more lines are wrong."]
        raise DataError(problems[:SHOWN] + more * (len(problems) > SHOWN))
    return checked(
        Collection(
            domain=domain(file),
            corpus={_id(text): text for text in documents},
            queries={_id(text): text for text in judgments.qrels},
            qrels={
                _id(query): {_id(document): grade for document, grade in judged.items()}
                for query, judged in judgments.qrels.items()
            },
            skipped=judgments.counts | _left_out(n_empty),
        )
    )


def domain(file: str) -> str:
    """The domain of a table, which need not be there: its file's name without the ending."""
    return f"csv:{Path(file).stem}"


def _left_out(n_rows: int) -> dict[str, int]:
    return {"rows without a document left out": n_rows} if n_rows else {}


def _id(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The number of the line where it ends, and the fields, of each row that is not blank."""
    text = _text(path)
    limit = csv.field_size_limit(len(text) + 1)  # or a text of more than 131,072 characters fails
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(path), strict=True)
        rows = [(reader.line_num, row) for row in reader if any(row)]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a table: {error}.") from None
    finally:
        csv.field_size_limit(limit)
    return rows or [(1, [])]


def _separator(path: Path) -> str:
    return "\t" if path.suffix == ".tsv" else ","


def _chosen(row: list[str], columns: list[int], width: int) -> list[str]:
    """Query, document and label of a row; the document may be empty."""
    if len(row) != width:
        raise DataError(
            f"{len(row)} columns, but the header has {width}. "
            f"Quote what holds a separator: {shortened(row)}."
        )
    query, document, label = (row[column].strip() for column in columns)
    if not query:
        raise DataError("the query is empty. Fill it in, or take the row out.")
    return [query, document, label]


def _columns(path: Path, header: list[str]) -> list[int]:
    names = [name.strip().lower() for name in header]
    if missing := [name for name in COLUMNS if names.count(name) != 1]:
        raise DataError(
            f"{path}, line 1: the header is {shortened(header)}, but must name "
            f"{', '.join(COLUMNS)} once each ({', '.join(missing)} not so), separated by "
            f"{'tabs' if _separator(path) != ',' else 'commas'}."
        )
    return [names.index(name) for name in COLUMNS]


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = content[error.start]
        raise DataError(
            f"{path}, line {line}: the byte {wrong:#04x} is not UTF-8 text. Convert the file."
        ) from None
