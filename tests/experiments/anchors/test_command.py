from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.anchors.__main__ import app
from quantum_rerank.errors import ConfigError, MissingExtra


def run(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments, catch_exceptions=False).output


def test_an_unknown_anchor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`ranknet` is not an anchor"):
        run("--model", "ranknet", "--output", str(tmp_path))


def test_a_missing_extra_is_reported_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingExtra, match=r"pip install 'quantum-rerank\[anchors\]'"):
        run("--output", str(tmp_path / "results"))
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_the_page_has_the_anchor_beside_the_experiments_and_results_are_used_again(
    tmp_path: Path,
) -> None:
    pytest.importorskip("lightgbm")
    arguments = ("--collection", "zaragoza", "--model", "lambdamart", "--seeds", "1")
    whole = (*arguments, "--jobs", "1", "--output", str(tmp_path))
    assert "1 trainings, 0 of them finished earlier" in run(*whole)
    page = (tmp_path / "anchors.md").read_text(encoding="utf-8")
    assert "**tuned minus lambdamart**" in page
    assert f"`python -m experiments.anchors {' '.join(arguments)}`" in page
    again = run(*whole)
    assert "1 trainings, 1 of them finished earlier" in again
    assert (tmp_path / "anchors.md").read_text(encoding="utf-8") == page
