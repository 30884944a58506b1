from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from quantum_rerank.errors import DataError
from quantum_rerank.evaluation.trec_runs import falling, read_run, run_lines


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def trec_eval_order(scores: dict[str, float]) -> list[str]:
    """The order that trec_eval itself has: each document's rank, as 1 over its reciprocal."""
    ranks = {
        document: pytrec_eval.RelevanceEvaluator({"q": {document: 1}}, {"recip_rank"}).evaluate(
            {"q": scores}
        )["q"]["recip_rank"]
        for document in scores
    }
    return sorted(ranks, key=ranks.__getitem__, reverse=True)


@pytest.mark.parametrize("seed", range(5))
def test_a_run_is_read_in_the_order_of_trec_eval(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Few distinct values, some of which only a double tells apart.
    values = rng.choice([0.5, 0.5 + 1e-9, 0.25, 7.0, -1.0], size=12)
    scores = {f"d{n}": float(value) for n, value in enumerate(values)}
    lines = [f"q Q0 {document} 1 {score!r} tag" for document, score in scores.items()]
    assert read_run(write(tmp_path / "run", *lines)) == {"q": trec_eval_order(scores)}


def test_queries_keep_their_order_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    run = write(tmp_path / "run", "2 Q0 b 1 0.1 t", "", "1 Q0 a 1 0.3 t", "2\tQ0\tc\t2\t0.2\tt")
    assert list(read_run(run).items()) == [("2", ["c", "b"]), ("1", ["a"])]


@pytest.mark.parametrize("seed", range(5))
def test_written_scores_have_no_ties_in_trec_eval(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice([1.0, 0.9, 0.9 - 1e-8, 0.0, -0.2, -1.0], size=200))[::-1]
    ranked = {"q": [(f"d{n}", s) for n, s in enumerate(falling(drawn.tolist()))]}
    run = write(tmp_path / "run", "".join(run_lines(ranked, "tag")))
    assert read_run(run) == {"q": [document for document, _ in ranked["q"]]}
    written = np.array([line.split()[4] for line in run.read_text().splitlines()], np.float32)
    assert (np.diff(written) < 0).all()


def test_falling_scores_are_unchanged_up_to_seven_digits() -> None:
    scores = [0.98765432, 0.5, 0.1234567, -0.3]
    assert falling(scores) == pytest.approx(scores, abs=1e-7)
    assert falling([]) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q Q0 d 1 0.5", "line 2: 5 columns"),
        ("q Q0 d 1 high tag", "line 2: the score is 'high'"),
        ("q Q0 d 1 nan tag", "line 2: the score is 'nan'"),
        ("q Q0 a 2 0.4 tag", "line 2: a is ranked for query q already"),
    ],
)
def test_an_error_names_the_line_with_a_wrong_format(
    tmp_path: Path, line: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_run(write(tmp_path / "run", "q Q0 a 1 0.5 tag", line))


def test_a_run_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"\xef\xbb\xbfq Q0 a 1 0.5 tag\r\n")
    assert read_run(tmp_path / "run") == {"q": ["a"]}


def test_a_compressed_run_is_read(tmp_path: Path) -> None:
    (tmp_path / "run.gz").write_bytes(gzip.compress(b"q Q0 a 1 0.5 tag\n"))
    assert read_run(tmp_path / "run.gz") == {"q": ["a"]}


def test_errors_of_all_lines_are_raised_together(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_run(write(tmp_path / "run", "q Q0 d 1", "q Q0 d 1 0.5 tag", "q Q0 e 2 high tag"))
    assert [problem.split(", ")[1][:6] for problem in caught.value.problems] == ["line 1", "line 3"]


def test_empty_and_missing_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        read_run(write(tmp_path / "run"))
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "binary").write_bytes(b"q Q0 a 1 0.5 tag\nq Q0 \xff 2 0.4 tag")
    with pytest.raises(DataError, match="line 2: the byte 0xff is not UTF-8 text"):
        read_run(tmp_path / "binary")
