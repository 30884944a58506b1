"""Regular files, opened without following links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quantum_rerank.regular_files import (
    Mode,
    open_regular,
    read_json,
    read_regular,
    read_tail,
    require_regular,
    require_regular_tree,
)

MODES: tuple[Mode, ...] = ("rb", "r+b", "ab", "a+b", "wb")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("mine")
    return path


@pytest.mark.parametrize("mode", MODES)
def test_a_link_is_not_followed(mode: Mode, victim: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(victim)
    with pytest.raises(OSError, match="it is a link"):
        open_regular(tmp_path / "link", mode)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("mode", MODES)
def test_a_fifo_is_refused_at_once(mode: Mode, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(tmp_path / "fifo", mode)


def test_a_device_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="a device"):
        open_regular("/dev/zero")
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        open_regular(tmp_path)


def test_files_are_opened_in_the_mode_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for mode, text in (("wb", b"first"), ("wb", b"one"), ("ab", b" two")):
        with open_regular(path, mode) as file:  # type: ignore[arg-type]
            file.write(text)
    assert read_regular(path) == b"one two"
    assert read_tail(path, 3) == b"two"
    assert read_tail(path, 100) == b"one two"


def test_a_missing_file_is_reported_as_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "missing")
    require_regular(tmp_path / "missing")


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    with open_regular(tmp_path / "sparse", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match=r"1,099,511,627,776 bytes, but the limit is 8"):
        read_regular(tmp_path / "sparse", limit=8)


def test_deeply_nested_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "deep.json")


def test_a_tree_is_refused_for_a_link_anywhere_in_it(victim: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "trials" / "00000").mkdir(parents=True)
    (folder / "wandb").mkdir()
    (folder / "wandb" / "latest-run").symlink_to(victim)
    require_regular_tree(folder, exempt=("wandb",))
    (folder / "trials" / "00001").symlink_to(tmp_path)
    with pytest.raises(OSError, match="it is a link") as refused:
        require_regular_tree(folder, exempt=("wandb",))
    assert refused.value.filename == str(folder / "trials" / "00001")
