"""Relevance judgments as they are read: repeats counted, contradictions refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path

from quantum_rerank.datasets.counts import Tally
from quantum_rerank.datasets.text_files import each_line, shortened
from quantum_rerank.errors import DataError

GRADE_LIMIT = 2**31 - 1  # grades are kept as 32 bits
# Name of a file -> split.
SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "test": "test"}

Judgment = tuple[str, str, int]


class Judgments:
    """Grades of pairs.

    qrels: query id -> document id -> grade.
    official: split name -> queries judged in its file, where there are two such files or more.
    """

    def __init__(self) -> None:
        self.qrels: dict[str, dict[str, int]] = {}
        self.official: dict[str, frozenset[str]] = {}
        self.comments = 0  # lines that begin with `#`, passed over
        self._repeated = Tally()
        self._unofficial: set[str] = set()

    def add(self, query: str, document: str, grade: int) -> None:
        """Take one judgment in.

        Raises: DataError where the pair has another grade already.
        """
        judged = self.qrels.setdefault(query, {})
        if document not in judged:
            judged[document] = grade
        elif judged[document] == grade:
            self._repeated.add(f"{query} -> {document}")
        else:
            raise DataError(
                f"{shortened(query)} and {shortened(document)} are judged {grade}, "
                f"but {judged[document]} above. Keep one grade of a pair."
            )

    @property
    def counts(self) -> dict[str, int]:
        """What was not taken as it was given."""
        comments = {"comment lines in judgments passed over": self.comments}
        counts = self._repeated.as_counts("judgments given twice, taken once")
        return counts | (comments if self.comments else {})

    def of_known(self, queries: Mapping[str, str]) -> tuple[dict[str, str], dict[str, int]]:
        """The queries that are judged, and what there is to say of all."""
        judged = {query: text for query, text in queries.items() if query in self.qrels}
        elsewhere = len(queries.keys() & self._unofficial)
        said = {
            "queries without judgments left out": len(queries) - len(judged) - elsewhere,
            "queries judged outside of the official splits left out": elsewhere,
        }
        return judged, self.counts | {what: count for what, count in said.items() if count}

    def keep_official(self, splits: Mapping[str, set[str]]) -> None:
        """Leave out the judgments of queries that are in no official split."""
        self.official = {split: frozenset(queries) for split, queries in splits.items()}
        self._unofficial = self.qrels.keys() - set().union(*splits.values())
        self.qrels = {q: judged for q, judged in self.qrels.items() if q not in self._unofficial}


def read_judgments(
    files: Mapping[Path, str | None],
    parse: Callable[[str], Judgment],
    is_header: Callable[[str], bool] | None = None,
) -> Judgments:
    """Judgments of several files, each with the name of its split or None.

    Lines that begin with `#` are comments, as trec_eval reads them.

    With two or more splits, those are the official ones, and queries judged
    elsewhere are left out; otherwise all judgments are pooled.

    is_header: whether the first line of a file is a header; it may raise DataError.
    Raises: DataError with all that is wrong with one file, a query of two splits, or a
        single split beside a file of none, which may be a split by another name.
    """
    _refuse_unnamed(files)
    judgments = Judgments()
    official: dict[str, set[str]] = {}
    for path, split in files.items():
        queries = _read(path, parse, is_header, judgments)
        if split:
            official.setdefault(split, set()).update(queries)
    if len(official) > 1:
        refuse_shared(official, str(next(iter(files)).parent))
        judgments.keep_official(official)
    return judgments


def _read(
    path: Path,
    parse: Callable[[str], Judgment],
    is_header: Callable[[str], bool] | None,
    judgments: Judgments,
) -> set[str]:
    """Add the judgments of one file, and return the queries that it names."""
    queries: set[str] = set()
    is_first = True

    def add(line: str) -> None:
        nonlocal is_first
        if line.startswith("#"):
            judgments.comments += 1
            return
        may_be_header, is_first = is_first, False
        if may_be_header and is_header is not None and is_header(line):
            return
        query, document, grade = parse(line)
        queries.add(query)
        judgments.add(query, document, grade)

    each_line(path, add)
    return queries


def refuse_shared(official: Mapping[str, set[str]], folder: str) -> None:
    """Raise DataError where a query is in two official splits."""
    for one, other in combinations(official, 2):
        if shared := official[one] & official[other]:
            raise DataError(
                f"`{folder}`: {len(shared)} queries are in {one} and {other}, such as "
                f"{shortened(min(shared))}. Leave each query in one split."
            )


def _refuse_unnamed(files: Mapping[Path, str | None]) -> None:
    """Pooled, a split's test queries could be trained on."""
    unnamed = [path.name for path, split in files.items() if not split]
    if unnamed and len(set(files.values()) - {None}) == 1:
        named = next(path for path, split in files.items() if split)
        raise DataError(
            f"`{named.parent}`: {named.name} is an official split, but what {', '.join(unnamed)} "
            f"is cannot be told. Name the splits {', '.join(SPLITS)}, or leave one file only."
        )


def grade_of(value: object) -> int:
    """A grade as a table of typed values has it; a click may be `true` or `false`.

    >>> grade_of(2), grade_of(1.0), grade_of(True), grade_of("3")
    (2, 1, 1, 3)
    """
    if not isinstance(value, bool | int | float | str):
        raise DataError(f"the grade is {shortened(value)}, but must be a whole number.")
    return whole_grade(value if isinstance(value, str) else repr(value * 1))


def whole_grade(text: str) -> int:
    """A grade as it is written in a file.

    >>> whole_grade("2"), whole_grade("-1"), whole_grade("1.0")
    (2, -1, 1)
    """
    try:
        grade = int(text) if text.strip().lstrip("+-").isdigit() else _whole(text)
    except (ValueError, OverflowError):
        raise DataError(f"the grade is {shortened(text)}, but must be a whole number.") from None
    if abs(grade) > GRADE_LIMIT:
        raise DataError(f"the grade is {shortened(text)}, but must be at most {GRADE_LIMIT}.")
    return grade


def _whole(text: str) -> int:
    number = float(text)
    if "_" in text or number != int(number):  # Python reads 1_0 as 10
        raise ValueError
    return int(number)
