"""A TREC collection: a folder of

corpus.tsv or corpus.jsonl    id TAB text, as in MS MARCO; or objects with the keys `id` and
                              `contents` (Pyserini), or `_id`, `text` and maybe `title` (BEIR)
queries.tsv or topics.txt     id TAB text; or topics with tags, see `topics`, also as topics.xml
qrels.txt                     query id, iteration, document id, grade, between white space;
                              or qrels.train.txt, qrels.dev.txt and qrels.test.txt

Each may be compressed, such as corpus.tsv.gz. Lines of qrels that begin with `#` are comments.
Two or more split files are the official splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantum_rerank.datasets import beir
from quantum_rerank.datasets.json_lines import id_of, parse_record, require_keys, text_of
from quantum_rerank.datasets.judgments import (
    SPLITS,
    Judgment,
    Judgments,
    read_judgments,
    whole_grade,
)
from quantum_rerank.datasets.raw_lines import COMPRESSED, file_among, uncompressed_name
from quantum_rerank.datasets.source import JudgedFolder
from quantum_rerank.datasets.text_files import shortened, texts_by_id
from quantum_rerank.datasets.topics import read_topics
from quantum_rerank.errors import DataError


class TrecFolder(JudgedFolder):
    """The source `trec:FOLDER`. Files of splits: qrels.train.txt, qrels.dev.txt, qrels.test.txt."""

    def judgment_files(self, root: Path) -> Sequence[Path]:
        """See `JudgedFolder.judgment_files`."""
        paths = (path for end in ("", *COMPRESSED) for path in root.glob(f"qrels*.txt{end}"))
        files = sorted(path for path in paths if path.is_file())
        if not files:
            _text_files(root, ["qrels.txt or qrels.SPLIT.txt"])
        return files

    def read_texts(self, root: Path) -> tuple[dict[str, str], dict[str, str]]:
        """See `JudgedFolder.read_texts`."""
        corpus, queries = _text_files(root)
        topics = texts_by_id(queries, _tab_separated) if _is_tsv(queries) else read_topics(queries)
        return texts_by_id(corpus, _tab_separated if _is_tsv(corpus) else _document), topics

    def read_judgments(self, files: Sequence[Path]) -> Judgments:
        """See `JudgedFolder.read_judgments`."""
        return read_judgments({path: _split(path) for path in files}, judgment)


def _text_files(root: Path, missing: Sequence[str] = ()) -> tuple[Path, Path]:
    """Return the files of corpus and queries.

    Args:
        root: Folder.
        missing: Other files that the folder lacks, named in the same error.

    Raises:
        DataError: The folder lacks a file.
    """
    corpus = file_among(root, "corpus.tsv", "corpus.jsonl")
    queries = file_among(root, "queries.tsv", "topics.txt", "topics.xml")
    if missing or corpus is None or queries is None:
        files = {"corpus.tsv or corpus.jsonl": corpus, "queries.tsv or topics.txt": queries}
        names = [name for name, path in files.items() if path is None] + list(missing)
        problems = "; ".join(f"`{root}` has no {name}" for name in names)
        raise DataError(f"{problems}. A TREC folder has a corpus, queries and qrels.")
    return corpus, queries


def _is_tsv(path: Path) -> bool:
    return uncompressed_name(path).suffix == ".tsv"


def _split(path: Path) -> str | None:
    return SPLITS.get(uncompressed_name(path).stem.removeprefix("qrels").strip(".-_"))


def _tab_separated(line: str) -> tuple[str, str]:
    key, tab, text = line.partition("\t")
    if not tab:
        raise DataError(f"{shortened(line)} is not an id and a text, separated by a tab.")
    return key, text


def _document(line: str) -> tuple[str, str]:
    record = parse_record(line)
    if "contents" in record or "_id" not in record:
        require_keys(record, line, "id", "contents")
        return id_of(record, "id"), text_of(record, "contents")
    return beir.document(require_keys(record, line, "_id", "text"))


def judgment(line: str) -> Judgment:
    """Parse a line of qrels.

    Raises:
        DataError: The line does not have four columns, or the grade is not a whole number.
    """
    fields = line.split()
    if len(fields) != 4:
        raise DataError(
            f"{shortened(line)} has {len(fields)} columns, but must have four: "
            "query id, iteration, document id and grade."
        )
    return fields[0], fields[2], whole_grade(fields[3])
