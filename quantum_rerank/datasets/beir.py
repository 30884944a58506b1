"""Any folder in BEIR layout: `corpus.jsonl`, `queries.jsonl`, `qrels/*.tsv`.

Texts may be Parquet files with the same columns, `corpus.parquet` and `queries.parquet`; other
files may be compressed, such as `corpus.jsonl.gz`. Judgments are query id, document id and
grade, between tabs or spaces, below BEIR's header or without one, or the four columns of TREC.

Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of
Information Retrieval Models", 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantum_rerank.datasets import parquet_table
from quantum_rerank.datasets.collection import Collection, checked, text_counts
from quantum_rerank.datasets.judgments import SPLITS, Judgment, read_judgments, whole_grade
from quantum_rerank.datasets.raw_lines import COMPRESSED, file_among, uncompressed_name
from quantum_rerank.datasets.text_files import (
    Problems,
    add_text,
    id_of,
    json_record,
    shortened,
    text_of,
    texts_by_id,
    title_of,
    with_keys,
    with_title,
)
from quantum_rerank.errors import DataError

HEADER = ["query-id", "corpus-id", "score"]
COLUMNS = ("_id", "title", "text")  # of texts in Parquet files


def load(folder: str) -> Collection:
    """Load a folder; the name of the folder becomes the domain.

    With two or more of `train.tsv`, `dev.tsv` (or `valid.tsv`) and `test.tsv` they are
    the official splits, and queries judged elsewhere are left out; otherwise all
    judged queries are pooled and split by seed.
    """
    root = Path(folder)
    found = {name: file_among(root, *_names(name)) for name in ("corpus", "queries")}
    missing = [f"`{root / name}.jsonl` does not exist" for name, path in found.items() if not path]
    if not (root / "qrels").exists():
        missing.append(f"`{root / 'qrels'}` does not exist")
    if missing:
        raise DataError(f"{'; '.join(missing)}. A BEIR folder holds all three.")
    files = sorted(p for end in ("", *COMPRESSED) for p in (root / "qrels").glob(f"*.tsv{end}"))
    if not files:
        raise DataError(f"`{root / 'qrels'}` has no judgments: no file *.tsv, such as test.tsv.")
    corpus, queries = _texts(root)
    splits = {path: SPLITS.get(uncompressed_name(path).stem) for path in files}
    judgments = read_judgments(splits, _judgment, _is_header)
    judged, counts = judgments.of_known(queries)
    return checked(
        Collection(
            domain=domain(folder),
            corpus=corpus,
            queries=judged,
            qrels=judgments.qrels,
            official=judgments.official,
            skipped=counts,
        )
    )


def domain(folder: str) -> str:
    """The domain of a folder, which need not be there: its name, however its path is spelt."""
    return f"beir:{Path(folder).resolve().name}"


def texts(folder: str) -> tuple[dict[str, str], dict[str, str], dict[str, int]]:
    """The corpus and all queries of a folder, judged or not, and what is to be said of them.

    It needs no judgments.
    """
    corpus, queries = _texts(Path(folder))
    return corpus, queries, text_counts(corpus, queries)


def _texts(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Corpus and queries by id."""
    return _read(root, "corpus", document), _read(root, "queries", _query)


def _names(name: str) -> tuple[str, str]:
    return f"{name}.jsonl", f"{name}.parquet"


def _read(
    root: Path, name: str, parse: Callable[[dict[str, Any]], tuple[str, str]]
) -> dict[str, str]:
    """Id -> text of `NAME.jsonl`, which may be compressed, or of `NAME.parquet`."""
    path = file_among(root, *_names(name)) or root / f"{name}.jsonl"
    if path.suffix != ".parquet":
        return texts_by_id(path, lambda line: parse(json_record(line, "_id", "text")))
    columns = [column for column in COLUMNS if column in parquet_table.column_names(path)]
    problems, texts_read = Problems(path), dict[str, str]()
    for place, record in parquet_table.records(path, columns):
        with problems.at(f"{path}, {place}"):
            add_text(texts_read, *parse(with_keys(record, str(record), "_id", "text")))
    problems.raise_all("rows")
    return texts_read


def document(record: dict[str, Any]) -> tuple[str, str]:
    """Id and text of an object of `corpus.jsonl`, the title before the text."""
    return id_of(record, "_id"), with_title(title_of(record), text_of(record, "text"))


def _query(record: dict[str, Any]) -> tuple[str, str]:
    return id_of(record, "_id"), text_of(record, "text")


def _is_header(line: str) -> bool:
    """Return whether the first line of a file is the header, and not a judgment.

    Raises: DataError where it is neither.
    """
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
    if len(fields) == 4:  # as TREC has them, the second is the iteration
        return fields[0], fields[2], whole_grade(fields[3])
    if len(fields) != 3:
        raise DataError(
            f"{shortened(fields)} is not query id, document id and grade, nor query id, "
            "iteration, document id and grade."
        )
    return fields[0], fields[1], whole_grade(fields[2])


def _fields(line: str) -> list[str]:
    """The columns of a line: between tabs, where it has any, or between white space."""
    return line.split("\t") if "\t" in line else line.split()
