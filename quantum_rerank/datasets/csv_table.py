"""A table of judged pairs, such as a log of clicks, with the columns `query`, `document`, `label`.

    query,document,label
    how to prune an oak,Prune oaks in winter.,1
    how to prune an oak,The oak is a tree.,0

Columns are separated by commas, semicolons, tabs or `|`: the separator of the header is detected,
and `data.separator` overrides it. In tables with tabs nothing is quoted: a row ends with its line,
and a quotation mark is part of the text. In other tables, texts with a separator, a quotation mark
or a line break are in double quotes. `data.quoting` overrides this. Other columns are not read, and
`data.columns` sets other names. A label is a whole grade: above 0 the document is relevant,
otherwise it was judged not relevant.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.columns import PAIR, hint, listed
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.datasets.counts import Tally
from quantum_rerank.datasets.judged_pairs import JudgedPair, JudgedPairs
from quantum_rerank.datasets.raw_lines import MAX_LINE, decoded, raw_lines, uncompressed_name
from quantum_rerank.datasets.source import FileSource
from quantum_rerank.datasets.text_files import Problems, shortened
from quantum_rerank.errors import DataError
from quantum_rerank.paths import expanded

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
"""Value of `data.separator` -> separator."""

_WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "`|`"}
_EXCEL = "sep="  # Excel writes `sep=;` above a header


class CsvTable(FileSource):
    """The source `csv:FILE`."""

    def load(self, argument: str, config: DataConfig) -> Collection:
        """Load a table with the configured columns, separator and quoting.

        Equal texts are the same query or document, whose id is a hash of the text. The corpus is
        all documents of the table.

        See `Source.load`.
        """
        path = expanded(argument)
        lines = _Lines(path)
        layout = _layout(path, lines, config)
        limit = csv.field_size_limit(MAX_LINE)  # or a text of more than 131,072 characters fails
        try:
            return _Table(path, lines, layout, config).collection(self.domain(argument))
        except csv.Error as error:
            raise DataError(f"{path}, line {lines.number}: not a table: {error}.") from None
        finally:
            csv.field_size_limit(limit)


@dataclass(frozen=True)
class _Layout:
    """Layout of a table's rows.

    Attributes:
        separator: Character between columns.
        quoted: Texts may be in double quotes.
        usual: The separator is configured, or the usual one of the file's ending.
    """

    separator: str
    quoted: bool
    usual: bool

    @property
    def separators(self) -> str:
        """The separator in words."""
        return _WORDS.get(self.separator, repr(self.separator))


class _Lines:
    """Lines of a file that are still to be read, and the number of the last line read."""

    def __init__(self, path: Path) -> None:
        self.number = 0
        self._path = path
        self._unread = self._read()

    def _read(self) -> Iterator[str]:
        for number, raw in raw_lines(self._path):
            self.number = number
            try:
                yield decoded(raw)
            except DataError as error:
                raise DataError(f"{self._path}, line {number}: {error}") from None

    def __iter__(self) -> Iterator[str]:
        return self._unread

    def put_back(self, line: str) -> None:
        """Make a line the next one."""
        self._unread = chain([line], self._unread)

    def first(self) -> str:
        """Read the first line that is not blank; empty if there is none."""
        return next((line for line in self if not line.isspace()), "")


def _layout(path: Path, lines: _Lines, config: DataConfig) -> _Layout:
    """Detect the layout of a table by its name and header; the header stays unread."""
    usual = "\t" if uncompressed_name(path).suffix.lower() == ".tsv" else ","
    header = lines.first()
    fixed = SEPARATORS.get(config.separator)
    if fixed is None and header.startswith(_EXCEL) and len(header.strip()) == len(_EXCEL) + 1:
        fixed, header = header[len(_EXCEL)], lines.first()
    lines.put_back(header)
    required = {_name(getattr(config.columns, role)) for role in PAIR}
    candidates = [fixed] if fixed else [usual, *(s for s in _WORDS if s != usual)]
    fields = {separator: _fields(header, separator) for separator in candidates}
    fitting = [separator for separator in candidates if required <= set(fields[separator])]
    # If none fits, the separator with the most columns: the error lists them.
    separator = fitting[0] if fitting else max(candidates, key=lambda s: len(fields[s]))
    quoted = separator != "\t" if config.quoting == "auto" else config.quoting == "double"
    return _Layout(separator, quoted, usual=separator == usual or config.separator != "auto")


def _fields(header: str, separator: str) -> list[str]:
    """Return the names of columns in the first line of a header."""
    first_line = next(io.StringIO(header, newline=""), "").rstrip("\r\n")
    return [_name(field) for row in csv.reader([first_line], delimiter=separator) for field in row]


def _name(column: str) -> str:
    return column.strip().lower()


@dataclass
class _Table:
    """A table whose rows are read once, into pairs and counts.

    Attributes:
        path: File.
        lines: Lines of the file, from its header on.
        layout: Separator and quoting.
        config: Names of the columns.
    """

    path: Path
    lines: _Lines
    layout: _Layout
    config: DataConfig
    _pairs: JudgedPairs = field(default_factory=JudgedPairs)
    _broken: Tally = field(default_factory=Tally)
    _in_quotes: Tally = field(default_factory=Tally)

    def collection(self, domain: str) -> Collection:
        """Read all rows, and return their collection."""
        rows = _rows(self.lines, self.layout)
        header = next(rows, [])
        columns = self._columns(header)
        problems, n_rows = Problems(self.path), 0
        for n_rows, row in enumerate(rows, start=1):  # noqa: B007
            place = f"line {self.lines.number}"
            with problems.at(f"{self.path}, {place}"):
                if len(row) != len(header):
                    raise DataError(_wrong_width(row, len(header), self.layout))
                self._add(place, *(row[column].strip() for column in columns))
        problems.raise_all()
        return self._pairs.collection(domain, self._counts(n_rows))

    def _add(self, place: str, query: str, document: str, label: str) -> None:
        self._pairs.add(place, JudgedPair(query, document, label))
        if "\n" in query + document or "\r" in query + document:
            self._broken.add(place)
        if not self.layout.quoted and (_is_quoted(query) or _is_quoted(document)):
            self._in_quotes.add(place)

    def _counts(self, n_rows: int) -> dict[str, int]:
        separated = {f"rows with {self.layout.separators} between their columns": n_rows}
        return (
            self._broken.as_counts("rows with line breaks within a text")
            | self._in_quotes.as_counts(
                "rows with a text in double quotes, which are read as a part of it "
                "(`data.quoting: double` removes them)"
            )
            | ({} if self.layout.usual or not n_rows else separated)
        )

    def _columns(self, header: list[str]) -> list[int]:
        """Return the positions of query, document and label; DataError if they are not unique."""
        names = [_name(name) for name in header]
        required = [getattr(self.config.columns, role) for role in PAIR]
        counts = [names.count(_name(name)) for name in required]
        if all(count == 1 for count in counts):
            return [names.index(_name(name)) for name in required]
        missing = [role for role, count in zip(PAIR, counts, strict=True) if not count]
        repeated = [name for name, count in zip(required, counts, strict=True) if count > 1]
        problem = (
            f"{self.path}, line {max(self.lines.number, 1)}: the header is {listed(header)}, but "
            f"must name {', '.join(required)} once each, separated by {self.layout.separators}."
        )
        if repeated:
            problem += f" There is more than one {', '.join(repeated)}."
        if missing:
            stripped = [name.strip() for name in header]
            problem += f" {hint(missing, stripped, self.config.columns)}"
        raise DataError(problem)


def _rows(lines: _Lines, layout: _Layout) -> Iterator[list[str]]:
    """Yield the fields of each row that is not blank."""
    rows: Iterable[list[str]]
    if layout.quoted:
        rows = csv.reader(_split_at_returns(lines), delimiter=layout.separator, strict=True)
    else:
        rows = (line.rstrip("\r\n").split(layout.separator) for line in lines)
    return (row for row in rows if any(row))


def _split_at_returns(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines that may also end with a carriage return, as old Excels for the Mac write."""
    for line in lines:
        if "\r" in line.rstrip("\r\n"):
            yield from io.StringIO(line, newline="")
        else:
            yield line


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == '"'


def _wrong_width(row: list[str], width: int, layout: _Layout) -> str:
    advice = (
        f"Quote texts with a separator: {shortened(row)}."
        if layout.quoted
        else f"Replace separators and line breaks within texts: {shortened(row)}. If the file has "
        "them in double quotes, set `data.quoting: double`."
    )
    return f"{len(row)} columns, but the header has {width}. {advice}"
