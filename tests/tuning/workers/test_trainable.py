from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import DivergedError
from quantum_rerank.training.checkpoint import read_checkpoint
from quantum_rerank.training.data_manager import TrialData
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.ranking import SPREAD, Validator
from quantum_rerank.training.trainer import EpochReport
from tuning.records import (
    CHECKPOINT,
    COST,
    EPOCH,
    FAILURE,
    FINAL,
    OBJECTIVE,
    PEAK_RSS_MB,
    SECONDS,
    TRAINING_SECONDS,
)
from tuning.reporting.tracking import logged_metrics
from tuning.workers import trainable
from tuning.workers.cost import Against, parameters
from tuning.workers.trainable import (
    DEATH_NOTE,
    Paced,
    TrialPlace,
    read_death_note,
    restored,
    timed,
    train,
    train_within,
)
from tuning.workers.trial_files import BEST_EPOCH, PROGRESS, TrialFiles

Build = Callable[..., ExperimentConfig]
EPOCHS = 5


class Killed(BaseException):
    """A worker's end, wherever it was."""


@dataclass
class Reports:
    """A reporter that writes down each epoch, and is killed after one of them."""

    killed_after: int = 0
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, metrics: dict[str, Any]) -> None:
        self.metrics.append(metrics)
        if metrics[EPOCH] == self.killed_after:
            raise Killed

    def without_costs(self) -> list[dict[str, Any]]:
        """All that does not depend on how fast the machine was."""
        costs = (TRAINING_SECONDS, SECONDS, PEAK_RSS_MB)
        return [{k: v for k, v in one.items() if k not in costs} for one in self.metrics]


@pytest.fixture
def files(tmp_path: Path) -> TrialFiles:
    return TrialFiles(str(tmp_path / "trials"))


@pytest.fixture
def place(files: TrialFiles) -> TrialPlace:
    return TrialPlace(files, 0)


@pytest.fixture
def config(small_config: Build) -> ExperimentConfig:
    """A training in which everything that draws or remembers is at work."""
    return small_config(
        {
            "training.max_epochs": EPOCHS,
            "warmup.steps": 3,
            "mlp.dropout": 0.3,
            "optimizer.mlp_lr": 0.05,
            "optimizer.schedule": "cosine",
        }
    )


