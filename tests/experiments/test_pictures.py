from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from experiments.analysis import all_pairs, measured
from experiments.pictures import draw, require_matplotlib
from experiments.results import Result
from quantum_rerank.errors import MissingPackage
from tests.experiments.conftest import SCORES, Made


def results(made: Made) -> list[Result]:
    return [
        made(name, dataset="icd10", scores=dict.fromkeys(("icd10_seen", "icd10_unseen"), scores))
        for name, scores in SCORES.items()
    ]


def drawn(folder: Path, made: Made) -> dict[str, Path]:
    found = measured(results(made))
    return draw(folder, results(made), found, all_pairs(found))


def test_the_same_figures_are_the_same_files(tmp_path: Path, made: Made) -> None:
    first, second = drawn(tmp_path / "one", made), drawn(tmp_path / "two", made)
    assert len(first) == 4
    for title, file in first.items():
        assert file.read_bytes() == second[title].read_bytes()


def test_a_picture_names_its_collections_in_readable_text(tmp_path: Path, made: Made) -> None:
    for file in drawn(tmp_path, made).values():
        root = ElementTree.parse(file).getroot()
        words = " ".join(" ".join(text.itertext()) for text in root.iter() if "text" in text.tag)
        assert "icd10" in words or "chapters" in words


def test_what_has_no_figures_has_no_picture(tmp_path: Path, made: Made) -> None:
    found = measured([made("cosine")])
    assert draw(tmp_path, [made("cosine")], found, all_pairs(found)) == {}
    assert not list(tmp_path.iterdir())


def test_a_missing_matplotlib_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    require_matplotlib()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackage, match="pip install matplotlib"):
        require_matplotlib()
