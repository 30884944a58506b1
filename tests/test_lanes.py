"""Distribution of the tests of `make test`, tested with separate files and processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

pytestmark = pytest.mark.extended

ROOT = Path(__file__).parents[1]
CONFTEST = """
import pytest
from tests.lanes import Lanes, longest_first

def pytest_xdist_make_scheduler(config, log):
    return Lanes(config, log)

def pytest_collection_modifyitems(items):
    items[:] = longest_first(items)
"""
FILE = """
import os
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(3))
def test_something(number):
    with Path("ran.txt").open("a") as file:
        file.write(f"{os.environ['PYTEST_XDIST_WORKER']} {Path(__file__).name}\\n")
"""
MARKS = {
    "a": "",
    "b": "slow",
    "c": "training",
    "d": "",
    "e": "training",
    "f": "slow",
    "quick": "ray",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Run seven files; return the process and the file of each test, in order."""
    folder = tmp_path_factory.mktemp("lanes")
    (folder / "conftest.py").write_text(CONFTEST)
    marks = "".join(f"    {name}\n" for name in ("training", "ray", "slow"))
    (folder / "pytest.ini").write_text(f"[pytest]\nmarkers =\n{marks}")
    for name, mark in MARKS.items():
        line = f"pytestmark = pytest.mark.{mark}\n" if mark else ""
        (folder / f"test_{name}.py").write_text(f"{FILE}\n{line}")
    command = [sys.executable, "-m", "pytest", "-q", "--numprocesses", "2"]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment = {**inherited, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert "21 passed" in done.stdout, done.stdout + done.stderr
    lines = (folder / "ran.txt").read_text().splitlines()
    return [(process, file) for process, _, file in (line.partition(" ") for line in lines)]


def test_all_files_whose_searches_train_run_in_one_process(ran: list[tuple[str, str]]) -> None:
    assert len({process for process, file in ran if file in ("test_c.py", "test_e.py")}) == 1


def test_no_file_is_split(ran: list[tuple[str, str]]) -> None:
    processes = defaultdict(set)
    for process, file in ran:
        processes[file].add(process)
    assert {file: len(names) for file, names in processes.items()} == dict.fromkeys(
        (f"test_{name}.py" for name in MARKS), 1
    )


def test_files_with_searches_start_first(ran: list[tuple[str, str]]) -> None:
    files = defaultdict(list)
    for process, file in ran:
        if file not in files[process]:
            files[process].append(file)
    first, second = sorted(files.values(), key=lambda names: "test_c.py" not in names)
    assert first[:2] == ["test_c.py", "test_e.py"]
    assert second[0] == "test_quick.py"
