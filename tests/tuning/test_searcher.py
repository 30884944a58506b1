from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from quantum_rerank.config import ExperimentConfig
from tuning.best_trial import load_study, study_storage
from tuning.records import (
    CHECKPOINT,
    EPOCH,
    FAILURE,
    FINAL,
    NUMBER,
    OBJECTIVE,
    PEAK_RSS_MB,
    SECONDS,
    TrialEnd,
)
from tuning.searcher import START_POINT, TruthfulSearch, make_sampler, open_study, trial_folder
from tuning.space import Space

NAN = float("nan")


@dataclass
class Recorder:
    """A listener that writes down what it hears."""

    started: dict[int, ExperimentConfig] = field(default_factory=dict)
    reported: list[tuple[int, int, float]] = field(default_factory=list)
    ended: list[TrialEnd] = field(default_factory=list)

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        self.started[number] = config

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        self.reported.append((number, epoch, metrics[OBJECTIVE]))

    def trial_ended(self, end: TrialEnd) -> None:
        self.ended.append(end)


@dataclass
class Bench:
    """A search without Ray around it: the test plays Ray's part."""

    search: TruthfulSearch
    folder: Path
    heard: Recorder
    death_notes: dict[int, dict[str, Any]]
    why: list[str]

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """What the study on disk says, read anew."""
        return load_study(self.folder).get_trials(deepcopy=False)

    def asked(self) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self.trials() if trial.state != TrialState.WAITING]


@pytest.fixture
def bench(tmp_path: Path, tiny_space: Space) -> Bench:
    storage = study_storage(tmp_path)
    open_study(storage, tiny_space)
    heard, notes, why = Recorder(), dict[int, dict[str, Any]](), list[str]()
    search = TruthfulSearch(
        tiny_space,
        storage,
        heard,
        lambda: why[-1] if why else "",
        lambda number: notes.get(number, {}),
        tmp_path,
    )
    return Bench(search, tmp_path, heard, notes, why)


def result(epoch: int, objective: float, **more: Any) -> dict[str, Any]:
    return {EPOCH: epoch, OBJECTIVE: objective, FINAL: False, **more}


def failure(epoch: int, reason: str) -> dict[str, Any]:
    return {EPOCH: epoch, OBJECTIVE: NAN, FAILURE: reason}


def test_a_trial_that_reached_its_end_is_complete_with_its_value(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3))
    bench.search.on_trial_result("a", result(2, 0.4))
    bench.search.on_trial_complete("a", result(3, 0.5, **{FINAL: True}))
    (trial,) = bench.trials()
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)
    assert trial.intermediate_values == {1: 0.3, 2: 0.4, 3: 0.5}
    assert FAILURE not in trial.user_attrs


def test_a_trial_that_the_scheduler_stopped_is_pruned_at_its_step(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3))
    bench.search.on_trial_complete("a", result(2, 0.2))
    (trial,) = bench.trials()
    assert trial.state == TrialState.PRUNED
    assert trial.last_step == 2
    assert trial.intermediate_values == {1: 0.3, 2: 0.2}
    assert trial.value == 0.2
    assert FAILURE not in trial.user_attrs


def test_a_stopping_result_that_was_already_heard_counts_once(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3))
    bench.search.on_trial_complete("a", result(1, 0.3))
    assert bench.heard.reported == [(0, 1, 0.3)]
    assert bench.trials()[0].intermediate_values == {1: 0.3}


@pytest.mark.parametrize("value", [NAN, float("inf"), float("-inf")])
def test_a_trial_without_a_finite_objective_fails_and_says_so(bench: Bench, value: float) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3))
    bench.search.on_trial_complete("a", result(2, value, **{FINAL: True}))
    (trial,) = bench.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[FAILURE].startswith("nan:")
    assert trial.intermediate_values == {1: 0.3}
    assert bench.heard.ended[0].objective is None


def test_a_trial_that_reported_its_failure_fails_with_that_reason(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3))
    bench.search.on_trial_complete("a", failure(1, "error: ValueError: no such thing"))
    (trial,) = bench.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[FAILURE] == "error: ValueError: no such thing"
    (end,) = bench.heard.ended
    assert (end.state, end.epoch, end.objective) == ("failed", 1, None)
    assert end.reason == "error: ValueError: no such thing"


