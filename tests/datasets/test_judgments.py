from __future__ import annotations

from pathlib import Path

import pytest

from quantum_rerank.datasets.judgments import Judgments, read_judgments, whole_grade
from quantum_rerank.datasets.trec import judgment
from quantum_rerank.errors import DataError


def test_a_repeated_judgment_is_used_once_and_counted() -> None:
    judgments = Judgments()
    for _ in range(3):
        judgments.add("q", "d", 2)
    assert judgments.qrels == {"q": {"d": 2}}
    assert judgments.counts == {"judgments given twice, taken once": 2}


def test_two_grades_of_a_pair_are_refused_with_both_grades() -> None:
    judgments = Judgments()
    judgments.add("q", "d", 2)
    with pytest.raises(DataError, match="'q' and 'd' are judged 1, but 2 above"):
        judgments.add("q", "d", 1)


def test_contradictions_between_two_files_are_found(tmp_path: Path) -> None:
    files: dict[Path, str | None] = {tmp_path / "a": None, tmp_path / "b": None}
    (tmp_path / "a").write_text("q 0 d 1\n")
    (tmp_path / "b").write_text("q 0 d 1\nq 0 d 0\n")
    with pytest.raises(DataError, match=r"b, line 2: 'q' and 'd' are judged 0, but 1 above"):
        read_judgments(files, judgment)


def test_queries_without_judgments_are_left_out_and_counted() -> None:
    judgments = Judgments()
    judgments.add("q", "d", 1)
    judged, counts = judgments.judged({"q": "oak?", "r": "elm?", "s": "ash?"})
    assert judged == {"q": "oak?"}
    assert counts == {"queries without judgments left out": 2}


def test_queries_judged_outside_of_the_official_splits_have_their_own_count(
    tmp_path: Path,
) -> None:
    splits = {"train": "q 0 d 1\n", "test": "r 0 d 1\n", "extra": "s 0 d 1\n"}
    for name, content in splits.items():
        (tmp_path / name).write_text(content)
    files = {tmp_path / name: name if name != "extra" else None for name in splits}
    judged, counts = read_judgments(files, judgment).judged(dict.fromkeys("qrst", "oak?"))
    assert list(judged) == ["q", "r"]
    assert counts == {
        "queries without judgments left out": 1,
        "queries judged outside of the official splits left out": 1,
    }


def test_a_single_official_split_beside_a_file_of_another_name_is_refused(tmp_path: Path) -> None:
    files: dict[Path, str | None] = {tmp_path / "train": "train", tmp_path / "dev.small": None}
    with pytest.raises(DataError, match=r"but the split of dev\.small is unknown"):
        read_judgments(files, judgment)


@pytest.mark.parametrize(
    ("text", "grade"), [("0", 0), ("-1", -1), ("+2", 2), ("3.0", 3), ("1e2", 100)]
)
def test_whole_numbers_in_any_notation_are_grades(text: str, grade: int) -> None:
    assert whole_grade(text) == grade


@pytest.mark.parametrize(
    "text", ["", "good", "0.5", "nan", "inf", "²", "2147483648", "1e300", "1_0", "1_0.0"]
)
def test_a_grade_must_be_a_whole_number_of_32_bits(text: str) -> None:
    with pytest.raises(DataError, match="the grade is"):
        whole_grade(text)
