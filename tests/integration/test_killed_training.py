"""The short form of `python -m tests.chaos.training`."""

from __future__ import annotations

import pytest

from tests.integration.conftest import run


@pytest.mark.slow
def test_a_training_that_is_killed_ends_with_the_weights_of_one_that_is_not() -> None:
    done = run("tests.chaos.training", "--rounds", "3")
    assert done.code == 0, done.text
