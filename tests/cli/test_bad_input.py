"""What is wrong with data ends a command with a message, or is counted in what it prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from quantum_rerank.cli.train import app
from quantum_rerank.config import DataConfig
from quantum_rerank.console import run
from quantum_rerank.datasets.collection import MAX_CHARACTERS
from quantum_rerank.embeddings import embedding_source, memory
from quantum_rerank.training.data_description import describe
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.trial_data import PreparedData

N = 10
CORPUS = [{"_id": f"d{n}", "text": f"The leaf of oak {n}."} for n in range(N)]
QUERIES = [{"_id": f"q{n}", "text": f"oak {n}"} for n in range(N)]
QRELS = [f"q{n}\td{n}\t1" for n in range(N)]
HEADER = "query-id\tcorpus-id\tscore"

Lines = list[str]
Folder = Callable[[Mapping[str, Lines]], Path]


def lines(records: list[dict[str, str]]) -> Lines:
    return [json.dumps(record) for record in records]


def judged(*rows: str) -> dict[str, Lines]:
    return {"qrels/test.tsv": [HEADER, *QRELS, *rows]}


FILES = {"corpus.jsonl": lines(CORPUS), "queries.jsonl": lines(QUERIES), **judged()}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Write a folder of ten documents and queries, some of its files replaced."""

    def write(changes: Mapping[str, Lines]) -> Path:
        (tmp_path / "oaks/qrels").mkdir(parents=True)
        for name, content in {**FILES, **changes}.items():
            path = tmp_path / "oaks" / name
            path.write_bytes("\n".join(content).encode("utf-8", "surrogateescape"))
        return tmp_path / "oaks"

    return write


@pytest.fixture
def errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Lines]:
    """Run the command, which must end with code 2, and return what it says."""

    def train(spec: str, *more: str) -> Lines:
        line = ["train", "--output", str(tmp_path / "run"), "--data", spec, *more]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as ended:
            run(app)
        assert ended.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        said = [line for line in lines if line and not line.startswith("embedding ")]  # progress
        assert all(text.startswith("error: ") for text in said)
        return [text.removeprefix("error: ") for text in said]

    return train


