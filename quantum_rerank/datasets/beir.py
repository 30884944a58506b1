"""Folders in BEIR layout: `corpus.jsonl`, `queries.jsonl`, `qrels/*.tsv`.

Texts may be Parquet files with the same columns, `corpus.parquet` and `queries.parquet`; other
files may be compressed, such as `corpus.jsonl.gz`. A line of judgments has query id, document id
and grade, between tabs or spaces, or the four columns of TREC. BEIR's header is optional.

Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of
Information Retrieval Models", 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from quantum_rerank.datasets import parquet_file
from quantum_rerank.datasets.json_lines import (
    Record,
    id_of,
    parse_record,
    require_keys,
    text_of,
    title_of,
    with_title,
)
from quantum_rerank.datasets.judgments import (
    SPLITS,
    Judgment,
    Judgments,
    read_judgments,
    whole_grade,
)
from quantum_rerank.datasets.raw_lines import COMPRESSED, file_among, uncompressed_name
from quantum_rerank.datasets.source import JudgedFolder
from quantum_rerank.datasets.text_files import add_text, shortened, texts_by_id
from quantum_rerank.errors import DataError

HEADER = ["query-id", "corpus-id", "score"]
COLUMNS = ("_id", "title", "text")
"""Columns of texts in Parquet files."""


class BeirFolder(JudgedFolder):
    """The source `beir:FOLDER`. Files of splits: train.tsv, dev.tsv or valid.tsv, test.tsv."""

    def judgment_files(self, root: Path) -> Sequence[Path]:
        """See `JudgedFolder.judgment_files`."""
        paths = {name: file_among(root, *_file_names(name)) for name in ("corpus", "queries")}
        missing = [f"`{root / name}.jsonl` does not exist" for name in paths if not paths[name]]
        if not (root / "qrels").exists():
            missing.append(f"`{root / 'qrels'}` does not exist")
        if missing:
            raise DataError(f"{'; '.join(missing)}. A BEIR folder has all three.")
        files = sorted(p for end in ("", *COMPRESSED) for p in (root / "qrels").glob(f"*.tsv{end}"))
        if not files:
            raise DataError(
                f"`{root / 'qrels'}` has no judgments: no file *.tsv, such as test.tsv."
            )
        return files

    def read_texts(self, root: Path) -> tuple[dict[str, str], dict[str, str]]:
        """See `JudgedFolder.read_texts`."""
        return _read(root, "corpus", document), _read(root, "queries", _query)

    def read_judgments(self, files: Sequence[Path]) -> Judgments:
        """See `JudgedFolder.read_judgments`."""
        splits = {path: SPLITS.get(uncompressed_name(path).stem) for path in files}
        return read_judgments(splits, _judgment, _is_header)


def _file_names(name: str) -> tuple[str, str]:
    return f"{name}.jsonl", f"{name}.parquet"


def _read(root: Path, name: str, parse: Callable[[Record], tuple[str, str]]) -> dict[str, str]:
    """Return id -> text of `NAME.jsonl`, which may be compressed, or of `NAME.parquet`."""
    path = file_among(root, *_file_names(name)) or root / f"{name}.jsonl"
    if path.suffix != ".parquet":
        return texts_by_id(path, lambda line: parse(parse_record(line, "_id", "text")))
    columns = [column for column in COLUMNS if column in parquet_file.column_names(path)]
    texts: dict[str, str] = {}

    def add(_: str, record: Record) -> None:
        add_text(texts, *parse(require_keys(record, str(record), "_id", "text")))

    parquet_file.each_row(path, columns, add)
    return texts


def document(record: Record) -> tuple[str, str]:
    """Return the id and the text of a document, with the title before the text.

    Raises:
        DataError: A value has the wrong type.
    """
    return id_of(record, "_id"), with_title(title_of(record), text_of(record, "text"))


def _query(record: Record) -> tuple[str, str]:
    return id_of(record, "_id"), text_of(record, "text")


def _is_header(line: str) -> bool:
    """Return whether a first line is the header; DataError if it is not a judgment either."""
    fields = _fields(line)
    if [name.lower() for name in fields] == HEADER:
        return True
    try:
        _judgment(line)
    except DataError:
        raise DataError(
            f"the header is {shortened(fields)}, but must be query-id, corpus-id and score, "
            "separated by tabs; a file without a header begins with a judgment."
        ) from None
    return False


def _judgment(line: str) -> Judgment:
    fields = _fields(line)
    if len(fields) == 4:  # TREC's layout, with the iteration in second place
        return fields[0], fields[2], whole_grade(fields[3])
    if len(fields) != 3:
        raise DataError(
            f"{shortened(fields)} is not query id, document id and grade, nor query id, "
            "iteration, document id and grade."
        )
    return fields[0], fields[1], whole_grade(fields[2])


def _fields(line: str) -> list[str]:
    """Return the columns of a line: between tabs if it has any, or between white space."""
    return line.split("\t") if "\t" in line else line.split()
