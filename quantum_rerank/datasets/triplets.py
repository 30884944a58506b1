"""Training data with positives and negatives: a JSONL file with an object or a list per line.

    {"query": "how to prune an oak", "pos": ["Prune oaks in winter."], "neg": ["An oak."]}
    {"anchor": "how to prune an oak", "positive": "Prune oaks in winter.", "negative": "An oak."}
    ["how to prune an oak", "Prune oaks in winter.", "An oak."]

FlagEmbedding reads the first form, sentence-transformers the others. A positive is judged 1 and
a negative 0. Each may be a text or a list of texts, and negatives may be missing. Other keys, such
as `prompt` and `pos_scores`, are not read. The corpus is all documents.
"""

from __future__ import annotations

from typing import Any

from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.columns import table_columns
from quantum_rerank.datasets.config import ColumnsConfig, DataConfig
from quantum_rerank.datasets.json_lines import parse_json
from quantum_rerank.datasets.judged_pairs import JudgedPair, JudgedPairs
from quantum_rerank.datasets.source import FileSource
from quantum_rerank.datasets.text_files import each_numbered_line, shortened
from quantum_rerank.datasets.typed_table import pairs_of_row, pairs_of_triplet
from quantum_rerank.errors import DataError
from quantum_rerank.paths import expanded


class TripletsFile(FileSource):
    """The source `triplets:FILE`."""

    def load(self, argument: str, config: DataConfig) -> Collection:
        """Load a file with the configured keys. See `Source.load`."""
        pairs = JudgedPairs()

        def add(place: str, line: str) -> None:
            for pair in _pairs(parse_json(line), config.columns):
                pairs.add(place, pair)

        each_numbered_line(expanded(argument), add)
        return pairs.collection(self.domain(argument))


def _pairs(record: Any, config: ColumnsConfig) -> list[JudgedPair]:
    """Return the judged pairs of a parsed line."""
    if isinstance(record, list):
        if len(record) < 2:
            raise DataError(f"{shortened(record)} must be a query, a positive and any negatives.")
        query, positive, *negatives = record
        return pairs_of_triplet(query, [positive], negatives)
    if isinstance(record, dict):
        return pairs_of_row(record, table_columns(list(record), config))
    raise DataError(f"{shortened(record)} is not an object or a list.")
