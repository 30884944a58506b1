"""A folder that Hugging Face's package `datasets` has written with `save_to_disk`.

Columns are those of `parquet:FILE`. In a DatasetDict, `train`, `validation` and `test` are the
official splits if there are two or more of them. Nothing is downloaded and no code is run.
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
from quantum_rerank.datasets.source import FolderSource
from quantum_rerank.datasets.text_files import Problems, shortened
from quantum_rerank.datasets.typed_table import columns_read, pairs_of_row
from quantum_rerank.errors import DataError, MissingPackage, first_line
from quantum_rerank.paths import expanded
from quantum_rerank.regular_files import require_regular

_MARKERS = ("dataset_dict.json", "state.json")  # files that `save_to_disk` writes into a folder


class HuggingFaceFolder(FolderSource):
    """The source `datasets:FOLDER`."""

    def load(self, argument: str, config: DataConfig) -> Collection:
        """Load a folder with the configured columns. See `Source.load`."""
        root = expanded(argument)
        pairs, problems = JudgedPairs(), Problems(root)
        for name, dataset in _parts(root).items():
            place = f"{root}, {name}" if name else str(root)
            with problems.at(place):
                columns = table_columns(dataset.column_names, config.columns)
                rows = dataset.select_columns(columns_read(columns))
                for number, row in enumerate(rows, start=1):
                    with problems.at(f"{place}, row {number}"):
                        for pair in pairs_of_row(row, columns):
                            pairs.add(f"{name} row {number}".strip(), pair, SPLITS.get(name))
        problems.raise_all("rows")
        return pairs.collection(self.domain(argument))


def _parts(root: Path) -> Mapping[str, Any]:
    """Return part -> Dataset; the part has an empty name if the folder is not a DatasetDict."""
    try:
        from datasets import DatasetDict, load_from_disk
    except ModuleNotFoundError:
        raise MissingPackage("datasets", "datasets", "The source `datasets`") from None
    if not any((root / marker).is_file() for marker in _MARKERS):
        raise DataError(
            f"`{root}` was not saved by `datasets`: it has no {' or '.join(_MARKERS)}. "
            "Write it with `dataset.save_to_disk(...)`."
        )
    try:
        for path in root.rglob("*"):
            if not path.is_dir():
                require_regular(path, follow_link=True)
        loaded = load_from_disk(str(root))
    except Exception as error:  # of the package, of pyarrow and of the operating system
        raise DataError(f"`{root}` cannot be read: {shortened(first_line(error), 120)}.") from None
    return dict(loaded) if isinstance(loaded, DatasetDict) else {"": loaded}
