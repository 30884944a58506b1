from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.errors import DivergedError
from quantum_rerank.training.best_model import read_best_model
from quantum_rerank.training.checkpoint import checkpoint_bytes, restore
from quantum_rerank.training.gradients import CIRCUIT_NORM, CIRCUIT_VARIANCE, MLP_NORM
from quantum_rerank.training.hybrid_trainer import make_descendant, make_trainer
from quantum_rerank.training.serialization import dumps, loads
from quantum_rerank.training.trainer import EpochReport, Trainer
from quantum_rerank.training.trial_data import TrialData
from quantum_rerank.training.validation import SPREAD, Validator
from tests.conftest import FullDisk
from tests.tuning.reasons import failure, recorded
from tuning.records import (
    CHECKPOINT,
    COST,
    EPOCH,
    EPOCH_OBJECTIVE,
    FAILURE,
    FINAL,
    METADATA,
    OBJECTIVE,
    PEAK_RSS_MB,
    RESTARTED,
    SECONDS,
    TRAINING_SECONDS,
    WARNING,
    Donor,
    TrialEnd,
    TrialMetadata,
    TrialOutcome,
)
from tuning.reporting.tracking import logged_metrics
from tuning.space import Space
from tuning.study.death_note import DEATH_NOTE, DeathNote, read_death_note
from tuning.study.trial_files import BEST_EPOCH, DONORS, PROGRESS, TrialFiles, donated
from tuning.workers import training
from tuning.workers.cost import CostName
from tuning.workers.trainable import TrialLimits, run_trial
from tuning.workers.training import TrialTask, cloned, timed
from tuning.workers.trial_context import TrialContext

Build = Callable[..., ExperimentConfig]
EPOCHS = 5


def context(
    files: TrialFiles,
    number: int,
    earlier: Sequence[int] = (),
    donor: tuple[int, int] | None = None,
    **more: Any,
) -> TrialContext:
    """The surroundings of a trial with some attempts before it."""
    origin = Donor(*donor) if donor else None
    return TrialContext(files, TrialMetadata(number, tuple(earlier), donor=origin), **more)


def train(
    config: ExperimentConfig,
    data: TrialData,
    report: training.Reporter,
    place: TrialContext,
    cost: CostName | None = None,
) -> None:
    training.train(TrialTask(config, data, place, cost), report)


def restored(
    trainer: Trainer, place: TrialContext, config: ExperimentConfig, data: TrialData
) -> tuple[list[dict[str, Any]], str]:
    return training.restored(trainer, TrialTask(config, data, place))


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
def place(files: TrialFiles) -> TrialContext:
    return context(files, 0)


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
    monkeypatch.setattr(training, "SAVING_SHARE", math.inf)


def weights(files: TrialFiles, number: int) -> bytes:
    return next(files.versions(number, BEST_EPOCH))


def trained(files: TrialFiles, number: int) -> bytes:
    """All of a trial's checkpoint but which trial it is of."""
    record = loads(weights(files, number), "the checkpoint")
    return dumps({key: value for key, value in record.items() if key != "made_by"})


