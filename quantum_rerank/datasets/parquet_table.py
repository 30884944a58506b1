"""A table in a Parquet file: a query, a document and a label per row, or triplets.

Columns of triplets are `query` (or `anchor`), `positive` and `negative`, of texts or of lists of
texts. `data.columns` gives other names. Rows are read in batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.columns import table_columns
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.datasets.judged_pairs import JudgedPairs
from quantum_rerank.datasets.text_files import Problems
from quantum_rerank.datasets.typed_table import add_row, columns_read
from quantum_rerank.errors import DataError, MissingPackage

_BATCH = 4096  # rows


def load(file: str, config: DataConfig | None = None) -> Collection:
    """Load a table; the name of the file becomes the domain.

    config: names of the columns.
    """
    path, config = Path(file), config or DataConfig()
    names = column_names(path)
    try:
        columns = table_columns(names, config.columns)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    pairs, problems = JudgedPairs(), Problems(path)
    for place, row in records(path, columns_read(columns)):
        with problems.at(f"{path}, {place}"):
            add_row(pairs, place, row, columns)
    problems.raise_all("rows")
    return pairs.collection(domain(file))


def domain(file: str) -> str:
    """The domain of a table, which need not be there: its file's name without the ending."""
    return f"parquet:{Path(file).stem}"


def column_names(path: Path) -> list[str]:
    """The names of a file's columns."""
    return [str(name) for name in _opened(path).schema_arrow.names]


def records(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place, such as `row 5`, and the values of each row.

    Raises: DataError where the file cannot be read.
    """
    from pyarrow import ArrowException

    number = 0
    try:
        for batch in _opened(path).iter_batches(_BATCH, columns=list(columns)):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row
    except (ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _opened(path: Path) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError:
        raise MissingPackage("pyarrow", "parquet", "Reading Parquet files") from None
    try:
        return ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "")
    return DataError(f"{path}: cannot be read as Parquet: {reason.rstrip('.')}.")
