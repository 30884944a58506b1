"""What the documents name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_no_place_holder_is_left() -> None:
    assert not re.findall(r"@[A-Z]+@|TODO|TBD", README)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\w+)|`make (\w+)", README))))
def test_every_make_target_exists(target: tuple[str, str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target[0] or target[1]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([\w.]+)", README))))
def test_every_command_is_a_module(module: str) -> None:
    assert (ROOT / (module.replace(".", "/") + ".py")).is_file()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"(?:search_spaces|configs|docs)/[\w.]+\.(?:yaml|md)", README)))
)
def test_every_file_named_is_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize(
    "line",
    re.findall(r"^  ([\w.]+\.py) ", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE),
)
def test_every_module_of_the_architecture_is_there(line: str) -> None:
    assert list(ROOT.glob(f"quantum_rerank/**/{line}")) + list(ROOT.glob(f"tuning/{line}"))
