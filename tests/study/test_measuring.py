from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_rerank.config import DataConfig, ExperimentConfig
from quantum_rerank.study.measuring import measure, prepared_data
from quantum_rerank.study.plan import Task
from quantum_rerank.study.results import Results, as_domains
from quantum_rerank.training.arms import measure_arm
from quantum_rerank.training.data_manager import PreparedData
from quantum_rerank.training.lexical import Bm25

COLLECTIONS = {"test": "seen", "test_unseen": "unseen"}
Small = Callable[..., ExperimentConfig]


@pytest.fixture
def task(small_config: Small, data_config: DataConfig) -> Callable[..., Task]:
    def build(arm: str, **overrides: object) -> Task:
        own = "cosine" if arm == "bm25" else arm
        named = {key.replace("__", "."): value for key, value in overrides.items()}
        config = small_config({"arm": own, "seed": 3, **named})
        return Task("woods", arm, arm, config.model_copy(update={"data": data_config}))

    return build


@pytest.mark.parametrize("arm", ["hybrid", "mlp_twin", "cosine", "bm25"])
def test_a_result_has_the_scores_of_the_training_and_lies_where_it_is_looked_for(
    task: Callable[..., Task], prepared: PreparedData, tmp_path: Path, arm: str
) -> None:
    one = task(arm)
    result = measure(one, COLLECTIONS, tmp_path)
    expected = measure_arm(one.config, arm, prepared, Bm25(one.config.data))
    assert result.record["scores"] == {
        COLLECTIONS[role]: as_domains(scores) for role, scores in expected.test.items()
    }
    assert result.record["objective"] == expected.validation.objective
    again = Results(tmp_path).of(one, result.record["fingerprint"])
    assert again is not None
    assert again.scores["seen"].metrics == pytest.approx(result.scores["seen"].metrics)
    assert ("verdicts" in result.record) == (arm != "bm25")


def test_the_cosine_s_objective_is_that_of_the_arm_cosine(
    task: Callable[..., Task], tmp_path: Path
) -> None:
    hybrid, cosine = (measure(task(arm), COLLECTIONS, tmp_path) for arm in ("hybrid", "cosine"))
    assert hybrid.record["cosine_objective"] == cosine.record["objective"]


def test_a_training_that_diverges_has_a_result_that_says_so(
    task: Callable[..., Task], tmp_path: Path
) -> None:
    wild = task("mlp_twin", loss__name="infonce", loss__temperature=1e-45)
    result = measure(wild, COLLECTIONS, tmp_path)
    assert "loss became" in result.failed
    assert result.scores == {}
    assert Results(tmp_path).of(wild, result.record["fingerprint"]) is not None


def test_data_are_prepared_once(data_config: DataConfig) -> None:
    assert prepared_data(data_config) is prepared_data(data_config)