def test_every_epoch_is_reported_with_every_key(
    trial_data: TrialData, small_config: Build, place: TrialContext
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
    state += [EPOCH_OBJECTIVE, SPREAD, MLP_NORM, CIRCUIT_NORM, CIRCUIT_VARIANCE]
    for metrics in reports.metrics:
        assert set(metrics) == {EPOCH, FINAL, OBJECTIVE, TRAINING_SECONDS, *state, *scores}
        assert all(math.isfinite(value) for value in logged_metrics(metrics).values())


def test_what_is_wrong_with_a_training_is_reported_with_its_epochs(
    trial_data: TrialData, small_config: Build, place: TrialContext
) -> None:
    reports = Reports()
    flat = {"loss.name": "infonce", "loss.temperature": 1e6}
    train(small_config(flat), trial_data, reports, place)
    assert len(reports.metrics) == 3
    assert all("gradients vanish" in metrics[WARNING] for metrics in reports.metrics)


def test_what_a_trial_costs_is_reported_with_every_epoch(
    trial_data: TrialData, small_config: Build, place: TrialContext
) -> None:
    reports = Reports()
    task = TrialTask(small_config(), trial_data, place)
    training.train_within(64.0, lambda _: None, task, reports)
    seconds = [metrics[SECONDS] for metrics in reports.metrics]
    assert seconds == sorted(seconds)
    for metrics in reports.metrics:
        assert 10 < metrics[PEAK_RSS_MB] < 2**16
        assert metrics[TRAINING_SECONDS] <= metrics[SECONDS] + 0.01


def test_the_weights_on_disk_are_the_best_epoch_s_and_can_be_loaded(
    trial_data: TrialData, small_config: Build, place: TrialContext
) -> None:
    reports = Reports()
    config = small_config({"training.max_epochs": 6, "optimizer.mlp_lr": 0.1})
    train(config, trial_data, reports, place)
    best = max(metrics[OBJECTIVE] for metrics in reports.metrics)
    first = next(m[EPOCH] for m in reports.metrics if m[OBJECTIVE] == best)
    assert reports.metrics[-1][CHECKPOINT] == first
    head, validation, loaded, epoch = read_best_model(weights(place.files, 0), "trial 0")
    assert (loaded, epoch, validation.objective) == (config, first, best)
    assert (
        Validator(trial_data.validation_in_domain, trial_data.validation_out_of_domain)(head)
        == validation
    )


def test_the_weights_are_on_disk_before_their_epoch_is_reported(
    trial_data: TrialData, config: ExperimentConfig, place: TrialContext
) -> None:
    def on_report(metrics: dict[str, Any]) -> None:
        epoch = read_best_model(weights(place.files, 0), "trial 0")[3]
        assert epoch == metrics[CHECKPOINT] <= metrics[EPOCH]

    train(config, trial_data, on_report, place)


def test_a_training_that_diverges_says_so(
    trial_data: TrialData, small_config: Build, place: TrialContext
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
    train(config, trial_data, whole, context(files, 99))
    with pytest.raises(Killed):
        train(config, trial_data, first, context(files, 0))
    earlier = () if number == 0 else (0,)
    train(config, trial_data, second, context(files, number, earlier))
    assert second.metrics[:killed_after] == first.metrics
    assert second.without_costs() == whole.without_costs()
    assert trained(files, number) == trained(files, 99)


def test_a_training_goes_on_however_seldom_it_was_written_down(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles
) -> None:
    whole, second = Reports(), Reports()
    train(config, trial_data, whole, context(files, 99))
    with pytest.raises(Killed):
        train(config, trial_data, Reports(killed_after=4), context(files, 0))
    train(config, trial_data, second, context(files, 0))
    assert second.without_costs() == whole.without_costs()
    assert trained(files, 0) == trained(files, 99)


@pytest.mark.usefixtures("saved_always")
def test_a_training_may_be_killed_after_each_of_its_epochs(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles
) -> None:
    whole, last = Reports(), Reports()
    train(config, trial_data, whole, context(files, 99))
    for attempt in range(EPOCHS):
        earlier = tuple(range(attempt))[::-1]
        with pytest.raises(Killed):
            train(config, trial_data, Reports(attempt + 1), context(files, attempt, earlier))
    train(config, trial_data, last, context(files, EPOCHS, tuple(range(EPOCHS))[::-1]))
    assert last.without_costs() == whole.without_costs()


@pytest.mark.usefixtures("saved_always")
def test_the_seconds_of_training_go_on_too(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles
) -> None:
    first, second = Reports(killed_after=2), Reports()
    with pytest.raises(Killed):
        train(config, trial_data, first, context(files, 0))
    train(config, trial_data, second, context(files, 0))
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
            train(config, trial_data, Reports(epoch), context(files, number, earlier))
    reports, unreadable = restored(
        make_trainer(config, trial_data), context(files, 3, (0,)), config, trial_data
    )
    assert [metrics[EPOCH] for metrics in reports] == [1, 2, 3, 4]
    assert not unreadable


def cut(files: TrialFiles, number: int, older_too: bool) -> None:
    """Damage a trial's progress as a disk that was full, or a power cut, would."""
    newest, *older = list(files.versions(number, PROGRESS))
    files.remove_file(number, PROGRESS)
    for content in (*(c[:-1] if older_too else c for c in older), newest[: len(newest) // 2]):
        files.write(number, PROGRESS, content)


@pytest.mark.usefixtures("saved_always")
@pytest.mark.parametrize(("older_too", "left"), [(False, 2), (True, 0)])
def test_where_the_progress_was_cut_off_the_one_before_it_counts_or_the_start_and_it_is_said(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles, older_too: bool, left: int
) -> None:
    whole, second = Reports(), Reports()
    train(config, trial_data, whole, context(files, 99))
    with pytest.raises(Killed):
        train(config, trial_data, Reports(killed_after=3), context(files, 0))
    cut(files, 0, older_too)
    again, unreadable = restored(
        make_trainer(config, trial_data), context(files, 0), config, trial_data
    )
    assert [metrics[EPOCH] for metrics in again] == [1, 2, 3][:left]
    assert "was cut off or altered" in unreadable
    train(config, trial_data, second, context(files, 0))
    assert second.metrics[left].pop(WARNING) == unreadable
    assert second.without_costs() == whole.without_costs()


@pytest.mark.usefixtures("saved_always")
def test_where_an_attempt_s_own_progress_was_cut_off_an_earlier_one_s_counts(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles
) -> None:
    with pytest.raises(Killed):
        train(config, trial_data, Reports(killed_after=2), context(files, 0))
    files.write(4, PROGRESS, b"cut")
    again, _ = restored(
        make_trainer(config, trial_data), context(files, 4, (0,)), config, trial_data
    )
    assert [metrics[EPOCH] for metrics in again] == [1, 2]


@pytest.mark.usefixtures("saved_always")
@pytest.mark.parametrize(
    ("history", "reason"),
    [
        (None, "`history` is None"),
        ([], r"`history` is \[\]"),
        ([{"epoch": 1}], "a report of its history is not complete"),
        ([{"epoch": [1]}], r"`history.0.epoch.* is \[1\]"),
    ],
)
def test_a_checkpoint_with_an_altered_history_is_passed_over(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles, history: Any, reason: str
) -> None:
    with pytest.raises(Killed):
        train(config, trial_data, Reports(killed_after=3), context(files, 0))
    content = loads(next(files.versions(0, PROGRESS)), "the checkpoint")
    record = json.loads(content["record"]) | {"history": history}
    files.write(0, PROGRESS, dumps(content | {"record": json.dumps(record)}))
    again, unreadable = restored(
        make_trainer(config, trial_data), context(files, 0), config, trial_data
    )
    assert [metrics[EPOCH] for metrics in again] == [1, 2, 3]  # of the version before it
    assert re.search(f"later progress was lost: .*{reason}", unreadable)


@pytest.mark.usefixtures("saved_always")
def test_the_progress_of_another_configuration_is_not_taken_up(
    trial_data: TrialData, config: ExperimentConfig, small_config: Build, files: TrialFiles
) -> None:
    train(small_config({"circuit.n_qubits": 3}), trial_data, Reports(), context(files, 0))
    assert (
        restored(make_trainer(config, trial_data), context(files, 0), config, trial_data)[0] == []
    )


@pytest.mark.usefixtures("saved_always")
@pytest.mark.parametrize(
    ("place", "why"),
    [
        ({"number": 1}, "its trial is 0, but 1 is expected"),
        ({"number": 1, "earlier": (0,)}, "its trial is 0, but 1 is expected"),
        ({"number": 0, "run": "another"}, "its run is empty, but another is expected"),
        ({"number": 0, "earlier": (3,)}, "its configuration is 0, but 3 is expected"),
    ],
)
def test_the_progress_of_another_trial_is_not_gone_on_from_though_it_would_fit(
    trial_data: TrialData,
    config: ExperimentConfig,
    files: TrialFiles,
    place: dict[str, Any],
    why: str,
) -> None:
    train(config, trial_data, Reports(), context(files, 0))
    number = place["number"]
    content = next(files.versions(0, PROGRESS))
    files.remove(0)
    files.write(number, PROGRESS, content)
    trainer = make_trainer(config, trial_data)
    assert restored(trainer, context(files, **place), config, trial_data)[0] == []
    again = Reports()
    train(config, trial_data, again, context(files, **place))
    assert (
        f"later progress was lost: The checkpoint is of another training: {why}"
        in (again.metrics[0][WARNING])
    )


@pytest.mark.usefixtures("saved_always")
def test_the_progress_of_other_numbers_is_not_gone_on_from_though_it_would_fit(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles
) -> None:
    place = context(files, 0)
    train(override(config, {"seed": 99}), trial_data, Reports(), place)
    history, why = restored(make_trainer(config, trial_data), place, config, trial_data)
    assert history == []
    assert "its settings is" in why


# A clone.

COMPARED_AT = range(2, EPOCHS, 2)


@pytest.fixture
def clone_config(config: ExperimentConfig) -> ExperimentConfig:
    return override(config, {"optimizer.mlp_lr": 0.01, "mlp.dropout": 0.1, "seed": 12})


@pytest.fixture
def donor(trial_data: TrialData, config: ExperimentConfig, files: TrialFiles) -> Reports:
    """Trial 0, which kept its epochs 2 and 4 for others."""
    reports = Reports()
    train(config, trial_data, reports, context(files, 0, donates_at=COMPARED_AT))
    return reports


def left(files: TrialFiles, number: int) -> list[int]:
    return [
        e for e in range(1, EPOCHS + 1) if any(files.below(DONORS).versions(number, donated(e)))
    ]


def test_a_member_keeps_its_epochs_of_comparison_for_others_however_seldom_it_saves(
    files: TrialFiles, donor: Reports
) -> None:
    assert left(files, 0) == [2, 4]


def test_what_a_later_attempt_keeps_is_kept_under_its_configuration(
    trial_data: TrialData, config: ExperimentConfig, files: TrialFiles, donor: Reports
) -> None:
    content = next(files.below(DONORS).versions(0, donated(4)))
    files.below(DONORS).remove(0)
    files.remove_file(0, PROGRESS)
    train(config, trial_data, Reports(), context(files, 9, (7, 0), donates_at=COMPARED_AT))
    assert (left(files, 0), left(files, 9)) == ([2, 4], [])
    again = next(files.below(DONORS).versions(0, donated(4)))
    costs = restored_without_costs(config, trial_data, content)
    assert restored_without_costs(config, trial_data, again) == costs


def restored_without_costs(
    config: ExperimentConfig, data: TrialData, content: bytes
) -> tuple[Any, bytes]:
    trainer = make_trainer(config, data)
    record = restore(trainer, content)
    history = Reports(metrics=record["history"]).without_costs()
    return history, checkpoint_bytes(trainer, {})


def test_a_clone_starts_with_its_donor_s_weights_bit_for_bit_and_reports_its_own_epochs(
    trial_data: TrialData,
    config: ExperimentConfig,
    clone_config: ExperimentConfig,
    files: TrialFiles,
    donor: Reports,
) -> None:
    there, here = make_trainer(config, trial_data), make_trainer(clone_config, trial_data)
    restore(there, next(files.below(DONORS).versions(0, donated(2))))
    assert cloned(here, context(files, 5, donor=(0, 2))) == {}
    theirs, ours = there.model.state_dict(), here.model.state_dict()
    assert theirs.keys() == ours.keys()
    assert all(theirs[name].equal(ours[name]) for name in theirs)
    reports = Reports()
    train(clone_config, trial_data, reports, context(files, 5, donor=(0, 2)))
    assert [metrics[EPOCH] for metrics in reports.metrics] == [3, 4, 5]
    assert all(RESTARTED not in metrics for metrics in reports.metrics)
    assert read_best_model(weights(files, 5), "trial 5")[3] >= 3
    # What it has cost is its own.
    assert reports.metrics[-1][TRAINING_SECONDS] < donor.metrics[-1][TRAINING_SECONDS] * 10


def test_a_clone_is_trained_again_from_its_descent(
    trial_data: TrialData,
    config: ExperimentConfig,
    clone_config: ExperimentConfig,
    files: TrialFiles,
    donor: Reports,
) -> None:
    first, second = Reports(), Reports()
    place = context(files, 5, donor=(0, 2), donates_at=COMPARED_AT)
    train(clone_config, trial_data, first, place)
    third = override(clone_config, {"loss.name": "infonce", "loss.temperature": 0.1})
    train(third, trial_data, second, context(files, 6, donor=(5, 4)))
    again = make_descendant(third, [(config, 2), (clone_config, 4)], trial_data)
    objectives = [(report.epoch, report.metrics[OBJECTIVE]) for report in again.epochs()]
    assert objectives == [(metrics[EPOCH], metrics[OBJECTIVE]) for metrics in second.metrics]


@pytest.mark.usefixtures("saved_always")
def test_a_clone_whose_worker_was_lost_goes_on_from_its_own_progress(
    trial_data: TrialData, clone_config: ExperimentConfig, files: TrialFiles, donor: Reports
) -> None:
    whole, second = Reports(), Reports()
    train(clone_config, trial_data, whole, context(files, 99, donor=(0, 2)))
    with pytest.raises(Killed):
        train(clone_config, trial_data, Reports(killed_after=4), context(files, 5, donor=(0, 2)))
    files.below(DONORS).remove(0)  # which nobody needs by now
    train(clone_config, trial_data, second, context(files, 7, (5,), donor=(0, 2)))
    assert second.without_costs() == whole.without_costs()


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "trial 0 left nothing of epoch 2"), (b"cut", "was cut off or alter")],
)
def test_a_clone_whose_donor_left_nothing_whole_starts_over_and_says_so(
    trial_data: TrialData,
    clone_config: ExperimentConfig,
    files: TrialFiles,
    content: bytes | None,
    why: str,
) -> None:
    if content is not None:
        files.below(DONORS).write(0, donated(2), content)
    alone, reports = Reports(), Reports()
    train(clone_config, trial_data, alone, context(files, 99))
    train(clone_config, trial_data, reports, context(files, 5, donor=(0, 2)))
    assert all(why in metrics.pop(RESTARTED) for metrics in reports.metrics)
    assert reports.without_costs() == alone.without_costs()


@pytest.mark.parametrize(
    ("donor_of", "place", "why"),
    [
        ((0, 4), {}, "its epoch is 2, but 4 is expected"),
        ((3, 2), {}, "its configuration is 0, but 3 is expected"),
        ((0, 2), {"run": "another"}, "its run is empty, but another is expected"),
    ],
)
def test_a_clone_does_not_start_from_another_training_than_its_donor_s(
    trial_data: TrialData,
    clone_config: ExperimentConfig,
    files: TrialFiles,
    donor: Reports,
    donor_of: tuple[int, int],
    place: dict[str, str],
    why: str,
) -> None:
    donors = files.below(DONORS)
    content = next(donors.versions(0, donated(2)))
    donors.remove_file(donor_of[0], donated(donor_of[1]))
    donors.write(donor_of[0], donated(donor_of[1]), content)
    clone = context(files, 5, donor=donor_of, **place)
    assert why in cloned(make_trainer(clone_config, trial_data), clone)[RESTARTED]


def test_of_a_donor_s_file_the_version_before_one_that_was_cut_off_counts(
    trial_data: TrialData, clone_config: ExperimentConfig, files: TrialFiles, donor: Reports
) -> None:
    files.below(DONORS).write(0, donated(2), b"cut")
    assert cloned(make_trainer(clone_config, trial_data), context(files, 5, donor=(0, 2))) == {}


def test_training_seconds_leave_out_what_the_caller_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])

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
    context(files, 7).leave_death_note(3 * 2**30, memory_gb=2.0)
    assert read_death_note(files, 7) == DeathNote(
        failure("oom: 3.00 GiB used, budget 2 GiB"), 3072.0
    )
    assert read_death_note(files, 8) is None


