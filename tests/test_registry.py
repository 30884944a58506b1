from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from quantum_rerank.errors import ConfigError
from quantum_rerank.registry import Registry, name_of


@pytest.fixture
def shapes() -> Registry[type]:
    return Registry("shape", "shapes", {"point": "fractions:Fraction"})


def test_a_part_is_imported_at_its_first_use(
    shapes: Registry[type], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_shapes.py").write_text("class Line: ...\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    lines = Registry[type]("shape", "shapes", {"line": "toy_shapes:Line"})
    assert list(lines) == ["line"]
    assert "toy_shapes" not in sys.modules
    assert lines["line"].__name__ == "Line"


def test_a_part_of_an_installed_package_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_corners.py").write_text("class Corner: ...\n", encoding="utf-8")
    folder = tmp_path / "toy_corners-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-corners\nVersion: 1.0\n")
    entries = "[quantum_rerank.shapes]\ncorner = toy_corners:Corner\npoint = toy_corners:Corner\n"
    (folder / "entry_points.txt").write_text(entries)
    monkeypatch.syspath_prepend(tmp_path)
    shapes = Registry[type]("shape", "shapes", {"point": "fractions:Fraction"})
    assert shapes["corner"].__name__ == "Corner"
    assert shapes["point"].__name__ == "Fraction"  # a name of this package stays


def test_a_name_that_no_part_has_is_refused(shapes: Registry[type]) -> None:
    with pytest.raises(ConfigError, match=r"`circle` is not a shape\. Choose from point\."):
        shapes.check("circle")


def test_a_field_takes_names_that_are_registered_later(shapes: Registry[type]) -> None:
    class Section(BaseModel):
        shape: Annotated[str, name_of(shapes)] = "point"

    with pytest.raises(ValidationError, match="must be one of 'point'"):
        Section(shape="line")
    shapes.register("line", complex)
    assert Section(shape="line").shape == "line"
    shapes.unregister("line")
    with pytest.raises(ValidationError):
        Section(shape="line")


def test_a_field_may_allow_further_words_than_the_names(shapes: Registry[type]) -> None:
    class Section(BaseModel):
        shape: Annotated[str, name_of(shapes, "auto")] = "auto"

    assert Section().shape == "auto"
    assert Section(shape="auto").shape == "auto"
    with pytest.raises(ValidationError, match="must be one of 'point', 'auto'"):
        Section(shape="automatic")


def test_a_part_can_be_set_and_removed_as_in_a_dict(shapes: Registry[type]) -> None:
    shapes["line"] = complex
    assert dict(shapes)["line"] is complex
    del shapes["line"]
    assert "line" not in shapes
