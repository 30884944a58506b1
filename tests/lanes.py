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
    """One file at a time for each process; all files with real Ray clusters for one process.

    Two clusters side by side would share the cores and the memory that each takes for its own.
    The files are handed out in the order in which they were collected (see `longest_first`).
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False
        self._root = config.rootpath

    def _split_scope(self, nodeid: str) -> str:
        """The name of the lane that a test belongs to."""
        path = nodeid.partition("::")[0]
        return RAY_LANE if _has_mark(self._root / path, "ray") else path


def longest_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Order tests so that no long file is begun last: Ray's, those with slow tests, the others."""
    return sorted(items, key=lambda item: _rank(item.path))


def _rank(path: Path) -> int:
    return 0 if _has_mark(path, "ray") else 1 if _has_mark(path, "slow") else 2


@cache
def _has_mark(path: Path, name: str) -> bool:
    """Whether any test of a file has a mark."""
    return f"pytest.mark.{name}" in path.read_text(encoding="utf-8")
