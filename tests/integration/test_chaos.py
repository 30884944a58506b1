"""The short form of `make chaos`."""

from __future__ import annotations

import pytest

from tests.integration.conftest import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.parametrize(
    "line",
    [
        "driver --at start --at checkpoint --at export --no-compare "
        "--trials 4 --times 1 --layers 2",
        "workers --rounds 2 --node-every 2 --trials 6 --layers 2",
        "faults --trials 10 --no-monitor",
        "ending --by hours",
    ],
    ids=lambda line: line.partition(" ")[0],
)
def test_nothing_is_lost(line: str) -> None:
    name, *options = line.split()
    done = run(f"tests.chaos.{name}", *options)
    assert done.code == 0, done.text
