"""How tests are spread over the two processes of `make test`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

RAY_LANE = "ray"


class Lanes(LoadScopeScheduling):
    """One file at a time for each process; all files whose searches train for one process.

    Two such searches side by side would need the memory of four trainings. A search whose trials
    train nothing (`quick_search`) may run beside one. The files are handed out in the order in
    which they were collected (see `longest_first`).
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False
        self._root = config.rootpath

    def _split_scope(self, nodeid: str) -> str:
        """The name of the lane that a test belongs to."""
        path = nodeid.partition("::")[0]
        return RAY_LANE if _trains(self._root / path) else path


def longest_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Order tests so that no long file is begun last: searches, then slow tests, then others."""
    return sorted(items, key=lambda item: _rank(item.path))


def _rank(path: Path) -> int:
    if _trains(path):
        return 0
    if _names(path, "pytest.mark.ray"):
        return 1
    return 2 if _names(path, "pytest.mark.slow") else 3


def _trains(path: Path) -> bool:
    """Whether a file has tests with Ray whose trials may train."""
    return _names(path, "pytest.mark.ray") and not _names(path, "quick_search")


@cache
def _names(path: Path, text: str) -> bool:
    """Whether a text stands in a file."""
    return text in path.read_text(encoding="utf-8")
