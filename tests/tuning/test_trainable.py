from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import DivergedError
from quantum_rerank.training.checkpoint import load_checkpoint
from quantum_rerank.training.data_manager import TrialData
from quantum_rerank.training.ranking import Validator
from quantum_rerank.training.trainer import EpochReport
from tuning import trainable
from tuning.records import (
    EPOCH,
    FAILURE,
    FINAL,
    OBJECTIVE,
    PEAK_RSS_MB,
    TRAINING_SECONDS,
)
from tuning.tracking import logged_metrics
from tuning.trainable import (
    TrialLimits,
    leave_death_note,
    read_death_note,
    resident_bytes,
    timed,
    train,
)

Build = Callable[..., ExperimentConfig]


class Reports:
    """A reporter that writes down each epoch and copies its checkpoint, as Ray does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: list[dict[str, Any]] = []
        self.kept: list[int] = []

    def __call__(self, metrics: dict[str, Any], checkpoint: Path | None) -> None:
        self.metrics.append(metrics)
        if checkpoint:
            shutil.copytree(checkpoint, self.folder / str(metrics[EPOCH]))
            self.kept.append(metrics[EPOCH])


def test_every_epoch_is_reported_with_every_key(
    trial_data: TrialData, small_config: Build, tmp_path: Path
) -> None:
    reports = Reports(tmp_path / "kept")
    train(small_config(), trial_data, reports)
    assert [metrics[EPOCH] for metrics in reports.metrics] == [1, 2, 3]
    assert [metrics[FINAL] for metrics in reports.metrics] == [False, False, True]
    scores = [
        f"val_{role}{metric}"
        for role in ("", "seen_", "unseen_")
        for metric in ("ndcg@10", "mrr@10", "recall@100", "map")
    ]
    state = ["train_loss", "fusion_weight", "trained_fusion_weight", "learning_rate"]
    for metrics in reports.metrics:
        assert set(metrics) == {EPOCH, FINAL, OBJECTIVE, TRAINING_SECONDS, *state, *scores}
        assert all(math.isfinite(value) for value in logged_metrics(metrics).values())


def test_the_last_checkpoint_is_the_best_epoch_and_can_be_loaded(
    trial_data: TrialData, small_config: Build, tmp_path: Path
) -> None:
    reports = Reports(tmp_path / "kept")
    config = small_config({"training.max_epochs": 6, "optimizer.mlp_lr": 0.1})
    train(config, trial_data, reports)
    best = max(metrics[OBJECTIVE] for metrics in reports.metrics)
    last = reports.kept[-1]
    assert next(m[EPOCH] for m in reports.metrics if m[OBJECTIVE] == best) == last
    head, validation, loaded, epoch = load_checkpoint(tmp_path / "kept" / str(last))
    assert (loaded, epoch, validation.objective) == (config, last, best)
    assert Validator(trial_data.seen, trial_data.unseen)(head) == validation


def test_a_training_that_diverges_says_so(
    trial_data: TrialData, small_config: Build, tmp_path: Path
) -> None:
    config = small_config({"loss.name": "infonce", "loss.temperature": 1e-300})
    with pytest.raises(DivergedError, match="The loss became"):
        train(config, trial_data, Reports(tmp_path))


def test_a_death_note_is_read_back(tmp_path: Path) -> None:
    note = {FAILURE: "oom: 8.1 GB resident, budget 8 GB", PEAK_RSS_MB: 8294.4}
    (tmp_path / "00003.json").write_text(json.dumps(note))
    assert read_death_note(tmp_path, 3) == note
    assert read_death_note(tmp_path, 4) == {}


@pytest.mark.parametrize("content", [b"", b'{"failure": "oo', b"\xff\xfe"])
def test_a_death_note_that_was_cut_off_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "00003.json").write_bytes(content)
    assert read_death_note(tmp_path, 3) == {}


def test_a_process_knows_its_resident_memory() -> None:
    assert 10 * 2**20 < resident_bytes() < 2**40


def test_a_note_of_a_worker_names_what_it_used_and_its_budget(tmp_path: Path) -> None:
    leave_death_note(TrialLimits(2.0, tmp_path), 7, 3 * 2**30)
    assert read_death_note(tmp_path, 7) == {
        FAILURE: "oom: 3.00 GB resident, budget 2 GB",
        PEAK_RSS_MB: 3072.0,
    }


def test_training_seconds_leave_out_what_the_caller_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(trainable.time, "monotonic", lambda: now[0])

    def epochs() -> Iterator[EpochReport]:
        for epoch in (1, 2):
            now[0] += 3.0
            yield EpochReport(epoch, {}, improved=True, final=epoch == 2)

    seconds = []
    for _, spent in timed(epochs()):
        seconds.append(spent)
        now[0] += 100.0
    assert seconds == [3.0, 6.0]
