"""The short form of `make chaos`."""

from __future__ import annotations

import pytest

from tests.integration.conftest import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.parametrize(
    "arguments",
    [
        # So short a search is mostly the start of its workers.
        ("driver", "--rounds", "3", "--trials", "10", "--most-work", "9"),
        # The fourth strike takes a node.
        ("workers", "--rounds", "4", "--trials", "10"),
        ("faults", "--no-monitor"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_nothing_is_lost(arguments: tuple[str, ...]) -> None:
    name, *options = arguments
    done = run(f"tests.chaos.{name}", *options)
    assert done.code == 0, done.text