def test_a_failure_before_the_first_epoch_is_kept_too(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_complete("a", failure(0, "nan: the loss became nan"))
    assert bench.trials()[0].user_attrs[FAILURE] == "nan: the loss became nan"
    assert bench.heard.reported == []


def test_a_worker_that_died_of_memory_fails_with_what_its_note_says(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3))
    bench.death_notes[0] = {FAILURE: "oom: 8.1 GB resident, budget 8 GB", PEAK_RSS_MB: 8294.4}
    bench.search.on_trial_complete("a", error=True)
    (trial,) = bench.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs == {
        START_POINT: 0,
        FAILURE: "oom: 8.1 GB resident, budget 8 GB",
        PEAK_RSS_MB: 8294.4,
    }


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_worker_that_died_without_a_note_fails_all_the_same(bench: Bench, epochs: int) -> None:
    bench.search.suggest("a")
    for epoch in range(epochs):
        bench.search.on_trial_result("a", result(epoch + 1, 0.3))
    bench.search.on_trial_complete("a", error=True)
    (trial,) = bench.trials()
    assert (trial.state, trial.user_attrs[FAILURE]) == (TrialState.FAIL, "worker died")
    assert bench.heard.ended[0].epoch == epochs


def test_a_trial_that_ended_without_a_word_fails(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_complete("a", {})
    (trial,) = bench.trials()
    assert (trial.state, trial.user_attrs[FAILURE]) == (TrialState.FAIL, "ended without a report")


def test_a_trial_that_is_cut_short_by_the_end_is_interrupted_and_not_pruned(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.why.append("time budget of 24 h")
    bench.search.on_trial_complete("a", result(1, 0.3))
    (trial,) = bench.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[FAILURE] == "interrupted: time budget of 24 h"
    assert bench.heard.ended[0].objective == 0.3


def test_a_trial_that_reaches_its_end_while_the_search_ends_is_complete(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.why.append("Ctrl-C")
    bench.search.on_trial_complete("a", result(3, 0.3, **{FINAL: True}))
    assert bench.trials()[0].state == TrialState.COMPLETE


def test_nothing_is_left_running_however_trials_end(bench: Bench) -> None:
    endings: list[Callable[[str], None]] = [
        lambda name: bench.search.on_trial_complete(name, result(3, 0.5, **{FINAL: True})),
        lambda name: bench.search.on_trial_complete(name, result(1, 0.1)),
        lambda name: bench.search.on_trial_complete(name, result(1, NAN)),
        lambda name: bench.search.on_trial_complete(name, failure(1, "error: KeyError: 'x'")),
        lambda name: bench.search.on_trial_complete(name, error=True),
        lambda name: bench.search.on_trial_complete(name, result(1, 0.3), error=True),
        bench.search.on_trial_complete,
    ]
    names = [f"trial{position}" for position in range(len(endings))]
    for name in names:
        bench.search.suggest(name)
    for name, end in zip(names, endings, strict=True):
        end(name)
    states = [trial.state.name for trial in bench.trials()]
    assert states == ["COMPLETE", "PRUNED", "FAIL", "FAIL", "FAIL", "FAIL", "FAIL"]
    assert [end.number for end in bench.heard.ended] == list(range(len(endings)))


def test_a_second_completion_is_ignored(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_complete("a", result(3, 0.5, **{FINAL: True}))
    bench.search.on_trial_complete("a", result(3, 0.1), error=True)
    assert bench.trials()[0].value == 0.5
    assert len(bench.heard.ended) == 1


def test_nothing_is_proposed_once_the_search_is_over(bench: Bench) -> None:
    bench.why.append("Ctrl-C")
    assert bench.search.suggest("a") == Searcher.FINISHED
    assert bench.asked() == []
    assert bench.heard.started == {}


def test_start_points_come_first_and_carry_their_place(tmp_path: Path, tiny_space: Space) -> None:
    header = tiny_space.header.model_copy(update={"start_from": [{}, {"loss.name": "infonce"}]})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    storage = study_storage(tmp_path)
    open_study(storage, space)
    search = TruthfulSearch(space, storage, Recorder(), lambda: "", lambda _: {}, tmp_path)
    first, second, third = (search.suggest(name) for name in "abc")
    assert first == {**space.start_points()[0], NUMBER: 0}
    assert second == {**space.start_points()[1], NUMBER: 1}
    assert third[NUMBER] == 2
    trials = load_study(tmp_path).get_trials()
    assert [trial.user_attrs.get(START_POINT) for trial in trials] == [0, 1, None]


def test_a_listener_hears_what_the_study_is_told(bench: Bench, tiny_space: Space) -> None:
    proposed = bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3))
    stopping = result(2, 0.2, **{SECONDS: 4.0, PEAK_RSS_MB: 612.0})
    bench.search.on_trial_complete("a", stopping)
    params = {key: value for key, value in proposed.items() if key != NUMBER}
    assert bench.heard.started == {0: tiny_space.config_for(params, 0)}
    assert bench.heard.reported == [(0, 1, 0.3), (0, 2, 0.2)]
    assert bench.heard.ended == [TrialEnd(0, "pruned", 2, 0.2, "", stopping)]
    (trial,) = bench.trials()
    assert (trial.user_attrs[SECONDS], trial.user_attrs[PEAK_RSS_MB]) == (4.0, 612.0)


def test_the_newest_weights_that_were_kept_are_written_beside_the_trial(bench: Bench) -> None:
    bench.search.suggest("a")
    for number in (0, 2):
        (bench.folder / trial_folder(0) / f"checkpoint_{number:06d}").mkdir(parents=True)
    bench.search.on_trial_complete("a", result(3, 0.5, **{FINAL: True}))
    assert bench.trials()[0].user_attrs[CHECKPOINT] == "trials/00000/checkpoint_000002"


def test_the_same_seed_proposes_the_same_trials(tmp_path: Path, tiny_space: Space) -> None:
    proposals = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        storage = study_storage(tmp_path / name)
        open_study(storage, tiny_space)
        search = TruthfulSearch(tiny_space, storage, Recorder(), lambda: "", lambda _: {}, tmp_path)
        proposals.append([search.suggest(trial) for trial in "abcd"])
    assert proposals[0] == proposals[1]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("tpe", optuna.samplers.TPESampler), ("random", optuna.samplers.RandomSampler)],
)
def test_the_sampler_is_the_one_that_the_space_names(
    tiny_space: Space, name: str, kind: type[optuna.samplers.BaseSampler]
) -> None:
    sampler = tiny_space.header.sampler.model_copy(update={"name": name})
    header = tiny_space.header.model_copy(update={"sampler": sampler})
    assert type(make_sampler(Space(header, tiny_space.base, tiny_space.parameters))) is kind


