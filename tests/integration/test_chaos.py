"""Short forms of `make chaos`."""

from __future__ import annotations

import pytest

from tests.integration.conftest import run

pytestmark = [pytest.mark.ray, pytest.mark.training, pytest.mark.extended]

WORKERS = "workers --rounds 2 --node-every 2 --trials 4 --layers 2"
ENDING = "ending --by hours"


@pytest.mark.parametrize(
    "line",
    ["faults --few --no-monitor", WORKERS, ENDING],
    ids=lambda line: line.partition(" ")[0],
)
def test_nothing_is_lost(line: str) -> None:
    name, *options = line.split()
    done = run(f"tests.chaos.{name}", *options)
    assert done.code == 0, done.text
