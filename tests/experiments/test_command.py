"""The command on one tiny data set."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.__main__ import app
from quantum_rerank.errors import MissingPackage
from tests.cli.conftest import write_domain

SMALL = {
    "circuit.n_qubits": 2,
    "circuit.n_layers": 2,
    "mlp.hidden_layers": [8],
    "warmup.steps": 0,
    "training.batch_size": 4,
}
MODELS = ("default", "tuned", "tuned_twin", "mlp_twin", "bm25")


def run(root: Path, seeds: int = 1, max_epochs: int = 3, docs: str | None = "docs") -> str:
    """Run the command on a folder with the name of a BEIR data set and return its output."""
    small = {**SMALL, "training.max_epochs": max_epochs}
    arguments = [
        *("--tuned", str(root / "tuned.yaml"), "--beir", str(root), "--collection", "cran"),
        *(part for model in MODELS for part in ("--model", model)),
        *("--seeds", str(seeds), "--jobs", "1", "--encoder", f"npy:{root / 'vectors'}"),
        *("--tuned-twin", str(root / "twin.yaml"), "--output", str(root / "results")),
        *(("--docs", str(root / docs)) if docs else ()),
        *(f"--set={key}={json.dumps(value)}" for key, value in small.items()),
    ]
    return CliRunner().invoke(app, arguments, catch_exceptions=False).output


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of finished experiments with six trainings. Copy it to change it."""
    root = tmp_path_factory.mktemp("experiments")
    write_domain(root, "cran", np.random.default_rng(0))
    (root / "tuned.yaml").write_text("mlp.dropout: 0.2\n", encoding="utf-8")
    (root / "twin.yaml").write_text("model: mlp_twin\nmlp.dropout: 0.3\n", encoding="utf-8")
    assert "6 trainings, 0 of them finished earlier" in run(root)
    return root


@pytest.fixture
def copied(ended: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ended, tmp_path / "experiments"))


def written(root: Path) -> dict[str, int]:
    """Return result -> the time when it was written."""
    files = (root / "results").rglob("*.json")
    return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns for path in files}


def test_experiments_write_their_page_their_summary_and_their_pictures(ended: Path) -> None:
    figures = json.loads((ended / "docs/experiments.json").read_text(encoding="utf-8"))
    assert set(figures["collections"]) == {"cran"}
    assert all(0.0 <= value <= 1.0 for value in figures["collections"]["cran"].values())
    text = (ended / "docs/experiments.md").read_text(encoding="utf-8")
    assert f"{figures['collections']['cran']['tuned']:.4f}" in text
    assert str(ended) not in text
    assert 'ARGS="--tuned FILE --tuned-twin FILE --collection cran ' in text
    assert " --docs FOLDER" in text
    assert "| mlp.dropout | 0.1 | 0.2 | 0.3 |" in text
    for picture in ("cosine", "controls", "curves"):
        assert (ended / f"docs/experiments/{picture}.svg").is_file()
        assert f"(experiments/{picture}.svg)" in text


def test_finished_experiments_train_nothing_and_write_the_same_files(copied: Path) -> None:
    previous = written(copied)
    document = (copied / "docs/experiments.md").read_bytes()
    figures = (copied / "docs/experiments.json").read_bytes()
    assert "6 trainings, 6 of them finished earlier" in run(copied)
    assert written(copied) == previous
    assert (copied / "docs/experiments.md").read_bytes() == document
    assert (copied / "docs/experiments.json").read_bytes() == figures


@pytest.mark.extended
def test_killed_experiments_resume_with_the_missing_results(copied: Path) -> None:
    lost = "results/cran/tuned/1.json"
    figures = (copied / "docs/experiments.json").read_text(encoding="utf-8")
    previous = written(copied)
    (copied / lost).write_text('{"fingerprint": "cut o', encoding="utf-8")
    assert "6 trainings, 5 of them finished earlier" in run(copied)
    after = written(copied)
    assert [name for name in after if after[name] != previous[name]] == [lost]
    again = (copied / "docs/experiments.json").read_text(encoding="utf-8")
    assert json.loads(again)["collections"] == json.loads(figures)["collections"]


@pytest.mark.extended
def test_a_changed_configuration_is_trained_again(copied: Path) -> None:
    previous = written(copied)
    (copied / "tuned.yaml").write_text("mlp.dropout: 0.3\n", encoding="utf-8")
    assert "6 trainings, 4 of them finished earlier" in run(copied)
    after = written(copied)
    changed = sorted(name.split("/")[2] for name in after if after[name] != previous[name])
    assert changed == ["mlp_twin", "tuned"]


def test_an_unknown_model_is_refused_before_data_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "tuned.yaml").write_text("mlp.dropout: 0.2\n", encoding="utf-8")
    (tmp_path / "twin.yaml").write_text("model: mlp_twin\n", encoding="utf-8")
    files = ("--tuned", tmp_path / "tuned.yaml", "--tuned-twin", tmp_path / "twin.yaml")
    error = refused(*files, "--model", "leg")
    assert "`leg` is not a model of the experiments" in str(error)


def refused(*arguments: object) -> BaseException | None:
    return CliRunner().invoke(app, list(map(str, arguments))).exception


def test_the_page_is_rendered_from_the_summary_alone(ended: Path, tmp_path: Path) -> None:
    summary = tmp_path / "experiments.json"
    shutil.copy(ended / "docs/experiments.json", summary)
    CliRunner().invoke(app, ["--render", str(summary)], catch_exceptions=False)
    for name in ("experiments.md", "experiments/cosine.svg", "experiments/curves.svg"):
        assert (tmp_path / name).read_bytes() == (ended / "docs" / name).read_bytes()


@pytest.mark.slow
def test_a_part_of_the_experiments_is_written_beside_its_results_by_default(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied)
    text = run(copied, docs=None)
    assert f"Wrote {copied / 'results/experiments.md'}" in text.replace("\n", "")
    assert sorted(path.name for path in copied.iterdir() if "docs" in path.name) == ["docs"]
    assert (copied / "results/experiments.json").is_file()


def test_nothing_is_trained_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    error = refused("--output", tmp_path / "results", "--tuned", tmp_path / "none.yaml")
    assert isinstance(error, MissingPackage)
    assert not list(tmp_path.iterdir())
