from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from quantum_rerank.config import ExperimentConfig
from tests.tuning.reasons import failure as failure_of
from tests.tuning.reasons import recorded
from tuning.algorithms.population import Population
from tuning.algorithms.ray_searcher import OptunaSearcher, TrialPolicy
from tuning.algorithms.rules import Rule, asha, fill
from tuning.algorithms.samplers import make_sampler
from tuning.limits.failures import memory_pressure
from tuning.records import (
    CHECKPOINT,
    COST,
    EPOCH,
    EPOCH_OBJECTIVE,
    FAILURE,
    FINAL,
    OBJECTIVE,
    PEAK_RSS_MB,
    RESTARTED,
    SECONDS,
    WARNING,
    FailureKind,
    Listener,
    StopKind,
    StopReason,
    TrialEnd,
    TrialMetadata,
    TrialOutcome,
    metadata_of,
    parameters_of,
)
from tuning.space import (
    CategoricalParameter,
    IntParameter,
    Parameter,
    SamplerConfig,
    SchedulerConfig,
    Space,
)
from tuning.study.attributes import CONTINUES, START_POINT
from tuning.study.death_note import DeathNote
from tuning.study.resuming import close_running, enqueue_missing
from tuning.study.run_folder import load_study, open_study
from tuning.study.trials import curve, scheduled_values
from tuning.study.view import StudyView

NAN = float("nan")
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
CTRL_C = StopReason(StopKind.INTERRUPT)
TOO_LARGE = failure_of("oom: too large")


@dataclass
class Recorder(Listener):
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

    search: OptunaSearcher
    folder: Path
    heard: Recorder
    death_notes: dict[int, DeathNote]
    stops: list[StopReason]

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """What the study on disk says, read anew."""
        return load_study(self.folder).get_trials(deepcopy=False)

    def asked(self) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self.trials() if trial.state != TrialState.WAITING]


def search_in(folder: Path, space: Space, n_trials: int = 20, **more: Any) -> OptunaSearcher:
    """A search over the study of a folder, as a session has it; nobody listens."""
    study = open_study(folder, space.header.name, space.header.objective.directions)
    close_running(study, "the search was killed")
    enqueue_missing(study, space)
    listener = more.pop("listener", Recorder())
    stop_signal = more.pop("stop_signal", lambda: None)
    return OptunaSearcher(space, study, n_trials, listener, stop_signal, TrialPolicy(**more))


def metadata(proposed: Mapping[str, Any]) -> TrialMetadata:
    return metadata_of(proposed)


def filled_rule(space: Space, trials: list[optuna.trial.FrozenTrial]) -> Rule:
    """ASHA as a new session has it."""
    rule = asha(space, lambda: StudyView(trials))
    fill(rule, StudyView(trials).rung_values())
    return rule


