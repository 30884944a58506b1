"""One table of judged pairs, such as a log of clicks: its columns `query`, `document` and `label`.

    query,document,label
    how to prune an oak,Prune oaks in winter.,1
    how to prune an oak,The oak is a tree.,0

Columns are separated by commas, semicolons, tabs or `|`, whichever separates the header's;
`data.separator` decides otherwise. Between tabs nothing is quoted: a row ends with its line, and
a quotation mark is a part of the text. Elsewhere what holds a separator, a quotation mark or a
line break stands in double quotes; `data.quoting` decides otherwise. Further columns are not
read, and `data.columns` gives other names. A label is a whole grade: above 0 the document is
relevant, otherwise it was judged not relevant.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.columns import PAIR, hint, listed
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.datasets.counts import Tally
from quantum_rerank.datasets.judged_pairs import JudgedPairs
from quantum_rerank.datasets.raw_lines import MAX_LINE, decoded, raw_lines, uncompressed_name
from quantum_rerank.datasets.text_files import Problems, shortened
from quantum_rerank.errors import DataError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "`|`"}
_EXCEL = "sep="  # Excel writes `sep=;` above a header


@dataclass(frozen=True)
class _Format:
    """Format of a table's rows. usual: whether a file of this name is expected to have it."""

    separator: str
    quoted: bool
    usual: bool


def load(file: str, config: DataConfig | None = None) -> Collection:
    """Load a table; the name of the file becomes the domain.

    The same text is the same query or document, whose id follows from its content. The corpus
    are all documents of the table, those that are relevant to nothing too.

    config: names of the columns, separator and quoting.
    """
    path, config = Path(file), config or DataConfig()
    lines = _Lines(path)
    format_ = _format(path, lines, config)
    limit = csv.field_size_limit(MAX_LINE)  # or a text of more than 131,072 characters fails
    try:
        return _load(path, lines, format_, config)
    except csv.Error as error:
        raise DataError(f"{path}, line {lines.number}: not a table: {error}.") from None
    finally:
        csv.field_size_limit(limit)


def domain(file: str) -> str:
    """The domain of a table, which need not be there: its file's name without the ending."""
    return f"csv:{uncompressed_name(Path(file)).stem}"


class _Lines:
    """The lines of a file that are not read yet, and the number of the last one that was."""

    def __init__(self, path: Path) -> None:
        self.number = 0
        self._path = path
        self._left = self._read()

    def _read(self) -> Iterator[str]:
        for number, raw in raw_lines(self._path):
            self.number = number
            try:
                yield decoded(raw)
            except DataError as error:
                raise DataError(f"{self._path}, line {number}: {error}") from None

    def __iter__(self) -> Iterator[str]:
        return self._left

    def put_back(self, line: str) -> None:
        """Make a line the next one."""
        self._left = chain([line], self._left)

    def first(self) -> str:
        """Take the first line that is not blank; empty if there is none."""
        return next((line for line in self if not line.isspace()), "")


def _format(path: Path, lines: _Lines, config: DataConfig) -> _Format:
    """Detect the format of a file's rows by its name and header; the header stays unread."""
    usual = "\t" if uncompressed_name(path).suffix.lower() == ".tsv" else ","
    header = lines.first()
    given = SEPARATORS.get(config.separator)
    if given is None and header.startswith(_EXCEL) and len(header.strip()) == len(_EXCEL) + 1:
        given, header = header[len(_EXCEL)], lines.first()
    lines.put_back(header)
    wanted = {_name(getattr(config.columns, role)) for role in PAIR}
    ordered = [given] if given else [usual, *(s for s in _WORDS if s != usual)]
    fields = {separator: _fields(header, separator) for separator in ordered}
    fitting = [separator for separator in ordered if wanted <= set(fields[separator])]
    # Where none fits, the one that makes the most columns: the error lists them.
    separator = fitting[0] if fitting else max(ordered, key=lambda s: len(fields[s]))
    quoted = separator != "\t" if config.quoting == "auto" else config.quoting == "double"
    return _Format(separator, quoted, usual=separator == usual or config.separator != "auto")


