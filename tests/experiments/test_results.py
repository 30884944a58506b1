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


def test_scores_come_back_as_they_were_written(made: Made) -> None:
    assert as_domains(made("tuned").scores["trees"]) == SCORES["tuned"]


@pytest.mark.parametrize(
    "change",
    [{"seed": 8}, {"circuit.n_qubits": 5}, {"mlp.dropout": 0.2}, {"data.candidates": 50}],
)
def test_whatever_decides_a_training_changes_its_fingerprint(change: dict[str, object]) -> None:
    assert fingerprint(override(CONFIG, change), "hybrid", "x") != fingerprint(
        CONFIG, "hybrid", "x"
    )


def test_data_and_model_are_part_of_the_fingerprint_and_a_folder_s_place_is_not() -> None:
    own = fingerprint(CONFIG, "hybrid", "x")
    assert fingerprint(CONFIG, "hybrid", "y") != own != fingerprint(CONFIG, "bm25", "x")
    assert fingerprint(override(CONFIG, {"data.seen": ["beir:elsewhere"]}), "hybrid", "x") == own


def test_a_result_of_other_numbers_is_none(tmp_path: Path, task: Task) -> None:
    results = Results(tmp_path)
    assert results.of(task, "this") is None
    results.write(task, RECORD)
    found = results.of(task, "this")
    assert found is not None
    assert found.record == RECORD
    assert results.of(task, "that") is None


@pytest.mark.parametrize("text", ["", '{"fingerprint": "th', "[]", "\x00"])
def test_a_result_that_was_cut_off_is_none(tmp_path: Path, task: Task, text: str) -> None:
    results = Results(tmp_path)
    results.write(task, RECORD)
    (tmp_path / task.place).write_text(text, encoding="utf-8")
    assert results.of(task, "this") is None


def test_results_are_found_by_data_set_and_row_in_the_order_of_seeds(made: Made) -> None:
    results = [made("tuned", 2), made("tuned", 1), made("tuned", 3, failed="NaN")]
    assert [one.seed for one in by_name(results)["trees"]["tuned"]] == [1, 2]
