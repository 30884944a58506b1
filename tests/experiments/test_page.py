from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from experiments.page import PAGE, PICTURES, write_page
from experiments.pictures import draw, require_matplotlib
from experiments.report import document
from experiments.results import Result
from experiments.summarising import summarise
from experiments.summary import Summary, read_summary
from quantum_rerank.errors import MissingPackage, OutputError
from tests.experiments.conftest import SCORES, Made, experiments

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def summary(made: Made) -> Summary:
    return summarise(experiments(icd10_results(made)))


def icd10_results(made: Made) -> list[Result]:
    return [
        made(name, dataset="icd10", scores=dict.fromkeys(("icd10_seen", "icd10_unseen"), scores))
        for name, scores in SCORES.items()
    ]


def test_equal_summaries_give_equal_pictures(tmp_path: Path, summary: Summary) -> None:
    first, second = draw(tmp_path / "first", summary), draw(tmp_path / "second", summary)
    assert len(first) == 4
    for title, file in first.items():
        assert file.read_bytes() == second[title].read_bytes()


def test_a_picture_names_its_collections_in_readable_text(tmp_path: Path, summary: Summary) -> None:
    for file in draw(tmp_path, summary).values():
        root = ElementTree.parse(file).getroot()
        words = " ".join(" ".join(text.itertext()) for text in root.iter() if "text" in text.tag)
        assert "icd10" in words or "chapters" in words


def test_a_picture_without_numbers_is_not_drawn(tmp_path: Path, made: Made) -> None:
    assert draw(tmp_path, summarise(experiments([made("cosine")]))) == {}
    assert not list(tmp_path.iterdir())


def test_a_missing_matplotlib_is_reported_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_matplotlib()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackage, match="pip install matplotlib"):
        require_matplotlib()


def test_a_page_that_cannot_be_written_is_refused(tmp_path: Path, summary: Summary) -> None:
    (tmp_path / PICTURES).touch()
    with pytest.raises(OutputError, match=f"{PICTURES}` cannot be written"):
        write_page(tmp_path, summary)


def test_the_recorded_page_is_that_of_the_recorded_summary() -> None:
    page = (DOCS / PAGE).read_text(encoding="utf-8")
    pictures = dict(re.findall(r"^!\[(.*)\]\((.*)\)$", page, re.MULTILINE))
    assert len(pictures) == 4
    assert all((DOCS / file).is_file() for file in pictures.values())
    assert document(read_summary(DOCS / "experiments.json"), pictures) == page
