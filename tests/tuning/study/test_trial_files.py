from __future__ import annotations

from pathlib import Path

import pytest

from quantum_rerank.errors import ConfigError, FilesError
from tests.conftest import FullDisk
from tuning.study.trial_files import PROGRESS, TrialFiles

NAME = PROGRESS


@pytest.fixture(params=["a folder", "a URI that pyarrow knows"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> TrialFiles:
    root = tmp_path / "run" / "trials"
    return TrialFiles(str(root) if request.param == "a folder" else root.as_uri())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the files of trial 7 are."""
    return tmp_path / "run" / "trials" / "00007"


def versions(files: TrialFiles, number: int = 7) -> list[bytes]:
    return list(files.versions(number, NAME))


def test_what_was_written_is_read_back(files: TrialFiles, folder: Path) -> None:
    content = bytes(range(256)) * 1000
    files.write(7, NAME, content)
    assert versions(files) == [content]
    assert (folder / NAME).read_bytes() == content
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_where_nothing_was_written_there_is_nothing(files: TrialFiles, folder: Path) -> None:
    assert versions(files) == []
    files.write(7, "other", b"1")
    assert versions(files) == []
    assert versions(files, 8) == []


def test_the_version_before_the_newest_stays_and_no_other(files: TrialFiles) -> None:
    for content in (b"1", b"22", b"333", b""):
        files.write(7, NAME, content)
    assert versions(files) == [b"", b"333"]


def test_trials_and_names_do_not_mix(files: TrialFiles) -> None:
    files.write(7, NAME, b"7")
    files.write(8, NAME, b"8")
    files.write(7, "other", b"other")
    assert (versions(files), versions(files, 8)) == ([b"7"], [b"8"])
    assert list(files.versions(7, "other")) == [b"other"]


def test_a_newest_version_that_was_cut_off_leaves_the_older_one(
    files: TrialFiles, folder: Path
) -> None:
    files.write(7, NAME, b"first")
    files.write(7, NAME, b"second")
    (folder / NAME).write_bytes(b"sec")
    assert versions(files) == [b"sec", b"first"]


@pytest.mark.parametrize(
    ("left", "found"),
    [
        pytest.param({NAME: b"1", f"{NAME}.unfinished": b"2"}, [b"1"], id="while it was written"),
        pytest.param({f"{NAME}.unfinished": b"2"}, [], id="while the first was written"),
        pytest.param(
            {f"{NAME}.before": b"1", f"{NAME}.unfinished": b"2"}, [b"1"], id="between two moves"
        ),
    ],
)
def test_a_worker_may_be_killed_at_any_moment_of_writing(
    files: TrialFiles, folder: Path, left: dict[str, bytes], found: list[bytes]
) -> None:
    folder.mkdir(parents=True)
    for name, content in left.items():
        (folder / name).write_bytes(content)
    assert versions(files) == found
    files.write(7, NAME, b"3")
    assert versions(files) == [b"3", *found]
    assert not (folder / f"{NAME}.unfinished").exists()


def test_a_write_that_fails_leaves_what_was_there(files: TrialFiles) -> None:
    files.write(7, NAME, b"1")
    with pytest.raises(TypeError):
        files.write(7, NAME, "no bytes")  # type: ignore[arg-type]
    assert versions(files) == [b"1"]


def test_all_files_of_a_trial_are_removed_and_those_of_others_stay(
    files: TrialFiles, folder: Path
) -> None:
    for number in (7, 8):
        for content in (b"1", b"2"):
            files.write(number, NAME, content)
    files.remove(7)
    assert not folder.exists()
    assert versions(files, 8) == [b"2", b"1"]


def test_what_is_not_there_can_be_removed_too(files: TrialFiles) -> None:
    files.remove(7)
    files.remove_file(7, NAME)
    files.write(8, NAME, b"1")
    files.remove(7)
    files.remove_file(8, "other")
    assert versions(files, 8) == [b"1"]


def test_a_file_is_removed_in_all_its_versions_and_others_of_the_trial_stay(
    files: TrialFiles, folder: Path
) -> None:
    for content in (b"1", b"2"):
        files.write(7, NAME, content)
    (folder / f"{NAME}.unfinished").write_bytes(b"3")
    files.write(7, "other", b"4")
    files.remove_file(7, NAME)
    assert [path.name for path in folder.iterdir()] == ["other"]


def test_a_folder_and_its_uri_are_the_same_place(tmp_path: Path) -> None:
    here, remote = TrialFiles(str(tmp_path)), TrialFiles(tmp_path.as_uri())
    here.write(7, NAME, b"1")
    remote.write(7, NAME, b"2")
    assert versions(here) == versions(remote) == [b"2", b"1"]


def test_a_relative_folder_stays_where_it_was_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = TrialFiles("trials")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    files.write(7, NAME, b"1")
    assert (tmp_path / "trials" / "00007" / NAME).read_bytes() == b"1"


# What fails.


@pytest.mark.parametrize("name", ["best", "progress"])
def test_a_full_disk_is_named_with_the_place_and_what_was_written_before_stays(
    files: TrialFiles, name: str, full_disk: FullDisk
) -> None:
    files.write(7, name, b"1")
    message = r"trials` cannot be used: .*File too large"
    with full_disk(1), pytest.raises(FilesError, match=message):
        files.write(7, name, b"22")
    assert list(files.versions(7, name)) == [b"1"]


def test_files_beside_others_are_at_their_path_whatever_options_a_uri_has() -> None:
    root = "s3://bucket/runs/7?region=eu-west-1&scheme=http"
    below = TrialFiles(root).below("donors")
    assert below._path(3, "x") == "bucket/runs/7/donors/00003/x"
    assert below._files.region == "eu-west-1"


@pytest.mark.parametrize("uri", ["s3n://bucket/files", "nonsense://x"])
def test_a_uri_that_nobody_knows_is_named(uri: str) -> None:
    with pytest.raises(FilesError, match=f"`{uri}` cannot be used: "):
        TrialFiles(uri)


def test_an_empty_place_may_be_used_and_stays_empty(files: TrialFiles, tmp_path: Path) -> None:
    for _ in range(2):
        files.refuse_unusable()
    assert list((tmp_path / "run" / "trials").iterdir()) == []


def test_a_place_that_holds_another_run_s_files_is_refused(files: TrialFiles) -> None:
    files.write(7, NAME, b"1")
    with pytest.raises(ConfigError, match=r"`--storage-path .*trials` is not empty"):
        files.refuse_unusable()


def test_a_place_that_cannot_be_written_to_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FilesError, match=r"file/trials` cannot be used: "):
        TrialFiles(str(tmp_path / "file" / "trials")).refuse_unusable()