@pytest.fixture
def saved_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is written down after every epoch, however long that takes."""
    monkeypatch.setattr(trainable, "_SAVING_SHARE", math.inf)


def weights(files: TrialFiles, number: int) -> bytes:
    return next(files.versions(number, BEST_EPOCH))


def test_every_epoch_is_reported_with_every_key(
    trial_data: TrialData, small_config: Build, place: TrialPlace
) -> None:
    reports = Reports()
    train(small_config(), trial_data, reports, place)
    assert [metrics[EPOCH] for metrics in reports.metrics] == [1, 2, 3]
    assert [metrics[FINAL] for metrics in reports.metrics] == [False, False, True]
    scores = [
        f"val_{role}{metric}"
        for role in ("", "seen_", "unseen_")
        for metric in ("ndcg@10", "mrr@10", "recall@100", "map")
    ]
    state = ["train_loss", "fusion_weight", "trained_fusion_weight", "learning_rate", CHECKPOINT]
    state.append(SPREAD)
    for metrics in reports.metrics:
        assert set(metrics) == {EPOCH, FINAL, OBJECTIVE, TRAINING_SECONDS, *state, *scores}
        assert all(math.isfinite(value) for value in logged_metrics(metrics).values())


def test_what_a_trial_costs_is_reported_with_every_epoch(
    trial_data: TrialData, small_config: Build, place: TrialPlace
) -> None:
    reports = Reports()
    train_within(64.0, lambda _: None, small_config(), trial_data, reports, place)
    seconds = [metrics[SECONDS] for metrics in reports.metrics]
    assert seconds == sorted(seconds)
    for metrics in reports.metrics:
        assert 10 < metrics[PEAK_RSS_MB] < 2**16
        assert metrics[TRAINING_SECONDS] <= metrics[SECONDS] + 0.01


def test_the_weights_on_disk_are_the_best_epoch_s_and_can_be_loaded(
    trial_data: TrialData, small_config: Build, place: TrialPlace
) -> None:
    reports = Reports()
    config = small_config({"training.max_epochs": 6, "optimizer.mlp_lr": 0.1})
    train(config, trial_data, reports, place)
    best = max(metrics[OBJECTIVE] for metrics in reports.metrics)
    first = next(m[EPOCH] for m in reports.metrics if m[OBJECTIVE] == best)
    assert reports.metrics[-1][CHECKPOINT] == first
    head, validation, loaded, epoch = read_checkpoint(weights(place.files, 0), "trial 0")
    assert (loaded, epoch, validation.objective) == (config, first, best)
    assert Validator(trial_data.seen, trial_data.unseen)(head) == validation


def test_the_weights_are_on_disk_before_their_epoch_is_reported(
    trial_data: TrialData, config: ExperimentConfig, place: TrialPlace
) -> None:
    def on_report(metrics: dict[str, Any]) -> None:
        epoch = read_checkpoint(weights(place.files, 0), "trial 0")[3]
        assert epoch == metrics[CHECKPOINT] <= metrics[EPOCH]

    train(config, trial_data, on_report, place)


def test_a_training_that_diverges_says_so(
    trial_data: TrialData, small_config: Build, place: TrialPlace
) -> None:
    config = small_config({"loss.name": "infonce", "loss.temperature": 1e-300})
    with pytest.raises(DivergedError, match="The loss became"):
        train(config, trial_data, Reports(), place)


# A worker that takes over from another.


@pytest.mark.usefixtures("saved_always")
@pytest.mark.parametrize("killed_after", range(1, EPOCHS + 1))
@pytest.mark.parametrize("number", [0, 7])
def test_a_training_goes_on_where_another_worker_was_killed(
    trial_data: TrialData,
    config: ExperimentConfig,
    files: TrialFiles,
    number: int,
    killed_after: int,
) -> None:
    """By the same trial, whose worker was lost; or by a later attempt at its configuration."""
    whole, first, second = Reports(), Reports(killed_after), Reports()
    train(config, trial_data, whole, TrialPlace(files, 99))
    with pytest.raises(Killed):
        train(config, trial_data, first, TrialPlace(files, 0))
    earlier = () if number == 0 else (0,)
    train(config, trial_data, second, TrialPlace(files, number, earlier))
    assert second.metrics[:killed_after] == first.metrics
    assert second.without_costs() == whole.without_costs()
    assert weights(files, number) == weights(files, 99)


def test_a_training_goes_on_however_seldom_it_was_written_down(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles
) -> None:
    whole, second = Reports(), Reports()
    train(config, trial_data, whole, TrialPlace(files, 99))
    with pytest.raises(Killed):
        train(config, trial_data, Reports(killed_after=4), TrialPlace(files, 0))
    train(config, trial_data, second, TrialPlace(files, 0))
    assert second.without_costs() == whole.without_costs()
    assert weights(files, 0) == weights(files, 99)


@pytest.mark.usefixtures("saved_always")
def test_a_training_may_be_killed_after_each_of_its_epochs(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles
) -> None:
    whole, last = Reports(), Reports()
    train(config, trial_data, whole, TrialPlace(files, 99))
    for attempt in range(EPOCHS):
        earlier = tuple(range(attempt))[::-1]
        with pytest.raises(Killed):
            train(config, trial_data, Reports(attempt + 1), TrialPlace(files, attempt, earlier))
    train(config, trial_data, last, TrialPlace(files, EPOCHS, tuple(range(EPOCHS))[::-1]))
    assert last.without_costs() == whole.without_costs()


@pytest.mark.usefixtures("saved_always")
def test_the_seconds_of_training_go_on_too(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles
) -> None:
    first, second = Reports(killed_after=2), Reports()
    with pytest.raises(Killed):
        train(config, trial_data, first, TrialPlace(files, 0))
    train(config, trial_data, second, TrialPlace(files, 0))
    seconds = [metrics[TRAINING_SECONDS] for metrics in second.metrics]
    assert seconds == sorted(seconds)
    assert seconds[:2] == [metrics[TRAINING_SECONDS] for metrics in first.metrics]
    assert seconds[-1] > seconds[1]


@pytest.mark.usefixtures("saved_always")
def test_a_later_attempt_s_own_progress_comes_before_that_of_earlier_ones(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles
) -> None:
    for number, earlier, epoch in ((0, (), 1), (3, (0,), 4)):
        with pytest.raises(Killed):
            train(config, trial_data, Reports(epoch), TrialPlace(files, number, earlier))
    reports = restored(make_trainer(config, trial_data), TrialPlace(files, 3, (0,)))
    assert [metrics[EPOCH] for metrics in reports] == [1, 2, 3, 4]


def cut(files: TrialFiles, number: int, older_too: bool) -> None:
    """Damage a trial's progress as a disk that was full, or a power cut, would."""
    newest, *older = list(files.versions(number, PROGRESS))
    files.remove_file(number, PROGRESS)
    for content in (*(c[:-1] if older_too else c for c in older), newest[: len(newest) // 2]):
        files.write(number, PROGRESS, content)


@pytest.mark.usefixtures("saved_always")
@pytest.mark.parametrize(("older_too", "left"), [(False, 2), (True, 0)])
def test_where_the_progress_was_cut_off_the_one_before_it_counts_or_the_start(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles, older_too: bool, left: int
) -> None:
    whole, second = Reports(), Reports()
    train(config, trial_data, whole, TrialPlace(files, 99))
    with pytest.raises(Killed):
        train(config, trial_data, Reports(killed_after=3), TrialPlace(files, 0))
    cut(files, 0, older_too)
    again = restored(make_trainer(config, trial_data), TrialPlace(files, 0))
    assert [metrics[EPOCH] for metrics in again] == [1, 2, 3][:left]
    train(config, trial_data, second, TrialPlace(files, 0))
    assert second.without_costs() == whole.without_costs()


@pytest.mark.usefixtures("saved_always")
def test_where_an_attempt_s_own_progress_was_cut_off_an_earlier_one_s_counts(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles
) -> None:
    with pytest.raises(Killed):
        train(config, trial_data, Reports(killed_after=2), TrialPlace(files, 0))
    files.write(4, PROGRESS, b"cut")
    again = restored(make_trainer(config, trial_data), TrialPlace(files, 4, (0,)))
    assert [metrics[EPOCH] for metrics in again] == [1, 2]


@pytest.mark.usefixtures("saved_always")
def test_the_progress_of_another_configuration_is_not_taken_up(
    trial_data: TrialData, config: ExperimentConfig, small_config: Build, files: TrialFiles
) -> None:
    train(small_config({"circuit.n_qubits": 3}), trial_data, Reports(), TrialPlace(files, 0))
    assert restored(make_trainer(config, trial_data), TrialPlace(files, 0)) == []


# What is written down how often.


@dataclass
class Clock:
    """A clock that is turned by hand."""

    now: float = 50.0

    def __call__(self) -> float:
        return self.now


def test_what_is_paced_is_done_at_once_and_then_waits_for_its_share() -> None:
    clock = Clock()
    paced = Paced(0.1, clock)
    with paced as due:
        assert due
        clock.now += 2.0
    for seconds, expected in ((19.0, False), (0.9, False), (0.2, True)):  # 2 s are 0.1 of 20 s
        clock.now += seconds
        with paced as due:
            assert due == expected


def test_what_is_paced_takes_up_at_most_its_share_of_the_time() -> None:
    clock = Clock()
    paced = Paced(0.02, clock)
    spent, done = 0.0, 0
    for turn in range(2000):
        with paced as due:
            if due:
                cost = 0.3 + turn % 3
                clock.now += cost
                spent, done = spent + cost, done + 1
        clock.now += 1.7  # an epoch
    assert done > 20
    assert spent <= 0.02 * (clock.now - 50.0) + 2.3


def test_what_costs_nothing_is_always_due() -> None:
    paced = Paced(0.02, Clock())
    for _ in range(3):
        with paced as due:
            assert due


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


# A worker that ends itself.


def test_a_note_of_a_worker_names_what_it_used_and_its_budget(files: TrialFiles) -> None:
    TrialPlace(files, 7).leave_death_note(3 * 2**30, memory_gb=2.0)
    assert read_death_note(files, 7) == {
        FAILURE: "oom: 3.00 GB used, budget 2 GB",
        PEAK_RSS_MB: 3072.0,
    }
    assert read_death_note(files, 8) == {}


@pytest.mark.parametrize("content", [b"", b'{"failure": "oo', b"\xff\xfe"])
def test_a_death_note_that_was_cut_off_counts_as_none(files: TrialFiles, content: bytes) -> None:
    files.write(3, DEATH_NOTE, content)
    assert read_death_note(files, 3) == {}


def test_a_death_note_before_one_that_was_cut_off_counts(files: TrialFiles) -> None:
    note = {FAILURE: "oom: 8.1 GB resident, budget 8 GB", PEAK_RSS_MB: 8294.4}
    files.write(3, DEATH_NOTE, json.dumps(note).encode())
    files.write(3, DEATH_NOTE, b'{"failure"')
    assert read_death_note(files, 3) == note


@pytest.mark.parametrize("against", ["parameters", "latency"])
def test_the_last_report_says_what_the_model_costs_if_that_is_asked(
    trial_data: TrialData, small_config: Build, place: TrialPlace, against: Against
) -> None:
    reports = Reports()
    train(small_config(), trial_data, reports, place, against)
    *before, last = reports.metrics
    assert all(COST not in metrics for metrics in before)
    assert last[COST] > 0
    if against == "parameters":
        head, *_ = read_checkpoint(weights(place.files, 0), "trial 0")
        assert last[COST] == parameters(head)


def test_a_cost_that_was_written_down_is_reported_again(
    trial_data: TrialData, small_config: Build, place: TrialPlace, saved_always: None
) -> None:
    first, again = Reports(killed_after=3), Reports()
    with pytest.raises(Killed):
        train(small_config(), trial_data, first, place, "parameters")
    train(small_config(), trial_data, again, place, "parameters")
    assert again.metrics[-1][COST] == first.metrics[-1][COST]
