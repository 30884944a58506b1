"""A TREC collection: a folder of

corpus.tsv or corpus.jsonl    id TAB text, as MS MARCO has it; or objects with the keys `id` and
                              `contents` (Pyserini), or `_id`, `text` and maybe `title` (BEIR)
queries.tsv or topics.txt     id TAB text; or `<top>` blocks, whose `<num>` and `<title>` are read
qrels.txt                     query id, iteration, document id, grade, between white space;
                              or qrels.train.txt, qrels.dev.txt and qrels.test.txt

Queries of two split files or more keep their splits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from quantum_rerank.datasets import beir
from quantum_rerank.datasets.collection import Collection, checked, text_counts
from quantum_rerank.datasets.judgments import SPLITS, Judgment, read_judgments, whole_grade
from quantum_rerank.datasets.text_files import (
    each_line,
    id_of,
    json_record,
    shortened,
    text_of,
    texts_by_id,
    with_keys,
)
from quantum_rerank.errors import DataError

TOPIC = re.compile(r"<top>(.*?)</top>", re.DOTALL | re.IGNORECASE)
NUMBER = re.compile(r"<num>\s*(?:Number:)?\s*([^\s<]+)", re.IGNORECASE)
_TAG = r"</?[a-z][\w-]*(?:\s[^<>]*)?>"
TITLE = re.compile(rf"<title>\s*(?:Topic:)?\s*(.*?)\s*(?={_TAG}|\Z)", re.DOTALL | re.IGNORECASE)


def load(folder: str) -> Collection:
    """Load a folder; the name of the folder becomes the domain."""
    root = Path(folder)
    files = sorted(path for path in root.glob("qrels*.txt") if path.is_file())
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
    corpus = _one_of(root, "corpus.tsv", "corpus.jsonl")
    queries = _one_of(root, "queries.tsv", "topics.txt")
    if lacking or corpus is None or queries is None:
        known = {"corpus.tsv or corpus.jsonl": corpus, "queries.tsv or topics.txt": queries}
        missing = [what for what, path in known.items() if path is None] + list(lacking)
        told = "; ".join(f"`{root}` has no {what}" for what in missing)
        raise DataError(f"{told}. A TREC folder holds a corpus, queries and qrels.")
    topics = texts_by_id(queries, _tab_separated) if queries.suffix == ".tsv" else _topics(queries)
    return texts_by_id(corpus, _tab_separated if corpus.suffix == ".tsv" else _document), topics


def domain(folder: str) -> str:
    """The domain of a folder, which need not be there: its name, however its path is spelt."""
    return f"trec:{Path(folder).resolve().name}"


def _one_of(root: Path, *names: str) -> Path | None:
    """The one that exists; two would leave open which is meant."""
    found = [root / name for name in names if (root / name).is_file()]
    if len(found) > 1:
        raise DataError(f"`{root}` has {' and '.join(names)}, but must have one of them.")
    return found[0] if found else None


def _split(path: Path) -> str | None:
    return SPLITS.get(path.stem.removeprefix("qrels").strip(".-_"))


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


def _topics(path: Path) -> dict[str, str]:
    lines: list[str] = []
    each_line(path, lines.append)
    text = "\n".join(lines)
    begun, ended = (text.lower().count(tag) for tag in ("<top>", "</top>"))
    if begun != ended:
        raise DataError(f"{path}: {begun} topics begin with <top>, but {ended} end with </top>.")
    topics: dict[str, str] = {}
    problems: list[str] = []
    for block in TOPIC.findall(text):
        number, title = NUMBER.search(block), TITLE.search(block)
        if number is None or title is None:
            problems.append(
                f"{path}: the topic {shortened(block.strip())} has no <num> or <title>."
            )
        elif number[1] in topics:
            problems.append(f"{path}: the topic {number[1]} stands twice.")
        else:
            topics[number[1]] = " ".join(title[1].split())
    if problems:
        raise DataError(problems)
    return topics
