"""Distribution of the tests over the two processes of `make test`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TRAINING_LANE = "training"


class Lanes(LoadScopeScheduling):
    """Scheduler of pytest-xdist that keeps all files whose searches train in one process.

    Two such searches at the same time would need the memory of four trainings. Other files
    with Ray may run beside them. Files are assigned in the order of collection, see
    `longest_first`.
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False
        self._root = config.rootpath

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of a test's lane."""
        path = nodeid.partition("::")[0]
        return TRAINING_LANE if _names(self._root / path, "pytest.mark.training") else path


def longest_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Order tests by duration: searches first, then slow tests, then the rest."""
    return sorted(items, key=lambda item: _rank(item.path))


def _rank(path: Path) -> int:
    marks = ("training", "ray", "slow")
    return next((n for n, mark in enumerate(marks) if _names(path, f"pytest.mark.{mark}")), 3)


@cache
def _names(path: Path, text: str) -> bool:
    """Return True if a file contains a text."""
    return text in path.read_text(encoding="utf-8")
