"""A small draw of the fuzzer; `make chaos` runs thousands of mutations."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_no_mutation_of_a_small_draw_does_harm() -> None:
    # In a process of its own, which has no other threads when it forks.
    command = [sys.executable, "-m", "tests.fuzz", "--mutations", "18", "--seed", "1"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
