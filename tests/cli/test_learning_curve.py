"""`train --learning-curve` on one tiny collection."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from typer.testing import CliRunner

from quantum_rerank.cli.train import app
from tests.cli.conftest import Ended, Setting

SMALL = {
    "circuit.n_qubits": 2,
    "circuit.n_layers": 2,
    "mlp.hidden_layers": "[8]",
    "warmup.steps": 2,
    "training.batch_size": 4,
    "training.max_epochs": 2,
    "data.lexical": "words",
}


def arguments(setting: Setting, output: Path, *more: str) -> Sequence[str]:
    settings = {**SMALL, "data.encoder": setting.encoder}
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    data = setting.data("trees")
    given = ["--config", "default", "--data", data]
    return ["--learning-curve", *given, "--output", str(output), *sets, *more]


@dataclass(frozen=True)
class Learned:
    """A learning curve that ended: what it wrote, and what it printed."""

    folder: Path
    printed: str

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.folder / "learning_curve.json").read_text())
        return record


@pytest.fixture(scope="module")
def learned(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    folder = tmp_path_factory.mktemp("learning") / "curve"
    result = CliRunner().invoke(app, arguments(setting, folder), catch_exceptions=False)
    assert result.exit_code == 0
    return Learned(folder, result.output)


def test_three_sizes_are_trained_on_three_seeds_beside_the_baselines(learned: Learned) -> None:
    record = learned.record
    assert record["n_queries"] == [2, 5, 10]
    trainings = {(point["n_queries"], point["seed"]) for point in record["points"]}
    seed = record["config"]["seed"]
    assert trainings == {(n, seed + more) for n in (2, 5, 10) for more in range(3)}
    assert list(record["baselines"]) == ["cosine", "first_stage"]


def test_every_training_is_tested_on_the_same_queries(learned: Learned) -> None:
    measured = [*learned.record["points"], *learned.record["baselines"].values()]
    queries = [set(of["per_query"]["test"]) for of in measured]
    assert all(each == queries[0] for each in queries)
    for of in measured:
        assert of["ndcg@10"]["test"] == pytest.approx(fmean(of["per_query"]["test"].values()))


def test_the_table_and_the_sentences_are_printed(learned: Learned) -> None:
    whole = [p["ndcg@10"]["test"] for p in learned.record["points"] if p["n_queries"] == 10]
    rows = {tuple(line.split()[:2]): line for line in learned.printed.splitlines() if line}
    assert f"{fmean(whole):.4f}" in rows["hybrid", "10"]
    gain = learned.record["gain_of_doubling"]["test"]
    assert f"twice as many (20) would be expected to bring {gain['gain']:+.4f}" in learned.printed
    assert "with all 10 training queries hybrid is" in learned.printed
    assert "training 9 of 9" in learned.printed


def test_the_scores_are_written_as_csv_and_as_a_page(learned: Learned) -> None:
    with (learned.folder / "learning_curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == (9 + 2) * 2
    assert {row["role"] for row in rows} == {"validation", "test"}
    assert {row["system"] for row in rows} == {"hybrid", "cosine", "first_stage"}
    assert "plotly" in (learned.folder / "learning_curve.html").read_text(encoding="utf-8")


def test_a_folder_of_a_curve_is_not_overwritten(setting: Setting, learned: Learned) -> None:
    result = CliRunner().invoke(app, arguments(setting, learned.folder))
    assert "is not empty" in str(result.exception)


Refusal = tuple[Callable[[Setting], tuple[str, ...]], str]
REFUSALS: list[Refusal] = [
    (lambda _: ("--resume",), "--resume continues a run"),
    (lambda _: ("--model", "rbf"), "--learning-curve trains the configured model"),
    (lambda _: ("--set", "model=cosine"), "`model` is cosine, which no training query changes"),
    (
        lambda _: ("--set", "data.train_queries=7"),
        "There are 7 training queries, but a learning curve needs at least 8",
    ),
    (
        lambda s: ("--data", s.data("shrubs"), "--data", s.data("herbs"), "--set", TWELVE),
        "There are 11 training queries, but a learning curve needs at least 12",
    ),
]
TWELVE = "data.train_queries=11"


@pytest.mark.parametrize(("more", "message"), REFUSALS)
def test_what_cannot_be_learned_is_refused_in_a_sentence(
    setting: Setting,
    tmp_path: Path,
    ended: Ended,
    more: Callable[[Setting], tuple[str, ...]],
    message: str,
) -> None:
    code, error = ended(app, *arguments(setting, tmp_path / "curve", *more(setting)))
    assert code == 2
    assert message in " ".join(error.split())
    assert "Traceback" not in error
