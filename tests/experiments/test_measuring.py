from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.measuring import measure, prepared_data
from experiments.plan import Task
from experiments.results import Results, as_domains
from quantum_rerank.config import DataConfig, ExperimentConfig
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.models import measure_model
from quantum_rerank.training.trial_data import PreparedData

COLLECTIONS = {"test": "seen", "unseen_test": "unseen"}
Small = Callable[..., ExperimentConfig]


@pytest.fixture
def task(small_config: Small, data_config: DataConfig) -> Callable[..., Task]:
    def build(model: str, **overrides: object) -> Task:
        trained = "cosine" if model == "bm25" else model
        values = {key.replace("__", "."): value for key, value in overrides.items()}
        config = small_config({"model": trained, "seed": 3, **values})
        return Task("woods", model, model, config.model_copy(update={"data": data_config}))

    return build


@pytest.mark.parametrize("model", ["hybrid", "mlp_twin", "cosine", "bm25"])
def test_a_result_has_the_scores_of_the_training_and_can_be_read_again(
    task: Callable[..., Task], prepared: PreparedData, tmp_path: Path, model: str
) -> None:
    training = task(model)
    result = measure(training, COLLECTIONS, tmp_path)
    expected = measure_model(training.config, model, prepared, Bm25(training.config.data))
    assert result.record["scores"] == {
        COLLECTIONS[role]: as_domains(scores) for role, scores in expected.test.items()
    }
    assert result.record["objective"] == expected.validation.objective
    again = Results(tmp_path).of(training, result.record["fingerprint"])
    assert again is not None
    assert again.scores["seen"].metrics == pytest.approx(result.scores["seen"].metrics)
    assert ("targets" in result.record) == (model != "bm25")


def test_the_cosine_objective_is_that_of_the_model_cosine(
    task: Callable[..., Task], tmp_path: Path
) -> None:
    hybrid, cosine = (measure(task(model), COLLECTIONS, tmp_path) for model in ("hybrid", "cosine"))
    assert hybrid.record["cosine_objective"] == cosine.record["objective"]


def test_a_diverged_training_has_a_result_with_the_reason(
    task: Callable[..., Task], tmp_path: Path
) -> None:
    wild = task("mlp_twin", loss__name="infonce", loss__temperature=1e-45)
    result = measure(wild, COLLECTIONS, tmp_path)
    assert "loss became" in result.failed
    assert result.scores == {}
    assert Results(tmp_path).of(wild, result.record["fingerprint"]) is not None


def test_data_are_prepared_once(data_config: DataConfig) -> None:
    assert prepared_data(data_config) is prepared_data(data_config)


def test_a_domain_may_be_a_collection_of_its_own(
    task: Callable[..., Task], prepared: PreparedData, tmp_path: Path
) -> None:
    (domain,) = {queries.domain for queries in prepared.unseen_test}
    result = measure(task("cosine"), COLLECTIONS | {domain: "alone"}, tmp_path)
    assert result.record["scores"].keys() == {"seen", "alone"}
    assert list(result.record["scores"]["alone"]) == [domain]
