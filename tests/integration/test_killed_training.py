"""Short form of `python -m tests.chaos.training`."""

from __future__ import annotations

import pytest

from tests.integration.conftest import run


@pytest.mark.extended
def test_a_killed_training_resumes_and_ends_with_the_same_weights() -> None:
    done = run("tests.chaos.training", "--rounds", "3")
    assert done.code == 0, done.text
