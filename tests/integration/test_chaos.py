"""The short form of `make chaos`; that of its kills of drivers is in test_search."""

from __future__ import annotations

import pytest

from tests.integration.conftest import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.parametrize(
    "line",
    [
        "workers --rounds 2 --node-every 2 --trials 4 --layers 2",
        "faults --few --no-monitor",
        "ending --by hours",
    ],
    ids=lambda line: line.partition(" ")[0],
)
def test_nothing_is_lost(line: str) -> None:
    name, *options = line.split()
    done = run(f"tests.chaos.{name}", *options)
    assert done.code == 0, done.text
