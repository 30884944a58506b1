"""Tests of resuming a training from its checkpoints after its process was killed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
import torch

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.errors import OutputError
from quantum_rerank.training import checkpoint_file
from quantum_rerank.training.checkpoint_file import CheckpointFile, SaveThrottle
from quantum_rerank.training.models import train_model
from quantum_rerank.training.trainer import EpochReport
from quantum_rerank.training.trial_data import TrialData
from tests.conftest import FullDisk

EPOCHS = 4


class Killed(BaseException):
    """A process's end, wherever it was."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "progress" / "hybrid.safetensors"


@pytest.fixture
def config(small_config: Callable[..., ExperimentConfig]) -> ExperimentConfig:
    return small_config(
        {
            "training.max_epochs": EPOCHS,
            "warmup.steps": 3,
            "mlp.dropout": 0.3,
            "optimizer.mlp_lr": 0.05,
            "optimizer.schedule": "plateau",
            "training.ema_decay": 0.5,
        }
    )


@pytest.fixture
def saved_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is written down after every epoch, however long that takes."""
    monkeypatch.setattr(checkpoint_file, "SAVING_SHARE", math.inf)


def contents(path: Path) -> list[bytes]:
    """What there is, the newest first."""
    return [content for _, content in CheckpointFile(path).versions()]


def test_the_newest_version_and_the_previous_one_are_readable(path: Path) -> None:
    file = CheckpointFile(path)
    assert list(file.versions()) == []
    for content in (b"1", b"22", b"333"):
        file.write(content)
    assert contents(path) == [b"333", b"22"]
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize("left", [b"", b"33", b"333"])
def test_an_unfinished_file_is_never_read(path: Path, left: bytes) -> None:
    CheckpointFile(path).write(b"1")
    path.with_name("hybrid.safetensors.unfinished").write_bytes(left)
    assert contents(path) == [b"1"]
    CheckpointFile(path).write(b"22")
    assert contents(path) == [b"22", b"1"]


def test_between_the_two_renames_the_previous_version_is_readable(path: Path) -> None:
    CheckpointFile(path).write(b"1")
    path.rename(path.with_name("hybrid.safetensors.before"))
    path.with_name("hybrid.safetensors.unfinished").write_bytes(b"22")
    assert contents(path) == [b"1"]


def test_a_full_disk_is_an_error_with_the_name_of_the_file(path: Path, full_disk: FullDisk) -> None:
    message = r"hybrid\.safetensors` cannot be written: File too large"
    with full_disk(100), pytest.raises(OutputError, match=message):
        CheckpointFile(path).write(b"1" * 10_000)


@pytest.mark.usefixtures("saved_every_epoch")
@pytest.mark.parametrize(
    ("model", "killed_after"),
    [("cosine", 1), *product(("hybrid", "mlp_twin", "quantum_only"), range(1, EPOCHS + 1))],
)
def test_a_training_resumes_after_its_process_was_killed(
    trial_data: TrialData, config: ExperimentConfig, path: Path, model: str, killed_after: int
) -> None:
    first: list[EpochReport] = []
    again: list[EpochReport] = []
    whole: list[EpochReport] = []

    def watch(report: EpochReport) -> None:
        first.append(report)
        if report.epoch == killed_after:
            raise Killed

    expected = train_model(config, model, trial_data, whole.append, checkpoint=CheckpointFile(path))
    at_the_end = path.read_bytes()
    killed = CheckpointFile(path.with_name("killed"))
    with pytest.raises(Killed):
        train_model(config, model, trial_data, watch, checkpoint=killed)
    torch.manual_seed(123)  # where another program would have left it
    trained = train_model(config, model, trial_data, again.append, checkpoint=killed)
    assert again == whole
    assert first == whole[:killed_after]
    assert (trained.validation, trained.best_epoch, trained.epochs) == (
        expected.validation,
        expected.best_epoch,
        expected.epochs,
    )
    assert next(killed.versions())[1] == at_the_end


@pytest.mark.usefixtures("saved_every_epoch")
@pytest.mark.parametrize("damage", ["cut", "altered", "gone"])
def test_a_training_resumes_from_the_previous_version_of_a_damaged_file(
    trial_data: TrialData, config: ExperimentConfig, path: Path, damage: str
) -> None:
    whole: list[EpochReport] = []
    again: list[EpochReport] = []
    train_model(config, "hybrid", trial_data, whole.append, checkpoint=CheckpointFile(path))
    at_the_end = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(at_the_end[:-9] if damage == "cut" else b"\0" + at_the_end[1:])
    train_model(config, "hybrid", trial_data, again.append, checkpoint=CheckpointFile(path))
    assert again == whole
    assert path.read_bytes() == at_the_end


@pytest.mark.usefixtures("saved_every_epoch")
def test_messages_name_the_skipped_version_the_reason_and_the_one_resumed_from(
    trial_data: TrialData, config: ExperimentConfig, path: Path
) -> None:
    messages: list[str] = []
    train_model(config, "mlp_twin", trial_data, checkpoint=CheckpointFile(path, messages.append))
    train_model(config, "mlp_twin", trial_data, checkpoint=CheckpointFile(path, messages.append))
    assert messages == []  # where all is well, nothing is said
    path.write_bytes(path.read_bytes()[:-9])
    train_model(config, "mlp_twin", trial_data, checkpoint=CheckpointFile(path, messages.append))
    why, outcome = messages
    assert why.startswith(f"`{path}` is skipped: The checkpoint (")
    assert "was cut off or altered" in why
    assert outcome == f"Resuming from `{path}.before`, after epoch {EPOCHS - 1}."


def test_a_training_without_a_readable_checkpoint_starts_again_with_a_message(
    trial_data: TrialData,
    config: ExperimentConfig,
    path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole: list[EpochReport] = []
    again: list[EpochReport] = []
    train_model(config, "hybrid", trial_data, whole.append)
    for _ in range(2):
        CheckpointFile(path).write(b"cut")
    train_model(config, "hybrid", trial_data, again.append, checkpoint=CheckpointFile(path))
    assert again == whole
    newest, before, outcome = caplog.messages  # where nobody listens, they are logged
    assert newest.startswith(f"`{path}` is skipped: The checkpoint (3 bytes) was cut off")
    assert before.startswith(f"`{path}.before` is skipped: ")
    assert outcome.startswith("Starting again from the first epoch")


def test_a_checkpoint_of_another_configuration_is_reported_before_a_new_start(
    trial_data: TrialData, config: ExperimentConfig, path: Path
) -> None:
    messages: list[str] = []
    train_model(config, "mlp_twin", trial_data, checkpoint=CheckpointFile(path))
    wider = override(config, {"mlp.hidden_layers": [9]})
    train_model(wider, "mlp_twin", trial_data, checkpoint=CheckpointFile(path, messages.append))
    assert messages
    assert all("The checkpoint is of another configuration: " in line for line in messages[:-1])
    assert messages[-1].startswith("Starting again from the first epoch")


@pytest.mark.parametrize("change", [{"seed": 99}, {"loss.temperature": 0.5}])
def test_a_checkpoint_with_other_settings_of_the_same_shape_is_not_resumed_from(
    trial_data: TrialData, config: ExperimentConfig, path: Path, change: dict[str, float]
) -> None:
    messages: list[str] = []
    train_model(config, "mlp_twin", trial_data, checkpoint=CheckpointFile(path))
    train_model(
        override(config, change),
        "mlp_twin",
        trial_data,
        checkpoint=CheckpointFile(path, messages.append),
    )
    assert all(
        "The checkpoint is of another training: its settings" in line for line in messages[:-1]
    )
    assert messages[-1].startswith("Starting again from the first epoch")


# What is written down how often.


@dataclass
class Clock:
    """A clock that is turned by hand."""

    now: float = 50.0

    def __call__(self) -> float:
        return self.now


def test_a_save_is_due_at_once_and_then_after_its_share_of_time() -> None:
    clock = Clock()
    throttle = SaveThrottle(0.1, clock)
    with throttle as due:
        assert due
        clock.now += 2.0
    for seconds, expected in ((19.0, False), (0.9, False), (0.2, True)):  # 2 s are 0.1 of 20 s
        clock.now += seconds
        with throttle as due:
            assert due == expected


def test_saves_take_at_most_their_share_of_the_time() -> None:
    clock = Clock()
    throttle = SaveThrottle(0.02, clock)
    spent, done = 0.0, 0
    for turn in range(2000):
        with throttle as due:
            if due:
                cost = 0.3 + turn % 3
                clock.now += cost
                spent, done = spent + cost, done + 1
        clock.now += 1.7  # an epoch
    assert done > 20
    assert spent <= 0.02 * (clock.now - 50.0) + 2.3


def test_a_save_without_cost_is_always_due() -> None:
    throttle = SaveThrottle(0.02, Clock())
    for _ in range(3):
        with throttle as due:
            assert due
