"""A folder that the package `datasets` of Hugging Face has saved with `save_to_disk`.

Columns are those of `parquet:FILE`. Of a DatasetDict, `train`, `validation` and `test` are the
official splits where there are two or more of them. Nothing is downloaded and no code is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.columns import table_columns
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.datasets.judged_pairs import JudgedPairs
from quantum_rerank.datasets.judgments import SPLITS
from quantum_rerank.datasets.text_files import Problems, shortened
from quantum_rerank.datasets.typed_table import add_row, columns_read
from quantum_rerank.errors import DataError, MissingPackage

_MARKS = ("dataset_dict.json", "state.json")  # what `save_to_disk` writes into a folder


def load(folder: str, config: DataConfig | None = None) -> Collection:
    """Load a folder; its name becomes the domain.

    config: names of the columns.
    """
    root, config = Path(folder), config or DataConfig()
    pairs, problems = JudgedPairs(), Problems(root)
    for name, dataset in _parts(root).items():
        place = f"{root}, {name}" if name else str(root)
        with problems.at(place):
            columns = table_columns(dataset.column_names, config.columns)
            for number, row in enumerate(dataset.select_columns(columns_read(columns)), start=1):
                with problems.at(f"{place}, row {number}"):
                    add_row(pairs, f"{name} row {number}".strip(), row, columns, SPLITS.get(name))
    problems.raise_all("rows")
    return pairs.collection(domain(folder))


def domain(folder: str) -> str:
    """The domain of a folder, which need not be there: its name, however its path is spelt."""
    return f"datasets:{Path(folder).resolve().name}"


def _parts(root: Path) -> Mapping[str, Any]:
    """Split -> Dataset; under an empty name where the folder has no splits."""
    try:
        from datasets import DatasetDict, load_from_disk
    except ModuleNotFoundError:
        raise MissingPackage("datasets", "datasets", "The source `datasets`") from None
    if not any((root / mark).is_file() for mark in _MARKS):
        raise DataError(
            f"`{root}` is not a folder that `datasets` has saved: it has no {' or '.join(_MARKS)}. "
            "Write it with `dataset.save_to_disk(...)`."
        )
    try:
        loaded = load_from_disk(str(root))
    except Exception as error:  # the package's, pyarrow's and those of the operating system
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"`{root}` cannot be read: {shortened(first_line, 120)}.") from None
    return dict(loaded) if isinstance(loaded, DatasetDict) else {"": loaded}
