"""What a node says of itself; asked of real nodes in tests/integration/test_nodes.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tuning.workers import node_checks
from tuning.workers.node_checks import PACKAGES, UNSEEN, what_is_missing


def test_a_fit_node_misses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / ".seen").touch()
    assert what_is_missing(str(tmp_path / ".seen")) == []
    assert [path.name for path in tmp_path.iterdir()] == [".seen"]


def test_a_node_elsewhere_does_not_see_the_folder(tmp_path: Path) -> None:
    assert what_is_missing(str(tmp_path / "run" / ".seen")) == [UNSEEN]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_node_that_may_only_read_says_so(tmp_path: Path) -> None:
    (tmp_path / ".seen").touch()
    tmp_path.chmod(0o555)
    try:
        (found,) = what_is_missing(str(tmp_path / ".seen"))
    finally:
        tmp_path.chmod(0o755)
    assert found == "cannot write into the folder of trials: Permission denied"


def test_a_node_is_asked_for_no_folder_where_trials_keep_their_files_at_a_uri() -> None:
    assert what_is_missing(None) == []


def test_a_bare_node_names_every_package_that_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".seen").touch()
    monkeypatch.setattr(node_checks, "PACKAGES", ("numpy", "not_there", "nor_this"))
    assert what_is_missing(str(tmp_path / ".seen")) == [
        "lacks the package `not_there`",
        "lacks the package `nor_this`",
    ]


def test_what_nodes_are_asked_for_is_installed_with_this_project() -> None:
    root = Path(__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    given = {re.split(r"[^\w-]", one)[0].replace("-", "_") for one in project["dependencies"]}
    assert set(PACKAGES) <= given | {"pyarrow"}  # with ray[tune]


def test_the_check_needs_nothing_that_a_bare_node_lacks() -> None:
    seen = f"{{*sys.modules}} & {set(PACKAGES)}"
    code = f"import sys, tuning.workers.node_checks; print(*({seen}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
