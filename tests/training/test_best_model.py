from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import BundleError
from quantum_rerank.similarity import MODELS
from quantum_rerank.training.best_model import best_model_bytes, read_best_model
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.serialization import dumps, loads
from quantum_rerank.training.trainer import BestModel
from quantum_rerank.training.trial_data import TrialData

Written = Callable[[str], tuple[bytes, BestModel, ExperimentConfig]]


@pytest.fixture
def written(trial_data: TrialData, small_config: Callable[..., ExperimentConfig]) -> Written:
    """Train a model for an epoch and write its best epoch down."""

    def write(model: str) -> tuple[bytes, BestModel, ExperimentConfig]:
        config = small_config({"model": model})
        trainer = make_trainer(config, trial_data)
        next(trainer.epochs())
        assert trainer.best is not None
        content = best_model_bytes(trainer.best, config, trial_data.embedding_dim)
        return content, trainer.best, config

    return write


@pytest.mark.parametrize("model", MODELS)
def test_a_best_model_is_read_as_it_was_written(written: Written, model: str) -> None:
    content, best, config = written(model)
    head, validation, read_config, epoch = read_best_model(content, "trial 3")
    assert (validation, read_config, epoch) == (best.validation, config, best.epoch)
    state = head.state_dict()
    assert state.keys() == best.head.keys()
    assert all(torch.equal(state[name], best.head[name]) for name in state)
    assert not head.training


@pytest.mark.parametrize("kept", [0, 20, -1])
def test_a_truncated_best_model_is_a_bundle_error_with_its_name(
    written: Written, kept: int
) -> None:
    content = written("hybrid")[0]
    with pytest.raises(BundleError, match=r"trial 3 \(\d+ bytes\) was cut off or altered"):
        read_best_model(content[:kept], "trial 3")


def test_weights_of_another_model_are_refused(written: Written) -> None:
    content, _, config = written("hybrid")
    other = config.model_copy(update={"model": "mlp_twin"}).model_dump(mode="json")
    forged = dumps({**loads(content, "trial 3"), "config": other})
    with pytest.raises(BundleError, match="trial 3 cannot be read"):
        read_best_model(forged, "trial 3")


def test_a_best_model_without_a_configuration_is_a_bundle_error(written: Written) -> None:
    record = loads(written("hybrid")[0], "trial 3")
    del record["config"]
    with pytest.raises(BundleError, match="trial 3 cannot be read"):
        read_best_model(dumps(record), "trial 3")


MAKER = {"run": "0f", "trial": 3}


@pytest.mark.parametrize("expected", [None, {}, {"trial": 3}, MAKER])
def test_a_best_model_of_the_expected_training_is_read(
    written: Written, expected: dict[str, object] | None
) -> None:
    _, best, config = written("hybrid")
    content = best_model_bytes(best, config, 16, MAKER)
    assert read_best_model(content, "trial 3", expected)[3] == best.epoch


@pytest.mark.parametrize(
    ("expected", "why"),
    [
        ({"run": "0f", "trial": 4}, "its trial is 3, but 4 is expected here"),
        ({"run": "1e", "trial": 3}, "its run is 0f, but 1e is expected here"),
        ({"run": "", "trial": 3}, "its run is 0f, but empty is expected here"),
        ({"model": "hybrid"}, "its model is None, but hybrid is expected here"),
    ],
)
def test_a_best_model_of_another_training_is_a_bundle_error_with_its_name(
    written: Written, expected: dict[str, object], why: str
) -> None:
    _, best, config = written("hybrid")
    content = best_model_bytes(best, config, 16, MAKER)
    with pytest.raises(BundleError, match=f"^trial 3 is of another training: {why}"):
        read_best_model(content, "trial 3", expected)


def test_a_best_model_without_an_identity_is_refused_if_one_is_expected(
    written: Written,
) -> None:
    record = loads(written("hybrid")[0], "trial 3")
    del record["made_by"]
    with pytest.raises(BundleError, match="does not say which training it is of"):
        read_best_model(dumps(record), "trial 3", MAKER)
