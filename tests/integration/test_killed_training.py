"""Short form of `python -m tests.chaos.training`."""

from __future__ import annotations

import pytest

from tests.integration.conftest import run


@pytest.mark.slow
@pytest.mark.parametrize("rounds", ["1", pytest.param("3", marks=pytest.mark.extended)])
def test_a_killed_training_resumes_and_ends_with_the_same_weights(rounds: str) -> None:
    done = run("tests.chaos.training", "--rounds", rounds, "--epochs", "6")
    assert done.code == 0, done.text