@pytest.mark.parametrize("content", [b"", b'{"failure": "oo', b"\xff\xfe"])
def test_a_death_note_that_was_cut_off_counts_as_none(files: TrialFiles, content: bytes) -> None:
    files.write(3, DEATH_NOTE, content)
    assert read_death_note(files, 3) is None


def test_a_death_note_before_one_that_was_cut_off_counts(files: TrialFiles) -> None:
    text = "oom: 8.1 GB resident, budget 8 GB"
    note = {FAILURE: recorded(text), PEAK_RSS_MB: 8294.4}
    files.write(3, DEATH_NOTE, json.dumps(note).encode())
    files.write(3, DEATH_NOTE, b'{"failure"')
    assert read_death_note(files, 3) == DeathNote(failure(text), 8294.4)


def test_a_full_disk_is_the_reason_of_a_trial_that_could_not_write(
    tmp_path: Path,
    tiny_space: Space,
    trial_data: TrialData,
    monkeypatch: pytest.MonkeyPatch,
    full_disk: FullDisk,
) -> None:
    """Not its configuration's fault: it is continued later."""
    root, reports = tmp_path / "trials", list[dict[str, Any]]()
    monkeypatch.setattr("ray.tune.report", reports.append)
    params = {METADATA: TrialMetadata(number=0)}
    with full_disk(10):
        run_trial(params, tiny_space, trial_data, TrialLimits(8.0), str(root))
    assert str(reports[-1][FAILURE]).startswith(f"storage: `{root}` cannot be used: ")
    assert "File too large" in str(reports[-1][FAILURE])
    assert TrialEnd(0, TrialOutcome.FAILED, 1, None, reports[-1][FAILURE]).is_cut_short


