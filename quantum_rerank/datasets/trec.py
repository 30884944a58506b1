"""A TREC collection: a folder of

corpus.tsv or corpus.jsonl    id TAB text, as MS MARCO has it; or objects with the keys `id` and
                              `contents` (Pyserini), or `_id`, `text` and maybe `title` (BEIR)
queries.tsv or topics.txt     id TAB text; or topics with tags, see `topics`, also as topics.xml
qrels.txt                     query id, iteration, document id, grade, between white space;
                              or qrels.train.txt, qrels.dev.txt and qrels.test.txt

Each may be compressed, such as corpus.tsv.gz. Lines of qrels that begin with `#` are comments.
Queries of two split files or more keep their splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantum_rerank.datasets import beir
from quantum_rerank.datasets.collection import Collection, checked, text_counts
from quantum_rerank.datasets.judgments import SPLITS, Judgment, read_judgments, whole_grade
from quantum_rerank.datasets.raw_lines import COMPRESSED, file_among, uncompressed_name
from quantum_rerank.datasets.text_files import (
    id_of,
    json_record,
    shortened,
    text_of,
    texts_by_id,
    with_keys,
)
from quantum_rerank.datasets.topics import read_topics
from quantum_rerank.errors import DataError


def load(folder: str) -> Collection:
    """Load a folder; the name of the folder becomes the domain."""
    root = Path(folder)
    found = (path for end in ("", *COMPRESSED) for path in root.glob(f"qrels*.txt{end}"))
    files = sorted(path for path in found if path.is_file())
    corpus, topics = _texts(root, [] if files else ["qrels.txt or qrels.SPLIT.txt"])
    judgments = read_judgments({path: _split(path) for path in files}, judgment)
    judged, counts = judgments.of_known(topics)
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


def texts(folder: str) -> tuple[dict[str, str], dict[str, str], dict[str, int]]:
    """The corpus and all queries of a folder, judged or not, and what is to be said of them.

    It needs no judgments.
    """
    corpus, topics = _texts(Path(folder))
    return corpus, topics, text_counts(corpus, topics)


def _texts(root: Path, lacking: Sequence[str] = ()) -> tuple[dict[str, str], dict[str, str]]:
    """Corpus and queries by id.

    lacking: what else the folder lacks, to be told with what it lacks of these.
    """
    corpus = file_among(root, "corpus.tsv", "corpus.jsonl")
    queries = file_among(root, "queries.tsv", "topics.txt", "topics.xml")
    if lacking or corpus is None or queries is None:
        known = {"corpus.tsv or corpus.jsonl": corpus, "queries.tsv or topics.txt": queries}
        missing = [what for what, path in known.items() if path is None] + list(lacking)
        told = "; ".join(f"`{root}` has no {what}" for what in missing)
        raise DataError(f"{told}. A TREC folder holds a corpus, queries and qrels.")
    topics = texts_by_id(queries, _tab_separated) if _is_tsv(queries) else read_topics(queries)
    return texts_by_id(corpus, _tab_separated if _is_tsv(corpus) else _document), topics


def _is_tsv(path: Path) -> bool:
    return uncompressed_name(path).suffix == ".tsv"


def domain(folder: str) -> str:
    """The domain of a folder, which need not be there: its name, however its path is spelt."""
    return f"trec:{Path(folder).resolve().name}"


def _split(path: Path) -> str | None:
    return SPLITS.get(uncompressed_name(path).stem.removeprefix("qrels").strip(".-_"))


def _tab_separated(line: str) -> tuple[str, str]:
    key, tab, text = line.partition("\t")
    if not tab:
        raise DataError(f"{shortened(line)} is not an id and a text, separated by a tab.")
    return key, text


def _document(line: str) -> tuple[str, str]:
    record = json_record(line)
    if "contents" in record or "_id" not in record:
        with_keys(record, line, "id", "contents")
        return id_of(record, "id"), text_of(record, "contents")
    return beir.document(with_keys(record, line, "_id", "text"))


def judgment(line: str) -> Judgment:
    """A line of qrels."""
    fields = line.split()
    if len(fields) != 4:
        raise DataError(
            f"{shortened(line)} has {len(fields)} columns, but must have four: "
            "query id, iteration, document id and grade."
        )
    return fields[0], fields[2], whole_grade(fields[3])
