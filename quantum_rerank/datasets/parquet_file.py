"""Parquet files, read in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from quantum_rerank.datasets.json_lines import Record
from quantum_rerank.datasets.text_files import Problems
from quantum_rerank.errors import DataError, MissingPackage
from quantum_rerank.regular_files import require_regular

_BATCH = 4096  # rows


def column_names(path: Path) -> list[str]:
    """Return the names of the columns of a file.

    Raises:
        DataError: The file cannot be read.
        MissingPackage: pyarrow is not installed.
    """
    return [str(name) for name in _opened(path).schema_arrow.names]


def each_row(path: Path, columns: Sequence[str], handle: Callable[[str, Record], None]) -> None:
    """Call a function with every row.

    Args:
        path: File.
        columns: Names of the columns to read.
        handle: Called with the place, such as `row 5`, and the values. Its DataErrors are
            collected.

    Raises:
        DataError: The file cannot be read, or `handle` has refused rows.
        MissingPackage: pyarrow is not installed.
    """
    problems = Problems(path)
    for number, row in enumerate(_rows(path, columns), start=1):
        place = f"row {number}"
        with problems.at(f"{path}, {place}"):
            handle(place, row)
    problems.raise_all("rows")


def _rows(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    file = _opened(path)
    from pyarrow import ArrowException

    try:
        for batch in file.iter_batches(_BATCH, columns=list(columns)):
            yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _opened(path: Path) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError:
        raise MissingPackage("pyarrow", "parquet", "Reading Parquet files") from None
    try:
        require_regular(path, follow_link=True)
        return ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "")
    return DataError(f"{path}: cannot be read as Parquet: {reason.rstrip('.')}.")