def own(proposed: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a proposal, without what Ray hands to the trial beside them."""
    return parameters_of(proposed)


@pytest.fixture
def bench(tmp_path: Path, tiny_space: Space) -> Bench:
    heard, notes, stops = Recorder(), dict[int, DeathNote](), list[StopReason]()
    search = search_in(
        tmp_path,
        tiny_space,
        listener=heard,
        stop_signal=lambda: stops[-1] if stops else None,
        death_note=notes.get,
    )
    return Bench(search, tmp_path, heard, notes, stops)


def result(epoch: int, objective: float, **more: Any) -> dict[str, Any]:
    return {EPOCH: epoch, OBJECTIVE: objective, FINAL: False, **more}


def failing(epoch: int, reason: str) -> dict[str, Any]:
    return {EPOCH: epoch, OBJECTIVE: NAN, FAILURE: failure_of(reason)}


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
    assert trial.user_attrs[FAILURE]["kind"] == "nan"
    assert trial.intermediate_values == {1: 0.3}
    assert bench.heard.ended[0].objective is None


def test_a_trial_that_reported_its_failure_fails_with_that_reason(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3))
    bench.search.on_trial_complete("a", failing(1, "error: ValueError: no such thing"))
    (trial,) = bench.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[FAILURE] == recorded("error: ValueError: no such thing")
    (end,) = bench.heard.ended
    assert (end.outcome, end.epoch, end.objective) == ("failed", 1, None)
    assert str(end.failure) == "error: ValueError: no such thing"


def test_a_failure_before_the_first_epoch_is_kept_too(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_complete("a", failing(0, "nan: the loss became nan"))
    assert bench.trials()[0].user_attrs[FAILURE] == recorded("nan: the loss became nan")
    assert bench.heard.reported == []


def test_nothing_is_drawn_once_the_trials_are_enough_but_what_is_queued_is_run(
    tmp_path: Path, tiny_space: Space
) -> None:
    search = search_in(tmp_path, tiny_space, has_enough=lambda _: True)
    n_queued = len(tiny_space.start_points())
    names = [f"t{n}" for n in range(n_queued)]
    assert all(search.suggest(name) for name in names)
    assert search.suggest("next") is None  # a trial that runs may have to be continued
    for name in names:
        search.on_trial_complete(name, result(3, 0.5, **{FINAL: True}))
    assert search.suggest("next") == Searcher.FINISHED
    assert len(load_study(tmp_path).trials) == n_queued


def test_a_worker_that_died_of_memory_fails_with_what_its_note_says(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3))
    bench.death_notes[0] = DeathNote(failure_of("oom: 8.1 GB resident, budget 8 GB"), 8294.4)
    bench.search.on_trial_complete("a", error=True)
    (trial,) = bench.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs == {
        START_POINT: 0,
        FAILURE: recorded("oom: 8.1 GB resident, budget 8 GB"),
        PEAK_RSS_MB: 8294.4,
    }


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_worker_that_died_without_a_note_fails_all_the_same(bench: Bench, epochs: int) -> None:
    bench.search.suggest("a")
    for epoch in range(epochs):
        bench.search.on_trial_result("a", result(epoch + 1, 0.3))
    bench.search.on_trial_complete("a", error=True)
    (trial,) = bench.trials()
    assert (trial.state, trial.user_attrs[FAILURE]) == (
        TrialState.FAIL,
        recorded(FailureKind.WORKER_LOST),
    )
    assert bench.heard.ended[0].epoch == epochs


def test_a_trial_that_ended_without_a_word_fails(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_complete("a", {})
    (trial,) = bench.trials()
    assert (trial.state, trial.user_attrs[FAILURE]) == (
        TrialState.FAIL,
        recorded("ended without a report"),
    )


def test_a_trial_that_is_cut_short_by_the_end_is_interrupted_and_not_pruned(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.stops.append(StopReason(StopKind.TIME_BUDGET, "time budget of 24 h"))
    bench.search.on_trial_complete("a", result(1, 0.3))
    (trial,) = bench.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[FAILURE] == recorded("interrupted: time budget of 24 h")
    assert bench.heard.ended[0].objective == 0.3


def test_what_nobody_decided_on_since_the_search_was_over_is_decided_on_when_it_goes_on(
    tmp_path: Path, tiny_space: Space
) -> None:
    stops: list[StopReason | None] = [None]
    search = search_in(tmp_path, tiny_space, stop_signal=lambda: stops[-1])
    for name, value in (("a", 0.9), ("b", 0.8), ("c", 0.1)):
        search.suggest(name)
        if name != "c":
            search.on_trial_result(name, result(1, value))
    stops.append(CTRL_C)
    search.on_trial_complete("a", result(1, 0.9))  # does not report in time: told what is known
    search.on_trial_complete("b", result(2, 0.8))
    search.on_trial_complete("c", result(1, 0.1))  # stopped at a rung without the scheduler
    trials = load_study(tmp_path).get_trials()
    assert [curve(trial) for trial in trials] == [{1: 0.9}, {1: 0.8, 2: 0.8}, {1: 0.1}]
    assert [scheduled_values(trial) for trial in trials] == [{1: 0.9}, {1: 0.8}, {}]
    rule = filled_rule(tiny_space, trials)
    assert not rule.stops(0, 1, 0.0)  # decided on before
    assert not rule.stops(1, 1, 0.0)
    assert rule.stops(2, 1, 0.1)
    assert not rule.stops(1, 2, 0.8)  # the first to come to its rung


def test_a_rung_is_decided_on_again_where_the_search_was_killed_before_the_trial_was_told(
    tmp_path: Path, tiny_space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    search = search_in(tmp_path, tiny_space)
    for name in "ab":
        search.suggest(name)
    search.on_trial_result("a", result(1, 0.9))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(optuna.Study, "tell", killed)
        search.on_trial_complete("b", result(1, 0.1))  # stopped at its rung
    close_running(load_study(tmp_path), "the search was killed")
    rule = filled_rule(tiny_space, load_study(tmp_path).get_trials())
    assert rule.stops(1, 1, 0.1)


def test_what_the_scheduler_has_stopped_is_decided_on(tmp_path: Path, tiny_space: Space) -> None:
    search = search_in(tmp_path, tiny_space)
    search.suggest("a")
    search.on_trial_complete("a", result(1, 0.4))
    assert StudyView(load_study(tmp_path).get_trials()).rung_values() == {0: {1: 0.4}}


def test_epochs_that_are_reported_again_when_the_search_ends_stay_decided_on(
    tmp_path: Path, tiny_space: Space
) -> None:
    stops: list[StopReason | None] = [None]
    search = search_in(tmp_path, tiny_space, stop_signal=lambda: stops[-1])
    lose(search, result(1, 0.3), result(2, 0.4))
    search = search_in(tmp_path, tiny_space, stop_signal=lambda: stops[-1])
    search.suggest("a")
    stops.append(CTRL_C)
    search.on_trial_complete("a", result(1, 0.3))
    assert StudyView(load_study(tmp_path).get_trials()).rung_values() == {0: {1: 0.3, 2: 0.4}}


def test_a_trial_that_reaches_its_end_while_the_search_ends_is_complete(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.stops.append(CTRL_C)
    bench.search.on_trial_complete("a", result(3, 0.3, **{FINAL: True}))
    assert bench.trials()[0].state == TrialState.COMPLETE


def test_nothing_is_left_running_however_trials_end(bench: Bench) -> None:
    endings: list[Callable[[str], None]] = [
        lambda name: bench.search.on_trial_complete(name, result(3, 0.5, **{FINAL: True})),
        lambda name: bench.search.on_trial_complete(name, result(1, 0.1)),
        lambda name: bench.search.on_trial_complete(name, result(1, NAN)),
        lambda name: bench.search.on_trial_complete(name, failing(1, "error: KeyError: 'x'")),
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
    bench.stops.append(CTRL_C)
    assert bench.search.suggest("a") == Searcher.FINISHED
    assert bench.asked() == []
    assert bench.heard.started == {}


def test_no_more_trials_are_proposed_than_were_asked_for(tmp_path: Path, tiny_space: Space) -> None:
    search = search_in(tmp_path, tiny_space, n_trials=2)
    proposed = [search.suggest(name) for name in "ab"]
    assert [metadata(config).number for config in proposed] == [0, 1]
    assert search.suggest("c") is None  # not yet over: a worker may be lost
    for name in "ab":
        search.on_trial_complete(name, result(1, 0.3))
    assert search.suggest("c") == Searcher.FINISHED
    assert len(load_study(tmp_path).get_trials()) == 2


def test_a_search_that_is_over_proposes_nothing_though_trials_still_run(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.stops.append(CTRL_C)
    assert bench.search.suggest("b") == Searcher.FINISHED


def lose(search: OptunaSearcher, *reports: dict[str, Any]) -> Any:
    """Propose a trial and lose its worker after some reports; returns what was proposed."""
    proposed = search.suggest("a")
    for report in reports:
        search.on_trial_result("a", report)
    search.on_trial_complete("a", error=True)
    return proposed


def test_a_trial_whose_worker_was_lost_is_continued_by_another_at_once(
    tmp_path: Path, tiny_space: Space
) -> None:
    search = search_in(tmp_path, tiny_space, n_trials=1, retries=2)
    first = lose(search, result(1, 0.3))
    second = search.suggest("a")
    assert own(second) == own(first)
    assert metadata(second) == TrialMetadata(1, (0,), is_protected=True)
    search.on_trial_complete("a", result(3, 0.5, **{FINAL: True}))
    assert search.suggest("a") == Searcher.FINISHED
    states = [trial.state.name for trial in load_study(tmp_path).get_trials()]
    assert states == ["FAIL", "COMPLETE"]


def test_a_trial_is_continued_as_often_in_a_row_as_it_may(
    tmp_path: Path, tiny_space: Space
) -> None:
    search = search_in(tmp_path, tiny_space, n_trials=1, retries=2)
    proposed = [lose(search) for _ in range(3)]
    assert [metadata(config).earlier for config in proposed] == [(), (0,), (1, 0)]
    assert search.suggest("a") == Searcher.FINISHED
    trials = load_study(tmp_path).get_trials()
    assert [trial.user_attrs[FAILURE] for trial in trials] == [
        recorded(FailureKind.WORKER_LOST)
    ] * 3


def test_a_trial_that_was_ended_for_the_memory_of_its_machine_is_continued(
    tmp_path: Path, tiny_space: Space
) -> None:
    search = search_in(tmp_path, tiny_space, n_trials=1, retries=1)
    first = search.suggest("a")
    search.on_trial_result("a", result(1, 0.3))
    search.fail("a", memory_pressure(2**29))
    search.on_trial_complete("a", result(1, 0.3))
    second = search.suggest("b")
    assert own(second) == own(first)
    assert metadata(second).earlier == (0,)
    (ended, running) = load_study(tmp_path).get_trials()
    assert ended.user_attrs[FAILURE] == memory_pressure(2**29).as_record()
    assert running.state == TrialState.RUNNING


def test_no_trial_is_proposed_beside_others_without_room_for_it(
    tmp_path: Path, tiny_space: Space
) -> None:
    room = [True]
    search = search_in(tmp_path, tiny_space, has_room=lambda: room[-1])
    assert search.suggest("a") is not None
    room.append(False)
    assert search.suggest("b") is None
    assert len(load_study(tmp_path).get_trials()) == 1
    search.on_trial_complete("a", result(3, 0.5, **{FINAL: True}))
    assert search.suggest("b") is not None  # the only one


def test_a_search_that_ends_is_over_without_room_too(tmp_path: Path, tiny_space: Space) -> None:
    stops: list[StopReason | None] = [None]
    search = search_in(tmp_path, tiny_space, has_room=lambda: False, stop_signal=lambda: stops[-1])
    search.suggest("a")
    stops.append(CTRL_C)
    assert search.suggest("b") == Searcher.FINISHED


def test_a_worker_that_is_lost_when_the_search_is_over_waits_for_the_next_session(
    tmp_path: Path, tiny_space: Space
) -> None:
    stops: list[StopReason | None] = [None]
    search = search_in(tmp_path, tiny_space, retries=2, stop_signal=lambda: stops[-1])
    search.suggest("a")
    stops.append(CTRL_C)
    search.on_trial_complete("a", error=True)
    assert [trial.state.name for trial in load_study(tmp_path).get_trials()] == ["FAIL"]
    assert search_in(tmp_path, tiny_space).suggest("a")["trial_metadata"].earlier == (0,)


class Killed(BaseException):
    """The end of the process."""


@pytest.mark.parametrize("is_sampled", [True, False])
@pytest.mark.parametrize("sampler", ["random", "prior", "tpe", "gp", "cmaes"])
def test_a_killed_search_proposes_what_it_would_have_proposed(
    tmp_path: Path,
    tiny_space: Space,
    monkeypatch: pytest.MonkeyPatch,
    sampler: str,
    is_sampled: bool,
) -> None:
    changed = tiny_space.header.sampler.model_copy(update={"name": sampler, "startup_trials": 2})
    header = tiny_space.header.model_copy(update={"sampler": changed})
    space = Space(header, tiny_space.base, tiny_space.parameters)

    def killed(*_: Any) -> None:
        raise Killed

    def run(folder: Path, killed_in: Collection[int]) -> list[ExperimentConfig]:
        """Run 8 trials one after the other; return the configurations of those that ended."""
        heard, configs = Recorder(), list[ExperimentConfig]()
        folder.mkdir()
        search = search_in(folder, space, listener=heard)
        while len(configs) < 8:
            n_trials = len(load_study(folder).get_trials(states=[*ENDED]))
            if n_trials in killed_in:
                with monkeypatch.context() as patched, pytest.raises(Killed):
                    if not is_sampled:  # between the creation of the trial and its first value
                        patched.setattr(Space, "suggest", killed)
                    search.suggest("a")
                    raise Killed
                search = search_in(folder, space, listener=heard)
                continue
            number = metadata(search.suggest("a")).number
            configs.append(heard.started[number])
            value = configs[-1].optimizer.mlp_lr * 10 % 1.0
            search.on_trial_complete("a", result(3, value, **{FINAL: True}))
        return configs

    assert run(tmp_path / "killed", {0, 3, 4, 8}) == run(tmp_path / "whole", ())


def test_a_worker_that_ended_itself_is_not_tried_again(bench: Bench) -> None:
    bench.death_notes[0] = DeathNote(failure_of("oom: 8.1 GB used, budget 8 GB"), 8294.4)
    lose(bench.search)
    assert [trial.state.name for trial in bench.trials()] == ["FAIL"]


def test_start_points_come_first_and_carry_their_place(tmp_path: Path, tiny_space: Space) -> None:
    header = tiny_space.header.model_copy(update={"start_from": [{}, {"loss.name": "infonce"}]})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    search = search_in(tmp_path, space)
    first, second, third = (search.suggest(name) for name in "abc")
    assert [own(first), own(second)] == space.start_points()
    assert [metadata(config).number for config in (first, second, third)] == [0, 1, 2]
    assert [metadata(config).is_protected for config in (first, second, third)] == [
        True,
        True,
        False,
    ]
    trials = load_study(tmp_path).get_trials()
    assert [trial.user_attrs.get(START_POINT) for trial in trials] == [0, 1, None]


def test_a_first_attempt_has_its_own_number_as_its_origin(bench: Bench) -> None:
    proposed = [bench.search.suggest(name) for name in "ab"]
    assert [(m.origin, m.earlier) for m in map(metadata, proposed)] == [(0, ()), (1, ())]


def test_an_attempt_that_was_cut_short_is_proposed_again_as_it_was(
    tmp_path: Path, tiny_space: Space
) -> None:
    search = search_in(tmp_path, tiny_space)
    first = [search.suggest(name) for name in "ab"]
    heard = Recorder()
    search = search_in(tmp_path, tiny_space, listener=heard)
    second = [search.suggest(name) for name in "ab"]
    assert [own(one) for one in second] == [own(one) for one in first]
    assert [metadata(config).number for config in second] == [2, 3]
    assert [metadata(config).origin for config in second] == [0, 1]
    assert [metadata(config).earlier for config in second] == [(0,), (1,)]
    assert [metadata(config).is_protected for config in second] == [True, False]
    # The seed of an attempt is the first one's, so that it can go on with its training.
    expected = [tiny_space.config_for(own(one), number) for number, one in enumerate(first)]
    assert list(heard.started.values()) == expected
    third = search_in(tmp_path, tiny_space).suggest("a")
    assert metadata(third) == TrialMetadata(4, (2, 0), is_protected=True)
    assert load_study(tmp_path).get_trials()[4].user_attrs[CONTINUES] == 2


def test_a_configuration_that_is_refused_fails_without_a_start(
    tmp_path: Path, tiny_space: Space
) -> None:
    heard = Recorder()
    search = search_in(
        tmp_path,
        tiny_space,
        n_trials=3,
        listener=heard,
        refusal=lambda config: TOO_LARGE if config == heard.started.get(1) else None,
    )
    proposed = [search.suggest(name) for name in "ab"]
    assert [metadata(config).number for config in proposed] == [0, 2]
    assert search.suggest("c") is None
    trial = load_study(tmp_path).get_trials()[1]
    assert (trial.state, trial.user_attrs[FAILURE]) == (TrialState.FAIL, recorded("oom: too large"))
    (end,) = heard.ended
    assert (end.number, end.outcome, end.failure) == (1, "failed", TOO_LARGE)


def test_values_that_do_not_go_together_fail_their_trial_alone(
    tmp_path: Path, tiny_space: Space
) -> None:
    parameters: dict[str, Parameter] = {
        "optimizer.schedule": CategoricalParameter(
            type="categorical", choices=["constant", "one_cycle"]
        ),
        "optimizer.linear_warmup_epochs": IntParameter(type="int", low=0, high=1),
    }
    update = {"sampler": SamplerConfig(name="grid"), "start_from": []}
    space = Space(tiny_space.header.model_copy(update=update), tiny_space.base, parameters)
    heard = Recorder()
    search = search_in(tmp_path, space, n_trials=4, listener=heard)
    proposed = [own(search.suggest(name)) for name in "abc"]
    contradiction = {"optimizer.schedule": "one_cycle", "optimizer.linear_warmup_epochs": 1}
    assert contradiction not in proposed
    assert search.suggest("d") is None
    (end,) = heard.ended
    assert (end.outcome, end.is_cut_short) == ("failed", False)
    assert str(end.failure).startswith("error: ConfigError: `optimizer.linear_warmup_epochs` is 1")
    assert "\n" not in str(end.failure)
    trial = load_study(tmp_path).get_trials()[end.number]
    assert (trial.state, trial.params) == (TrialState.FAIL, contradiction)
    assert trial.user_attrs[FAILURE] == recorded(str(end.failure))
    assert end.number in heard.started  # whoever is told of an end has heard of the start


def test_a_trial_that_is_stopped_for_a_reason_fails_with_it_and_keeps_its_epochs(
    bench: Bench,
) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3))
    bench.search.fail("a", failure_of("timeout: longer than 2 h"))
    bench.search.on_trial_complete("a")
    (trial,) = bench.trials()
    assert (trial.state, trial.user_attrs[FAILURE]) == (
        TrialState.FAIL,
        recorded("timeout: longer than 2 h"),
    )
    assert trial.intermediate_values == {1: 0.3}
    assert bench.heard.ended[0].epoch == 1


def test_epochs_that_a_worker_reports_again_count_once(bench: Bench) -> None:
    bench.search.suggest("a")
    for epoch, value in ((1, 0.3), (2, 0.4), (1, 0.3), (2, 0.4), (3, 0.5)):
        bench.search.on_trial_result("a", result(epoch, value))
    bench.search.on_trial_complete("a", result(3, 0.5))
    assert bench.heard.reported == [(0, 1, 0.3), (0, 2, 0.4), (0, 3, 0.5)]
    assert bench.trials()[0].intermediate_values == {1: 0.3, 2: 0.4, 3: 0.5}


def test_a_trial_that_ends_while_its_epochs_are_reported_again_stays_where_it_was(
    bench: Bench,
) -> None:
    bench.search.suggest("a")
    for epoch in (1, 2, 3):
        bench.search.on_trial_result("a", result(epoch, epoch / 10))
    bench.search.on_trial_complete("a", result(1, 0.1))
    (end,) = bench.heard.ended
    assert (end.outcome, end.epoch, end.objective) == ("pruned", 3, 0.3)


def test_a_listener_hears_what_the_study_is_told(bench: Bench, tiny_space: Space) -> None:
    proposed = bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3))
    stopping = result(2, 0.2, **{SECONDS: 4.0, PEAK_RSS_MB: 612.0})
    bench.search.on_trial_complete("a", stopping)
    assert bench.heard.started == {0: tiny_space.config_for(own(proposed), 0)}
    assert bench.heard.reported == [(0, 1, 0.3), (0, 2, 0.2)]
    assert bench.heard.ended == [TrialEnd(0, TrialOutcome.PRUNED, 2, 0.2, None, stopping)]
    (trial,) = bench.trials()
    assert (trial.user_attrs[SECONDS], trial.user_attrs[PEAK_RSS_MB]) == (4.0, 612.0)


def test_the_epoch_whose_weights_were_kept_is_written_beside_the_trial(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3, **{CHECKPOINT: 1}))
    bench.search.on_trial_result("a", result(2, 0.5, **{CHECKPOINT: 2}))
    bench.search.on_trial_complete("a", result(3, 0.5, **{CHECKPOINT: 2}))
    assert bench.trials()[0].user_attrs[CHECKPOINT] == 2


def test_a_worker_that_was_lost_leaves_the_weights_that_it_had_kept(bench: Bench) -> None:
    bench.search.suggest("a")
    bench.search.on_trial_result("a", result(1, 0.3, **{CHECKPOINT: 1}))
    bench.search.on_trial_complete("a", error=True)
    assert bench.trials()[0].user_attrs[CHECKPOINT] == 1


def test_the_same_seed_proposes_the_same_trials(tmp_path: Path, tiny_space: Space) -> None:
    proposals = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        search = search_in(tmp_path / name, tiny_space)
        proposals.append([search.suggest(trial) for trial in "abcd"])
    assert proposals[0] == proposals[1]


def test_a_continued_search_proposes_what_one_that_never_stopped_would(
    tmp_path: Path, tiny_space: Space
) -> None:
    sampler = tiny_space.header.sampler.model_copy(update={"startup_trials": 2})
    header = tiny_space.header.model_copy(update={"sampler": sampler})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    proposals: dict[str, list[Any]] = {"one": [], "other": []}
    for name, stops in (("one", set[int]()), ("other", {1, 4})):
        (tmp_path / name).mkdir()
        search = search_in(tmp_path / name, space)
        for turn in range(6):
            if turn in stops:
                search = search_in(tmp_path / name, space)
            proposals[name].append(search.suggest("a"))
            search.on_trial_complete("a", result(3, turn / 10, **{FINAL: True}))
    assert proposals["one"] == proposals["other"]


def test_no_two_trials_are_drawn_alike(tmp_path: Path, tiny_space: Space) -> None:
    search = search_in(tmp_path, tiny_space)
    drawn = [str(own(search.suggest(f"trial{turn}"))) for turn in range(5)]
    assert len(set(drawn)) == 5


@pytest.mark.parametrize(
    ("name", "kind"),
    [("tpe", optuna.samplers.TPESampler), ("random", optuna.samplers.RandomSampler)],
)
def test_the_sampler_is_the_one_that_the_space_names(
    tiny_space: Space, name: str, kind: type[optuna.samplers.BaseSampler]
) -> None:
    sampler = tiny_space.header.sampler.model_copy(update={"name": name})
    header = tiny_space.header.model_copy(update={"sampler": sampler})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    assert type(make_sampler(space, 0)) is kind


# A population.


@pytest.fixture
def crowd(tmp_path: Path, tiny_space: Space) -> OptunaSearcher:
    """A search of two members, every one of whom that is the lower one gives way."""
    scheduler = SchedulerConfig(name="pbt", population=2, interval_epochs=1, quantile=0.5)
    budget = tiny_space.header.budget.model_copy(update={"trials": 4})
    update = {"scheduler": scheduler, "budget": budget, "start_from": []}
    space = Space(
        tiny_space.header.model_copy(update=update), tiny_space.base, tiny_space.parameters
    )
    study = open_study(tmp_path, space.header.name)
    population = Population(space, lambda: StudyView.of(study))
    policy = TrialPolicy(population=population)
    return OptunaSearcher(space, study, 4, Recorder(), lambda: None, policy)


def test_a_population_waits_for_a_place_and_a_clone_takes_that_of_whom_was_stopped(
    crowd: OptunaSearcher, tmp_path: Path
) -> None:
    for name in "ab":
        assert metadata(crowd.suggest(name)).donor is None
    assert crowd.suggest("c") is None
    crowd.on_trial_result("a", result(1, 0.9))
    crowd.on_trial_complete("b", result(1, 0.1))
    clone = crowd.suggest("c")
    assert metadata(clone).donor == (0, 1)
    trials = load_study(tmp_path).trials
    assert own(clone) == trials[2].params
    assert trials[2].params["circuit.n_qubits"] == trials[0].params["circuit.n_qubits"]
    assert crowd.suggest("d") is None
    crowd.on_trial_complete("a", result(3, 0.9, **{FINAL: True}))
    assert (
        metadata(crowd.suggest("d")).donor is None
    )  # a new member, in the place of one at its end
    assert crowd.suggest("e") is None
    for name in "cd":
        crowd.on_trial_complete(name, result(3, 0.9, **{FINAL: True}))
    assert crowd.suggest("e") == Searcher.FINISHED
    assert all(trial.state.is_finished() for trial in load_study(tmp_path).trials)


def test_a_population_keeps_what_its_members_are_and_tells_the_best_that_they_were(
    crowd: OptunaSearcher, tmp_path: Path
) -> None:
    crowd.suggest("a")
    crowd.on_trial_result("a", result(1, 0.9, **{EPOCH_OBJECTIVE: 0.9}))
    crowd.on_trial_result("a", result(2, 0.9, **{EPOCH_OBJECTIVE: 0.3}))
    crowd.on_trial_complete("a", result(3, 0.9, **{EPOCH_OBJECTIVE: 0.4, FINAL: True}))
    (trial, *_) = load_study(tmp_path).trials
    assert curve(trial) == {1: 0.9, 2: 0.3, 3: 0.4}
    assert trial.value == 0.9


def of_trials(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Messages about trials; a slow disk makes the study say that it was waited for, too."""
    return [message for message in caplog.messages if message.startswith("Trial")]


def test_a_clone_that_had_to_start_over_is_said_once_and_kept(
    crowd: OptunaSearcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crowd.suggest("a")
    why = {RESTARTED: "trial 3 left nothing of epoch 2"}
    crowd.on_trial_result("a", result(1, 0.3, **why))
    crowd.on_trial_complete("a", result(3, 0.5, **{FINAL: True}, **why))
    assert load_study(tmp_path).trials[0].user_attrs[RESTARTED] == why[RESTARTED]
    assert of_trials(caplog) == ["Trial 0 starts from scratch: trial 3 left nothing of epoch 2"]


def test_a_warning_is_said_where_it_begins_and_kept_while_it_stays(
    crowd: OptunaSearcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "ab":
        crowd.suggest(name)
    flat = {WARNING: "gradients vanish"}
    crowd.on_trial_result("a", result(1, 0.3))
    crowd.on_trial_result("a", result(2, 0.3, **flat))
    crowd.on_trial_complete("a", result(3, 0.5, **{FINAL: True}, **flat))
    crowd.on_trial_result("b", result(1, 0.3, **flat))
    crowd.on_trial_complete("b", result(3, 0.5, **{FINAL: True}))
    warnings = [trial.user_attrs.get(WARNING) for trial in load_study(tmp_path).trials[:2]]
    assert warnings == ["gradients vanish", None]
    assert of_trials(caplog) == [
        "Trial 0, epoch 2: gradients vanish",
        "Trial 1, epoch 1: gradients vanish",
    ]


def test_saving_and_restoring_leave_no_file_behind(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "searcher.pkl"
    bench.search.save(str(path))
    bench.search.restore(str(path))
    assert not path.exists()
    assert metadata(bench.search.suggest("a")).number == 0


# Ray's own searcher, driven as Ray drives it. The day one of these fails, that part of
# OptunaSearcher can go.


@pytest.fixture
def plain(tiny_space: Space) -> OptunaSearch:
    return OptunaSearch(
        space=tiny_space.suggest, metric=OBJECTIVE, mode="max", sampler=make_sampler(tiny_space, 0)
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


# What keeps the study from being told.


class Failing(Recorder):
    """A listener whose disk is full."""

    def trial_ended(self, end: TrialEnd) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_kept_a_trial_from_being_told_is_kept_where_ray_passes_over_it(
    tmp_path: Path, tiny_space: Space
) -> None:
    search = search_in(tmp_path, tiny_space, listener=Failing())
    assert search.fault is None
    search.suggest("a")
    with pytest.raises(OSError, match="No space left"):
        search.on_trial_complete("a", result(1, 0.3))
    assert isinstance(search.fault, OSError)
    n_trials = len(load_study(tmp_path).get_trials())
    assert search.suggest("b") == Searcher.FINISHED
    search.on_trial_complete("a", result(1, 0.3), error=True)
    assert len(load_study(tmp_path).get_trials()) == n_trials


# Two objectives.


def weighed(space: Space) -> Space:
    """The space with its objective against the number of parameters."""
    objective = space.header.objective.model_copy(update={"cost": "parameters"})
    scheduler = SchedulerConfig(name="none")
    header = space.header.model_copy(update={"objective": objective, "scheduler": scheduler})
    return Space(header, space.base, space.parameters)


def test_a_trial_of_two_objectives_is_told_with_both_and_keeps_its_epochs(
    tmp_path: Path, tiny_space: Space
) -> None:
    search = search_in(tmp_path, weighed(tiny_space))
    search.suggest("a")
    search.on_trial_result("a", result(1, 0.3))
    search.on_trial_complete("a", result(2, 0.5, **{FINAL: True, COST: 80.0}))
    search.suggest("b")
    search.on_trial_complete("b", result(1, 0.5, **{FINAL: True}))
    told, without, *_ = load_study(tmp_path).get_trials()
    assert (told.state, told.values) == (TrialState.COMPLETE, [0.5, 80.0])
    assert curve(told) == {1: 0.3, 2: 0.5}
    assert without.state == TrialState.FAIL
    assert without.user_attrs[FAILURE] == recorded(f"error: reported no {COST}")


@pytest.mark.parametrize(("last", "reason"), [(NAN, "nan"), (0.4, "interrupted")])
def test_a_trial_of_two_objectives_can_fail_as_any_other(
    tmp_path: Path, tiny_space: Space, last: float, reason: str
) -> None:
    stops: list[StopReason] = []
    search = search_in(
        tmp_path, weighed(tiny_space), stop_signal=lambda: stops[-1] if stops else None
    )
    search.suggest("a")
    search.on_trial_result("a", result(1, 0.3))
    stops += [CTRL_C] if reason == "interrupted" else []
    search.on_trial_complete("a", result(2, last))
    (trial,) = load_study(tmp_path).get_trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[FAILURE]["kind"] == reason
    assert curve(trial)[1] == 0.3
    again = search_in(tmp_path, weighed(tiny_space))
    assert again.suggest("b")["circuit.n_qubits"] == trial.params["circuit.n_qubits"]
