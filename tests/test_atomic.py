from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_rerank.atomic import (
    replace_folder,
    require_free,
    staged_folder,
    write_json,
    write_text,
    write_whole,
)
from quantum_rerank.errors import OutputError


def made(folder: Path, content: str) -> Path:
    folder.mkdir()
    (folder / "file").write_text(content)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_all_has_been_written(tmp_path: Path) -> None:
    folder = tmp_path / "below" / "best"
    with staged_folder(folder) as staging:
        (staging / "file").write_text("new")
        assert not folder.exists()
    assert (folder / "file").read_text() == "new"
    assert names(folder.parent) == ["best"]


def test_a_folder_whose_writing_failed_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(KeyError), staged_folder(tmp_path / "best") as staging:
        (staging / "file").write_text("half")
        raise KeyError
    assert names(tmp_path) == []


def test_a_folder_is_free_where_nothing_stands_or_an_empty_one(tmp_path: Path) -> None:
    require_free(tmp_path / "new")
    require_free(tmp_path)
    made(tmp_path / "old", "old")
    with pytest.raises(OutputError, match="exists already"):
        require_free(tmp_path / "old")


@pytest.mark.parametrize("stands", [False, True])
def test_a_finished_folder_takes_the_place_of_another(tmp_path: Path, stands: bool) -> None:
    if stands:
        made(tmp_path / "best", "old")
    replace_folder(made(tmp_path / ".best", "new"), tmp_path / "best")
    assert names(tmp_path) == ["best"]
    assert (tmp_path / "best" / "file").read_text() == "new"


@pytest.mark.parametrize("stands", [False, True])
def test_a_folder_that_was_left_over_between_the_two_moves_is_no_obstacle(
    tmp_path: Path, stands: bool
) -> None:
    made(tmp_path / "best.before", "older")
    if stands:
        made(tmp_path / "best", "old")
    replace_folder(made(tmp_path / ".best", "new"), tmp_path / "best")
    assert names(tmp_path) == ["best"]
    assert (tmp_path / "best" / "file").read_text() == "new"


def test_a_file_takes_the_place_of_another_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "below" / "file"
    for text in ("old\n", "né\n"):
        write_text(path, text)
        assert path.read_bytes() == text.encode()
        assert names(path.parent) == ["file"]


@pytest.mark.parametrize(("write", "error"), [(write_text, OutputError), (write_whole, OSError)])
def test_a_file_that_cannot_be_written_leaves_the_one_before_it(
    tmp_path: Path, write: Callable[[Path, str], None], error: type[Exception]
) -> None:
    path = tmp_path / "file"
    write(path, "old")
    (tmp_path / ".file").mkdir()  # stands where the new one would be written
    with pytest.raises(error):
        write(path, "new")
    assert path.read_text() == "old"


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = {"mean": 0.1 + 0.2, "of": ["a", None]}
    write_json(tmp_path / "figures.json", record)
    assert json.loads((tmp_path / "figures.json").read_text()) == record
