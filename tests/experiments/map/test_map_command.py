"""The command on a map of one cell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.map.__main__ import app
from experiments.map.plan import MODELS
from experiments.map.summary import read_summary
from quantum_rerank.errors import ConfigError, DataError
from tests.cli.conftest import write_domain

SMALL = ("mlp.hidden_layers=[8]", "training.max_epochs=3", "training.batch_size=4")


def run(root: Path, *arguments: str) -> str:
    """Run a map of 8 outputs and 6 training queries, and return its output."""
    arguments = (
        *("--tuned", str(root / "tuned.yaml"), "--collection", f"beir:{root / 'trees'}"),
        *("--outputs", "8", "--queries", "6", "--seeds", "2", "--circuit-seeds", "1"),
        *("--encoder", f"npy:{root / 'vectors'}", "--output", str(root / "results")),
        *("--jobs", "1", *(f"--set={text}" for text in SMALL), *arguments),
    )
    return CliRunner().invoke(app, arguments, catch_exceptions=False).output


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished map. Tests only read it."""
    root = tmp_path_factory.mktemp("map")
    write_domain(root, "trees", np.random.default_rng(0))
    (root / "tuned.yaml").write_text("data.lexical: words\n", encoding="utf-8")
    assert "14 trainings, 0 of them finished earlier" in run(root)
    return root


def test_a_map_writes_its_page_its_summary_and_a_picture_of_each_score(ended: Path) -> None:
    folder = ended / "results"
    summary = read_summary(folder / "map.json")
    (cell,) = {cell for _, cell in summary.scores["fused"].cells}
    text = (folder / "map.md").read_text(encoding="utf-8")
    for score in ("fused", "alone"):
        for model in MODELS:
            assert f"{summary.scores[score].cells[model, cell].mean:.4f}" in text
        assert f"map_{score}.svg" in text
        assert (folder / f"map_{score}.svg").is_file()
    assert summary.seeds["rbf"] == 2
    assert summary.differences["alone"].cells["hybrid minus rbf", cell].n_seeds == 1
    assert str(ended) not in text
    assert "--tuned FILE" in text


def test_a_difference_is_that_of_the_recorded_scores(ended: Path) -> None:
    def mean(model: str) -> float:
        path = ended / "results/8_outputs_6_queries" / model / "1.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        (values,) = record["scores"]["alone 8_outputs_6_queries"].values()
        return float(np.mean(list(values.values())))

    summary = read_summary(ended / "results/map.json")
    cell = summary.differences["alone"].row("hybrid minus rbf")["8_outputs_6_queries"]
    assert cell.difference == pytest.approx(mean("hybrid") - mean("rbf"), abs=1e-4)
    assert cell.n_above == (mean("hybrid") > mean("rbf"))


def test_a_finished_map_trains_nothing(ended: Path) -> None:
    page = (ended / "results/map.md").read_bytes()
    assert "14 trainings, 14 of them finished earlier" in run(ended)
    assert (ended / "results/map.md").read_bytes() == page


def test_the_page_is_rendered_from_the_summary_alone(ended: Path, tmp_path: Path) -> None:
    summary = Path(shutil.copy(ended / "results/map.json", tmp_path))
    CliRunner().invoke(app, ["--render", str(summary)], catch_exceptions=False)
    for name in ("map.md", "map_fused.svg", "map_alone.svg"):
        assert (tmp_path / name).read_bytes() == (ended / "results" / name).read_bytes()


def test_a_file_that_is_no_summary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="is not a summary of a map"):
        read_summary(tmp_path / "map.json")


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tuned.yaml").write_text("data.lexical: words\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="`leg` is not a model of the map"):
        run(tmp_path, "--model", "leg")
