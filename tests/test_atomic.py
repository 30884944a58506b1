from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantum_rerank.atomic import (
    PARTIAL,
    PREVIOUS,
    LocalFiles,
    output_errors,
    read_versions,
    replace_folder,
    require_free,
    staged_folder,
    write_json,
    write_text,
    write_version,
)
from quantum_rerank.errors import OutputError
from tests.conftest import FullDisk


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


def test_a_folder_whose_writing_fails_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(KeyError), staged_folder(tmp_path / "best") as staging:
        (staging / "file").write_text("half")
        raise KeyError
    assert names(tmp_path) == []


def test_a_folder_is_free_where_it_is_missing_or_empty(tmp_path: Path) -> None:
    require_free(tmp_path / "new")
    require_free(tmp_path)
    made(tmp_path / "old", "old")
    with pytest.raises(OutputError, match="exists already"):
        require_free(tmp_path / "old")


@pytest.mark.parametrize("stands", [False, True])
def test_a_complete_folder_replaces_another(tmp_path: Path, stands: bool) -> None:
    if stands:
        made(tmp_path / "best", "old")
    replace_folder(made(tmp_path / ".best", "new"), tmp_path / "best")
    assert names(tmp_path) == ["best"]
    assert (tmp_path / "best" / "file").read_text() == "new"


@pytest.mark.parametrize("stands", [False, True])
def test_a_folder_left_between_two_renames_is_removed(tmp_path: Path, stands: bool) -> None:
    made(tmp_path / f"best{PREVIOUS}", "older")
    if stands:
        made(tmp_path / "best", "old")
    replace_folder(made(tmp_path / ".best", "new"), tmp_path / "best")
    assert names(tmp_path) == ["best"]
    assert (tmp_path / "best" / "file").read_text() == "new"


def test_a_file_replaces_another_and_its_folder_is_created(tmp_path: Path) -> None:
    path = tmp_path / "below" / "file"
    for text in ("old\n", "né\n"):
        write_text(path, text)
        assert path.read_bytes() == text.encode()
        assert names(path.parent) == ["file"]


def test_a_file_that_cannot_be_written_leaves_the_previous_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    (tmp_path / ".file").mkdir()  # at the path of the temporary file
    with pytest.raises(IsADirectoryError):
        write_text(path, "new")
    assert path.read_text() == "old"


def test_parts_of_a_text_are_joined(tmp_path: Path) -> None:
    write_text(tmp_path / "file", (f"{number}\n" for number in range(3)))
    assert (tmp_path / "file").read_text() == "0\n1\n2\n"


def test_an_output_error_names_the_path_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "file" / "below"
    (tmp_path / "file").touch()
    refused = pytest.raises(OutputError, match=r"`.*below` cannot be written: File exists")
    with refused, output_errors(path):
        write_text(path, "new")


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = {"mean": 0.1 + 0.2, "of": ["a", None]}
    write_json(tmp_path / "figures.json", record)
    assert json.loads((tmp_path / "figures.json").read_text()) == record


def versions(path: Path) -> list[bytes]:
    return [content for _, content in read_versions(LocalFiles(), str(path))]


def test_the_previous_version_of_a_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "below" / "file"
    assert versions(path) == []
    for content in (b"1", b"2", b"3"):
        write_version(LocalFiles(), str(path), content)
    assert versions(path) == [b"3", b"2"]
    assert names(path.parent) == ["file", f"file{PREVIOUS}"]


def test_versions_are_named_by_their_paths(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    write_version(LocalFiles(), path, b"1")
    write_version(LocalFiles(), path, b"2")
    assert [version for version, _ in read_versions(LocalFiles(), path)] == [path, path + PREVIOUS]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({"file": b"1", f"file{PARTIAL}": b"2"}, [b"1"], id="while writing"),
        pytest.param({f"file{PARTIAL}": b"2"}, [], id="while writing the first version"),
        pytest.param(
            {f"file{PREVIOUS}": b"1", f"file{PARTIAL}": b"2"}, [b"1"], id="between two moves"
        ),
    ],
)
def test_a_process_killed_at_any_step_leaves_a_complete_version(
    tmp_path: Path, files: dict[str, bytes], expected: list[bytes]
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    path = tmp_path / "file"
    assert versions(path) == expected
    write_version(LocalFiles(), str(path), b"3")
    assert versions(path) == [b"3", *expected]
    assert not (tmp_path / f"file{PARTIAL}").exists()


def test_a_full_disk_leaves_the_previous_version(tmp_path: Path, full_disk: FullDisk) -> None:
    path = tmp_path / "file"
    write_version(LocalFiles(), str(path), b"1")
    with full_disk(100), pytest.raises(OSError, match="File too large"):
        write_version(LocalFiles(), str(path), b"2" * 10_000)
    assert versions(path) == [b"1"]