def test_a_trial_that_fails_after_it_let_others_go_first_costs_what_it_took(
    tmp_path: Path, tiny_space: Space, trial_data: TrialData, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = list[dict[str, Any]]()

    def report(metrics: dict[str, Any]) -> None:
        reports.append(metrics)
        if metrics[EPOCH] == 2 and FAILURE not in metrics:
            raise RuntimeError("a fault")

    monkeypatch.setattr("ray.tune.report", report)
    params = {METADATA: TrialMetadata(number=0, spent_seconds=100.0)}
    started = time.monotonic()
    run_trial(params, tiny_space, trial_data, TrialLimits(8.0), str(tmp_path))
    passed = time.monotonic() - started
    *_, last, failed = reports
    assert str(failed[FAILURE]) == "error: RuntimeError: a fault"
    assert failed[SECONDS] == last[SECONDS]
    assert 100.0 < last[SECONDS] <= 100.0 + passed + 0.01  # rounded


@pytest.mark.parametrize("against", ["parameters", "latency"])
def test_the_last_report_says_what_the_model_costs_if_that_is_asked(
    trial_data: TrialData, small_config: Build, place: TrialContext, against: CostName
) -> None:
    reports = Reports()
    train(small_config(), trial_data, reports, place, against)
    *before, last = reports.metrics
    assert all(COST not in metrics for metrics in before)
    assert last[COST] > 0
    if against == "parameters":
        head, *_ = read_best_model(weights(place.files, 0), "trial 0")
        assert last[COST] == head.n_trained


def test_a_cost_that_was_written_down_is_reported_again(
    trial_data: TrialData, small_config: Build, place: TrialContext, saved_always: None
) -> None:
    first, again = Reports(killed_after=3), Reports()
    with pytest.raises(Killed):
        train(small_config(), trial_data, first, place, "parameters")
    train(small_config(), trial_data, again, place, "parameters")
    assert again.metrics[-1][COST] == first.metrics[-1][COST]
