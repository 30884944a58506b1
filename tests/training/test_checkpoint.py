from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
import torch

from quantum_rerank.config import Arm, ExperimentConfig
from quantum_rerank.errors import BundleError
from quantum_rerank.training.checkpoint import checkpoint_bytes, read_checkpoint
from quantum_rerank.training.data_manager import TrialData
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.sealed import seal, unseal
from quantum_rerank.training.trainer import BestModel

ARMS: tuple[str, ...] = get_args(Arm)
Written = Callable[[str], tuple[bytes, BestModel, ExperimentConfig]]


@pytest.fixture
def written(trial_data: TrialData, small_config: Callable[..., ExperimentConfig]) -> Written:
    """Train an arm for an epoch and write its best epoch down."""

    def write(arm: str) -> tuple[bytes, BestModel, ExperimentConfig]:
        config = small_config({"arm": arm})
        trainer = make_trainer(config, trial_data)
        next(trainer.epochs())
        assert trainer.best is not None
        content = checkpoint_bytes(trainer.best, config, trial_data.embedding_dim)
        return content, trainer.best, config

    return write


@pytest.mark.parametrize("arm", ARMS)
def test_what_was_written_is_what_is_read(written: Written, arm: str) -> None:
    content, best, config = written(arm)
    head, validation, read_config, epoch = read_checkpoint(content, "trial 3")
    assert (validation, read_config, epoch) == (best.validation, config, best.epoch)
    state = head.state_dict()
    assert state.keys() == best.head.keys()
    assert all(torch.equal(state[name], best.head[name]) for name in state)
    assert not head.training


@pytest.mark.parametrize("kept", [0, 20, -1])
def test_a_checkpoint_that_was_cut_off_is_a_bundle_error_with_its_name(
    written: Written, kept: int
) -> None:
    content = written("hybrid")[0]
    with pytest.raises(BundleError, match=r"trial 3 \(\d+ bytes\) was cut off or altered"):
        read_checkpoint(content[:kept], "trial 3")


def test_weights_of_another_arm_do_not_pass_for_this_one_s(written: Written) -> None:
    content, _, config = written("hybrid")
    other = config.model_copy(update={"arm": "mlp_twin"}).model_dump(mode="json")
    forged = seal({**unseal(content, "trial 3"), "config": other})
    with pytest.raises(BundleError, match="trial 3 cannot be read"):
        read_checkpoint(forged, "trial 3")


def test_a_checkpoint_without_its_configuration_is_a_bundle_error(written: Written) -> None:
    found = unseal(written("hybrid")[0], "trial 3")
    del found["config"]
    with pytest.raises(BundleError, match="trial 3 cannot be read"):
        read_checkpoint(seal(found), "trial 3")


MAKER = {"run": "0f", "trial": 3}


@pytest.mark.parametrize("expected", [None, {}, {"trial": 3}, MAKER])
def test_a_checkpoint_of_the_expected_training_is_read(
    written: Written, expected: dict[str, object] | None
) -> None:
    _, best, config = written("hybrid")
    content = checkpoint_bytes(best, config, 16, MAKER)
    assert read_checkpoint(content, "trial 3", expected)[3] == best.epoch


@pytest.mark.parametrize(
    ("expected", "why"),
    [
        ({"run": "0f", "trial": 4}, "its trial is 3, but 4 is expected here"),
        ({"run": "1e", "trial": 3}, "its run is 0f, but 1e is expected here"),
        ({"run": "", "trial": 3}, "its run is 0f, but empty is expected here"),
        ({"arm": "hybrid"}, "its arm is None, but hybrid is expected here"),
    ],
)
def test_a_checkpoint_of_another_training_is_a_bundle_error_with_its_name(
    written: Written, expected: dict[str, object], why: str
) -> None:
    _, best, config = written("hybrid")
    content = checkpoint_bytes(best, config, 16, MAKER)
    with pytest.raises(BundleError, match=f"^trial 3 is of another training: {why}"):
        read_checkpoint(content, "trial 3", expected)


def test_a_checkpoint_that_names_no_training_is_refused_where_one_is_expected(
    written: Written,
) -> None:
    record = unseal(written("hybrid")[0], "trial 3")
    del record["made_by"]
    with pytest.raises(BundleError, match="does not say which training it is of"):
        read_checkpoint(seal(record), "trial 3", MAKER)