def test_saving_and_restoring_leave_no_file_behind(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "searcher.pkl"
    bench.search.save(str(path))
    bench.search.restore(str(path))
    assert not path.exists()
    assert bench.search.suggest("a")[NUMBER] == 0


# Ray's own searcher, driven as Ray drives it. The day one of these fails, that part of
# TruthfulSearch can go.


@pytest.fixture
def plain(tiny_space: Space) -> OptunaSearch:
    return OptunaSearch(
        space=tiny_space.suggest, metric=OBJECTIVE, mode="max", sampler=make_sampler(tiny_space)
    )


def plain_result(iteration: int, objective: float) -> dict[str, Any]:
    return {"training_iteration": iteration, OBJECTIVE: objective}


def test_the_plain_searcher_takes_a_stopped_trial_for_a_complete_one(plain: OptunaSearch) -> None:
    plain.suggest("a")
    plain.on_trial_result("a", plain_result(1, 0.3))
    plain.on_trial_complete("a", plain_result(2, 0.2))
    (trial,) = plain._ot_study.trials
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.2)
    assert trial.intermediate_values == {1: 0.3}


def test_the_plain_searcher_leaves_a_trial_with_nan_running(plain: OptunaSearch) -> None:
    plain.suggest("a")
    plain.on_trial_complete("a", plain_result(1, NAN))
    assert plain._ot_study.trials[0].state == TrialState.RUNNING
