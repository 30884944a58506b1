from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.errors import BundleError, DataError
from quantum_rerank.paths import as_path, expanded, require_exists


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_leading_tilde_is_the_home_folder(home: Path) -> None:
    assert expanded("~/runs") == home / "runs"
    assert expanded(Path("~")) == home


@pytest.mark.parametrize("path", ["/~/runs", "runs/~", "runs~", "~nobody-by-this-name/runs"])
def test_any_other_tilde_stays(path: str) -> None:
    assert expanded(path) == Path(path)


@pytest.mark.parametrize("value", [None, 3, b"runs", "", ["runs"]])
def test_what_is_no_path_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"`folder` is .*, but must be a path"):
        as_path(value, "folder")


def test_a_path_may_be_a_text_or_a_path(home: Path) -> None:
    assert as_path("~/runs", "folder") == as_path(Path("~/runs"), "folder") == home / "runs"


def test_a_path_that_does_not_exist_is_told_as_such(home: Path) -> None:
    require_exists(home, BundleError)
    with pytest.raises(BundleError, match=f"`{home / 'nowhere'}` does not exist"):
        require_exists(home / "nowhere", BundleError)


def test_a_name_that_is_too_long_is_refused_in_words(home: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read: File name too long"):
        require_exists(home / ("x" * 1000), BundleError)
