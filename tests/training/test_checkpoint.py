from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch

from quantum_rerank.config import Arm, ExperimentConfig
from quantum_rerank.errors import BundleError
from quantum_rerank.training.checkpoint import load_checkpoint, save_checkpoint
from quantum_rerank.training.data_manager import TrialData
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.trainer import BestModel

ARMS: tuple[str, ...] = get_args(Arm)
Save = Callable[[str], tuple[BestModel, ExperimentConfig]]


@pytest.fixture
def saved(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig], tmp_path: Path
) -> Save:
    """Train an arm for an epoch and save it in `tmp_path / "checkpoint"`."""

    def save(arm: str) -> tuple[BestModel, ExperimentConfig]:
        config = small_config({"arm": arm})
        trainer = make_trainer(config, trial_data)
        next(trainer.epochs())
        assert trainer.best is not None
        (tmp_path / "checkpoint").mkdir()
        save_checkpoint(tmp_path / "checkpoint", trainer.best, config, trial_data.embedding_dim)
        return trainer.best, config

    return save


@pytest.mark.parametrize("arm", ARMS)
def test_what_was_saved_is_what_is_loaded(saved: Save, tmp_path: Path, arm: str) -> None:
    best, config = saved(arm)
    head, validation, loaded_config, epoch = load_checkpoint(tmp_path / "checkpoint")
    assert (validation, loaded_config, epoch) == (best.validation, config, best.epoch)
    state = head.state_dict()
    assert state.keys() == best.head.keys()
    assert all(torch.equal(state[name], best.head[name]) for name in state)
    assert not head.training


def test_a_checkpoint_that_is_not_there_is_a_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("kept", [0, 20])
def test_a_checkpoint_that_was_cut_off_is_a_bundle_error(
    saved: Save, tmp_path: Path, name: str, kept: int
) -> None:
    saved("hybrid")
    path = tmp_path / "checkpoint" / name
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BundleError, match="cannot be read"):
        load_checkpoint(tmp_path / "checkpoint")


def test_weights_of_another_arm_do_not_pass_for_this_one_s(saved: Save, tmp_path: Path) -> None:
    saved("hybrid")
    record = tmp_path / "checkpoint" / "checkpoint.json"
    text = record.read_text(encoding="utf-8")
    record.write_text(text.replace('"arm": "hybrid"', '"arm": "mlp_twin"'), encoding="utf-8")
    with pytest.raises(BundleError):
        load_checkpoint(tmp_path / "checkpoint")
