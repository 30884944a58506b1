"""Relevance judgments: repetitions are counted, contradictions refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path

from quantum_rerank.datasets.checks import checked
from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.counts import Tally
from quantum_rerank.datasets.text_files import each_line, shortened
from quantum_rerank.errors import DataError

GRADE_LIMIT = 2**31 - 1
"""Largest grade, which evaluation keeps as 32 bits."""

SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "test": "test"}
"""Name of a file or of a part of a dataset -> official split."""

Judgment = tuple[str, str, int]
"""Query id, document id and grade."""


class Judgments:
    """Grades of pairs of a query and a document.

    Attributes:
        qrels: Query id -> document id -> grade.
        official: Official split -> queries judged in its file, if there are two splits or more.
        n_comments: Number of lines that begin with `#`, which are not read.
    """

    def __init__(self) -> None:
        self.qrels: dict[str, dict[str, int]] = {}
        self.official: dict[str, frozenset[str]] = {}
        self.n_comments = 0
        self._repeated = Tally()
        self._unofficial: set[str] = set()

    def add(self, query: str, document: str, grade: int) -> None:
        """Add a judgment.

        Args:
            query: Query id.
            document: Document id.
            grade: Whole number; above 0 means relevant.

        Raises:
            DataError: The pair has another grade already.
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
        """Counts of lines that were not read as judgments of their own."""
        comments = {"comment lines in judgments passed over": self.n_comments}
        counts = self._repeated.as_counts("judgments given twice, taken once")
        return counts | (comments if self.n_comments else {})

    def judged(self, queries: Mapping[str, str]) -> tuple[dict[str, str], dict[str, int]]:
        """Select the queries that are judged.

        Args:
            queries: Query id -> text.

        Returns:
            The judged queries, and all counts, with those of the queries left out.
        """
        judged = {query: text for query, text in queries.items() if query in self.qrels}
        n_unofficial = len(queries.keys() & self._unofficial)
        counts = {
            "queries without judgments left out": len(queries) - len(judged) - n_unofficial,
            "queries judged outside of the official splits left out": n_unofficial,
        }
        return judged, self.counts | {name: count for name, count in counts.items() if count}

    def collection(
        self, domain: str, corpus: Mapping[str, str], queries: Mapping[str, str]
    ) -> Collection:
        """Return the collection of these judgments; queries without one are left out.

        Args:
            domain: Domain of the collection.
            corpus: Document id -> text.
            queries: Query id -> text.

        Raises:
            DataError: The collection is invalid, see `checked`.
        """
        judged, counts = self.judged(queries)
        return checked(
            Collection(
                domain=domain,
                corpus=corpus,
                queries=judged,
                qrels=self.qrels,
                official=self.official,
                skipped=counts,
            )
        )

    def keep_official(self, splits: Mapping[str, set[str]]) -> None:
        """Leave out the judgments of queries that are in no official split.

        Args:
            splits: Official split -> queries.
        """
        self.official = {split: frozenset(queries) for split, queries in splits.items()}
        self._unofficial = self.qrels.keys() - set().union(*splits.values())
        self.qrels = {q: judged for q, judged in self.qrels.items() if q not in self._unofficial}


def read_judgments(
    files: Mapping[Path, str | None],
    parse: Callable[[str], Judgment],
    is_header: Callable[[str], bool] | None = None,
) -> Judgments:
    """Read the judgments of several files.

    Two or more splits are the official ones, and queries judged in other files are left out.
    Otherwise all judgments are pooled. Lines that begin with `#` are comments, as in trec_eval.

    Args:
        files: File -> its split, or None.
        parse: Parses a line.
        is_header: Returns whether the first line of a file is a header; it may raise DataError.

    Raises:
        DataError: A file has invalid lines; a query is in two splits; or there is a single
            split beside a file without one, which may be a split by another name.
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
    """Add the judgments of a file, and return their queries."""
    queries: set[str] = set()
    is_first = True

    def add(line: str) -> None:
        nonlocal is_first
        if line.startswith("#"):
            judgments.n_comments += 1
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
    """Check that no query is in two official splits.

    Args:
        official: Official split -> queries.
        folder: Folder or domain, for the error.

    Raises:
        DataError: Two splits share a query.
    """
    for left, right in combinations(official, 2):
        if shared := official[left] & official[right]:
            raise DataError(
                f"`{folder}`: {len(shared)} queries are in {left} and {right}, such as "
                f"{shortened(min(shared))}. Leave each query in one split."
            )


def _refuse_unnamed(files: Mapping[Path, str | None]) -> None:
    """Refuse files without a split beside a single split: pooling could train on test queries."""
    unnamed = [path.name for path, split in files.items() if not split]
    if unnamed and len(set(files.values()) - {None}) == 1:
        named = next(path for path, split in files.items() if split)
        raise DataError(
            f"`{named.parent}`: {named.name} is an official split, but the split of "
            f"{', '.join(unnamed)} is unknown. Name the splits {', '.join(SPLITS)}, or leave one "
            "file only."
        )


def grade_of(value: object) -> int:
    """Return a grade from a typed table; `true` and `false` may stand for clicks.

    Raises:
        DataError: The value is not a whole number.

    >>> grade_of(2), grade_of(1.0), grade_of(True), grade_of("3")
    (2, 1, 1, 3)
    """
    if not isinstance(value, bool | int | float | str):
        raise DataError(f"the grade is {shortened(value)}, but must be a whole number.")
    return whole_grade(value if isinstance(value, str) else repr(value * 1))


def whole_grade(text: str) -> int:
    """Parse a grade.

    Raises:
        DataError: The text is not a whole number, or the number is too large.

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
