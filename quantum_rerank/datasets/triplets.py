"""Training data with positives and negatives: a JSONL file with an object or a list per line.

    {"query": "how to prune an oak", "pos": ["Prune oaks in winter."], "neg": ["An oak."]}
    {"anchor": "how to prune an oak", "positive": "Prune oaks in winter.", "negative": "An oak."}
    ["how to prune an oak", "Prune oaks in winter.", "An oak."]

The first is what FlagEmbedding reads, the others what sentence-transformers does. A positive is
judged 1 and a negative 0; each may be a text or a list of texts, and negatives may be missing.
Other keys, such as `prompt` and `pos_scores`, are not read. The corpus are all documents.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.columns import table_columns
from quantum_rerank.datasets.config import ColumnsConfig, DataConfig
from quantum_rerank.datasets.judged_pairs import JudgedPairs
from quantum_rerank.datasets.raw_lines import decoded, raw_lines, uncompressed_name
from quantum_rerank.datasets.text_files import Problems, parsed_json, shortened
from quantum_rerank.datasets.typed_table import add_row, add_triplet
from quantum_rerank.errors import DataError


def load(file: str, config: DataConfig | None = None) -> Collection:
    """Load a file; its name becomes the domain.

    config: names of the keys.
    """
    path, columns = Path(file), (config or DataConfig()).columns
    pairs, problems = JudgedPairs(), Problems(path)
    for number, raw in raw_lines(path):
        place = f"line {number}"
        with problems.at(f"{path}, {place}"):
            if not raw.isspace():
                _add(pairs, place, parsed_json(decoded(raw)), columns)
    problems.raise_all()
    return pairs.collection(domain(file))


def domain(file: str) -> str:
    """The domain of a file, which need not be there: its name without the ending."""
    return f"triplets:{uncompressed_name(Path(file)).stem}"


def _add(pairs: JudgedPairs, place: str, record: Any, config: ColumnsConfig) -> None:
    if isinstance(record, list):
        if len(record) < 2:
            raise DataError(f"{shortened(record)} must be a query, a positive and any negatives.")
        query, positive, *negatives = record
        add_triplet(pairs, place, query, [positive], negatives)
    elif isinstance(record, dict):
        add_row(pairs, place, record, table_columns(list(record), config))
    else:
        raise DataError(f"{shortened(record)} is no object.")