REFUSED: dict[str, tuple[dict[str, Lines], str]] = {
    "two grades of a pair": (
        judged("q3\td3\t2"),
        "test.tsv, line 12: 'q3' and 'd3' are judged 2, but 1 above. Keep one grade of a pair.",
    ),
    "a grade that is no number": (judged("q3\td4\tgood"), "line 12: the grade is 'good'"),
    "a grade that is too large": (judged(f"q3\td4\t{2**40}"), f"the grade is '{2**40}'"),
    "negative judgments alone": (
        {"qrels/test.tsv": [HEADER, "q1\td1\t-1", "q2\td2\t0"]},
        "beir:oaks: no query has a relevant document.",
    ),
    "positives that are not in the corpus": (
        judged("q3\td77\t1", "q4\td77\t1"),
        "2 judgments of an absent document counted as not found (q3 -> d77, q4 -> d77). Add",
    ),
    "queries that are not there": (
        judged("q77\td3\t1", "q78\td3\t0"),
        "2 of 12 judgments (16.7%) name a query or document that is absent or empty, but at most "
        "5.0% may be left out. 2 judgments of an absent query left out (q77 -> d3, q78",
    ),
    "a domain with one query": (
        {"qrels/test.tsv": [HEADER, "q1\td1\t1"]},
        "beir:oaks: 1 judged queries leave none for validation and test",
    ),
    "queries without text": (
        {"queries.jsonl": lines([*QUERIES[2:], *({"_id": f"q{n}", "text": " "} for n in (0, 1))])},
        "2 judgments of a query without text left out (q0 -> d0, q1 -> d1).",
    ),
    "half a surrogate pair": (
        {"corpus.jsonl": lines([*CORPUS[1:], {"_id": "d0", "text": "oak \ud83c"}])},
        "1 text with half a surrogate pair, which is not Unicode: d0.",
    ),
    "documents that are not UTF-8": (
        {"corpus.jsonl": [*FILES["corpus.jsonl"], '{"_id": "d", "text": "caf\udce9"}']},
        "corpus.jsonl, line 11: the byte 0xe9 is not UTF-8 text.",
    ),
    "judgments that are not UTF-8": (judged("q\udcff\td3\t1"), "line 12: the byte 0xff"),
    "a wrong header": (
        {"qrels/test.tsv": ["qid\tdocid\trel", *QRELS]},
        "test.tsv, line 1: the header is ['qid', 'docid', 'rel'], but must be query-id, corpus-id",
    ),
    "titles that are no text": (
        {"corpus.jsonl": lines([*CORPUS, {"_id": "d", "text": "oak", "title": ["A", "B"]}])},
        "corpus.jsonl, line 11: `title` is ['A', 'B'], but must be a string.",
    ),
    "an empty corpus": ({"corpus.jsonl": []}, "beir:oaks: corpus is empty."),
    "an id that is none": (
        {"corpus.jsonl": ['{"_id": null, "text": "oak"}']},
        "corpus.jsonl, line 1: `_id` is None, but must be a string or a whole number.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_data_are_refused_with_the_offending_value(
    case: str, folder: Folder, errors: Callable[..., Lines]
) -> None:
    changes, message = REFUSED[case]
    (said, *_) = errors(f"beir:{folder(changes)}")
    assert message in said


def test_all_mistakes_of_a_file_are_reported_at_once(
    folder: Folder, errors: Callable[..., Lines]
) -> None:
    root = folder(judged("q3", "q3 0 d3 1 x", "q4\td4\t-", "q5\td5\t9"))
    said = errors(f"beir:{root}")
    assert [text.split("line ")[1].split(":")[0] for text in said] == ["12", "13", "14", "15"]


def test_a_table_with_a_wrong_header_is_refused(
    tmp_path: Path, errors: Callable[..., Lines]
) -> None:
    (tmp_path / "clicks.csv").write_text("query,url,clicks\noak,o.html,1\n")
    (said,) = errors(f"csv:{tmp_path / 'clicks.csv'}")
    assert "the header is ['query', 'url', 'clicks'], but must name query, document, label" in said


def test_vectors_that_do_not_fit_into_memory_are_refused_before_they_are_computed(
    folder: Folder,
    errors: Callable[..., Lines],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    pytest.importorskip("wordllama", reason="needs the extra `wordllama`")
    monkeypatch.setenv("QUANTUM_RERANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    (said,) = errors(f"beir:{folder({})}", "--set", "data.encoder=wordllama")
    assert said.startswith("beir:oaks corpus: the vectors of 10 texts, 256 numbers each, need")
    assert "`npy:FOLDER`" in said


def test_vectors_that_are_not_finite_are_refused(
    folder: Folder, errors: Callable[..., Lines], tmp_path: Path
) -> None:
    vectors = np.ones((N, 4))
    np.save(tmp_path / "corpus.npy", vectors)
    vectors[7] = np.nan
    np.save(tmp_path / "queries.npy", vectors)
    (said,) = errors(f"beir:{folder({})}", "--set", f"data.encoder=npy:{tmp_path}")
    assert "queries.npy: row 7 holds NaN or infinity" in said


COUNTED: dict[str, tuple[dict[str, Lines], str]] = {
    "a judgment given twice": (
        judged("q3\td3\t1"),
        "1 judgment given twice, taken once (q3 -> d3)",
    ),
    "a negative judgment": (judged("q3\td4\t-1"), "1 judgment below 0 taken as not relevant"),
    "a query without a positive": (
        {
            **judged("q\td3\t0"),
            "queries.jsonl": lines([*QUERIES, {"_id": "q", "text": "elm"}]),
        },
        "1 query without a relevant document left out",
    ),
    "a query without judgments": (
        {"queries.jsonl": lines([*QUERIES, {"_id": "q", "text": "elm"}])},
        "1 query without judgments left out",
    ),
    "a document without text": (
        {"corpus.jsonl": lines([*CORPUS[1:], {"_id": "d0", "text": " "}])},
        "1 document without text kept",
    ),
    "a huge document": (
        {"corpus.jsonl": lines([*CORPUS[1:], {"_id": "d0", "text": "oak " * 25_001}])},
        f"1 text cut after {MAX_CHARACTERS:,} characters",
    ),
}


@pytest.fixture
def prepared(folder: Folder, tmp_path: Path) -> Callable[..., PreparedData]:
    """Load and split a folder, with vectors of ten documents and ten queries."""
    rng = np.random.default_rng(0)
    for name in ("corpus", "queries"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(N, 4)))

    def load(changes: dict[str, Lines]) -> PreparedData:
        config = DataConfig(
            seen=(f"beir:{folder(changes)}",), unseen_validation=(), unseen_test=(), candidates=N
        )
        return prepare(config, embedding_source(f"npy:{tmp_path}"))

    return load


@pytest.mark.parametrize("case", COUNTED)
def test_skipped_data_are_counted_and_the_run_continues(
    case: str, prepared: Callable[..., PreparedData]
) -> None:
    changes, message = COUNTED[case]
    data = prepared(changes)
    assert f"beir:oaks: {message}" in describe(data)
    assert sum(len(ids) for ids in data.splits["beir:oaks"].values()) == N


def test_a_text_of_100_megabytes_is_cut_like_any_other(
    prepared: Callable[..., PreparedData],
) -> None:
    changes = {"corpus.jsonl": lines([*CORPUS[1:], {"_id": "d0", "text": "oak " * 25_000_000}])}
    assert "beir:oaks: 1 text cut after 100,000 characters" in describe(prepared(changes))


def test_valid_data_give_no_message(prepared: Callable[..., PreparedData]) -> None:
    assert len(describe(prepared({}))) == 1