def _fields(header: str, separator: str) -> list[str]:
    """The names of a header's first line."""
    first_line = next(io.StringIO(header, newline=""), "").rstrip("\r\n")
    return [_name(field) for row in csv.reader([first_line], delimiter=separator) for field in row]


def _name(column: str) -> str:
    return column.strip().lower()


def _load(path: Path, lines: _Lines, format_: _Format, config: DataConfig) -> Collection:
    rows = _rows(lines, format_)
    header = next(rows, [])
    place = f"{path}, line {max(lines.number, 1)}"
    columns = _columns(place, header, format_, config)
    pairs, problems = JudgedPairs(), Problems(path)
    broken, in_quotes, n_rows = Tally(), Tally(), 0
    for n_rows, row in enumerate(rows, start=1):  # noqa: B007
        place = f"line {lines.number}"
        with problems.at(f"{path}, {place}"):
            if len(row) != len(header):
                raise DataError(_other_width(row, len(header), format_))
            query, document, label = (row[column].strip() for column in columns)
            pairs.add(place, query, document, label)
            if "\n" in query + document or "\r" in query + document:
                broken.add(place)
            if not format_.quoted and (_is_quoted(query) or _is_quoted(document)):
                in_quotes.add(place)
    problems.raise_all()
    separated = {f"rows with {_word(format_.separator)} between their columns": n_rows}
    return pairs.collection(
        domain(str(path)),
        broken.as_counts("rows with line breaks within a text")
        | in_quotes.as_counts(
            "rows with a text in double quotes, which are read as a part of it "
            "(`data.quoting: double` removes them)"
        )
        | ({} if format_.usual or not n_rows else separated),
    )


def _rows(lines: _Lines, format_: _Format) -> Iterator[list[str]]:
    """The fields of each row that is not blank."""
    rows: Iterable[list[str]]
    if format_.quoted:
        rows = csv.reader(_ended(lines), delimiter=format_.separator, strict=True)
    else:
        rows = (line.rstrip("\r\n").split(format_.separator) for line in lines)
    return (row for row in rows if any(row))


def _ended(lines: Iterable[str]) -> Iterator[str]:
    """Lines that end with a carriage return too, as old Excels for the Mac write them."""
    for line in lines:
        if "\r" in line.rstrip("\r\n"):
            yield from io.StringIO(line, newline="")
        else:
            yield line


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == '"'


def _word(separator: str) -> str:
    return _WORDS.get(separator, repr(separator))


def _other_width(row: list[str], width: int, format_: _Format) -> str:
    way_out = (
        f"Quote what holds a separator: {shortened(row)}."
        if format_.quoted
        else f"Replace separators and line breaks within texts: {shortened(row)}. Where the file "
        "has them in double quotes, set `data.quoting: double`."
    )
    return f"{len(row)} columns, but the header has {width}. {way_out}"


def _columns(place: str, header: list[str], format_: _Format, config: DataConfig) -> list[int]:
    names = [_name(name) for name in header]
    wanted = [getattr(config.columns, role) for role in PAIR]
    counts = [names.count(_name(name)) for name in wanted]
    if all(count == 1 for count in counts):
        return [names.index(_name(name)) for name in wanted]
    lacking = [role for role, count in zip(PAIR, counts, strict=True) if not count]
    twice = [name for name, count in zip(wanted, counts, strict=True) if count > 1]
    raise DataError(
        f"{place}: the header is {listed(header)}, but must name {', '.join(wanted)} once each, "
        f"separated by {_word(format_.separator)}."
        + (f" There is more than one {', '.join(twice)}." if twice else "")
        + (f" {hint(lacking, [name.strip() for name in header], config.columns)}" * bool(lacking))
    )
