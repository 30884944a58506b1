"""A table in a Parquet file: a query, a document and a label per row, or triplets.

Triplets have the columns `query` (or `anchor`), `positive` and `negative`, with texts or lists of
texts. `data.columns` sets other names. Rows are read in batches.
"""

from __future__ import annotations

from quantum_rerank.datasets import parquet_file
from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.columns import table_columns
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.datasets.json_lines import Record
from quantum_rerank.datasets.judged_pairs import JudgedPairs
from quantum_rerank.datasets.source import FileSource
from quantum_rerank.datasets.typed_table import columns_read, pairs_of_row
from quantum_rerank.errors import DataError
from quantum_rerank.paths import expanded


class ParquetTable(FileSource):
    """The source `parquet:FILE`."""

    def load(self, argument: str, config: DataConfig) -> Collection:
        """Load a table with the configured columns. See `Source.load`."""
        path = expanded(argument)
        names = parquet_file.column_names(path)
        try:
            columns = table_columns(names, config.columns)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        pairs = JudgedPairs()

        def add(place: str, row: Record) -> None:
            for pair in pairs_of_row(row, columns):
                pairs.add(place, pair)

        parquet_file.each_row(path, columns_read(columns), add)
        return pairs.collection(self.domain(argument))
