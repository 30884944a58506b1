from __future__ import annotations

from pathlib import Path

import pytest

from experiments.plan import PACKAGED, Task, setups, tasks
from experiments.results import Results, as_domains, by_name, fingerprint
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.evaluation import NDCG
from tests.experiments.conftest import SCORES, Made

CONFIG = ExperimentConfig()
RECORD = {"fingerprint": "this", "failed": ""}


@pytest.fixture
def task() -> Task:
    return tasks(
        PACKAGED[:1], setups(CONFIG, override(CONFIG, {"model": "mlp_twin"}), {}), [1], "minilm"
    )[0]


def test_scores_are_the_mean_over_domains_of_the_mean_over_queries(made: Made) -> None:
    scores = made("tuned").scores["trees"]
    assert scores.metrics[NDCG] == pytest.approx(((0.6 + 0.8) / 2 + 0.9) / 2)
    assert scores.domains == {"a/1": "a", "a/2": "a", "b/3": "b"}


def test_scores_are_read_as_they_were_written(made: Made) -> None:
    assert as_domains(made("tuned").scores["trees"]) == SCORES["tuned"]


@pytest.mark.parametrize(
    "change",
    [{"seed": 8}, {"circuit.n_qubits": 5}, {"mlp.dropout": 0.2}, {"data.candidates": 50}],
)
def test_configuration_values_change_the_fingerprint(change: dict[str, object]) -> None:
    assert fingerprint(override(CONFIG, change), "hybrid", "x") != fingerprint(
        CONFIG, "hybrid", "x"
    )


def test_data_and_model_change_the_fingerprint_and_the_path_of_the_data_does_not() -> None:
    expected = fingerprint(CONFIG, "hybrid", "x")
    assert fingerprint(CONFIG, "hybrid", "y") != expected
    assert fingerprint(CONFIG, "bm25", "x") != expected
    moved = override(CONFIG, {"data.seen": ["beir:elsewhere"]})
    assert fingerprint(moved, "hybrid", "x") == expected


def test_a_result_with_another_fingerprint_is_ignored(tmp_path: Path, task: Task) -> None:
    results = Results(tmp_path)
    assert results.of(task, "this") is None
    results.write(task, RECORD)
    result = results.of(task, "this")
    assert result is not None
    assert result.record == RECORD
    assert results.of(task, "that") is None


@pytest.mark.parametrize("text", ["", '{"fingerprint": "th', "[]", "\x00"])
def test_a_truncated_result_is_ignored(tmp_path: Path, task: Task, text: str) -> None:
    results = Results(tmp_path)
    results.write(task, RECORD)
    (tmp_path / task.result_path).write_text(text, encoding="utf-8")
    assert results.of(task, "this") is None


def test_results_are_grouped_by_data_set_and_row_in_the_order_of_seeds(made: Made) -> None:
    results = [made("tuned", 2), made("tuned", 1), made("tuned", 3, failed="NaN")]
    assert [result.seed for result in by_name(results)["trees"]["tuned"]] == [1, 2]
