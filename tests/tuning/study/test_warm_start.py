from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from quantum_rerank.config import DataConfig, override
from quantum_rerank.errors import OutputError
from tests.tuning.reasons import recorded
from tuning.algorithms.rules import SuccessiveHalving, make_rule
from tuning.algorithms.samplers import make_sampler
from tuning.records import CHECKPOINT, FAILURE, RESTARTED, FailureKind
from tuning.space import FloatParameter, IntParameter, Parameter, SamplerConfig, Space
from tuning.study.attributes import AT_EPOCH, CLONES, CONTINUES, PROPOSED_BY, WARM_START
from tuning.study.resuming import enqueue_missing
from tuning.study.run_folder import RECORD, open_study
from tuning.study.trials import curve, exclude_warm_start, keep_value
from tuning.study.view import StudyView
from tuning.study.warm_start import (
    TAKEN_OVER,
    EarlierRun,
    TakenOver,
    add_missing,
    gather,
    read_earlier,
    read_taken_over,
    write_taken_over,
)

DATA = "the data"


def ended(
    study: optuna.Study,
    space: Space,
    state: str,
    values: Sequence[float],
    params: dict[str, Any] | None = None,
    **attributes: Any,
) -> FrozenTrial:
    """A trial of a study, with its objective by epoch; RUNNING: it has not ended."""
    study.enqueue_trial(params or {})
    trial = study.ask()
    space.suggest(trial)
    for epoch, value in enumerate(values, start=1):
        trial.report(value, epoch)
    for key, value in attributes.items():
        trial.set_user_attr(key, value)
    if state != "RUNNING":
        study.tell(trial, values[-1] if state == "COMPLETE" else None, TrialState[state])
    return study.trials[trial.number]


TRIPLET = {"loss.name": "triplet", "loss.margin": 0.3, "circuit.n_qubits": 3}
INFONCE = {"loss.name": "infonce", "circuit.n_qubits": 2}


@pytest.fixture
def earlier(tiny_space: Space) -> EarlierRun:
    """A run with a trial of every end: 0 and 1 complete, 2 pruned; three that say nothing."""
    study = optuna.create_study(direction="maximize")
    ended(study, tiny_space, "COMPLETE", (0.3, 0.4, 0.6), TRIPLET)
    ended(study, tiny_space, "COMPLETE", (0.5, 0.5), INFONCE)  # nothing improved any more
    ended(study, tiny_space, "PRUNED", (0.2,), TRIPLET)
    ended(study, tiny_space, "FAIL", (0.9,), **{FAILURE: recorded("nan: the loss became nan")})
    ended(
        study,
        tiny_space,
        "FAIL",
        (0.9,),
        **{FAILURE: recorded(f"{FailureKind.INTERRUPTED}: Ctrl-C")},
    )
    ended(study, tiny_space, "RUNNING", (0.9,))
    return EarlierRun(Path("/runs/old"), tiny_space, DATA, study.trials)


def taken(space: Space, earlier: EarlierRun, data: str = DATA) -> TakenOver:
    (found,) = gather(space, [earlier], data)
    return found


def with_epochs(space: Space, epochs: int, **changes: Any) -> Space:
    budget = space.header.budget.model_copy(update={"epochs": epochs})
    header = space.header.model_copy(update={"budget": budget})
    base = override(space.base, {"training.max_epochs": epochs, **changes})
    return Space(header, base, space.parameters)


def with_base(space: Space, changes: dict[str, Any]) -> Space:
    return Space(space.header, override(space.base, changes), space.parameters)


def with_parameters(space: Space, changes: dict[str, Parameter | None]) -> Space:
    parameters = {k: v for k, v in {**space.parameters, **changes}.items() if v is not None}
    return Space(space.header, space.base, parameters)


# What is comparable.


def test_a_member_of_a_population_comes_in_by_the_best_that_it_was(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    study = optuna.create_study(direction="maximize")
    ended(study, tiny_space, "COMPLETE", (0.9, 0.3, 0.4), TRIPLET)
    (prior,) = taken(tiny_space, replace(earlier, trials=study.trials)).priors
    assert prior.values == {1: 0.9, 2: 0.9, 3: 0.9}


def test_a_start_point_is_not_proposed_again_however_its_steps_are_rounded(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    dropout = FloatParameter(type="float", low=0.1, high=0.5, step=0.1)
    base = override(tiny_space.base, {"mlp.dropout": 0.3})
    qubits = {"circuit.n_qubits": tiny_space.parameters["circuit.n_qubits"]}
    space = Space(tiny_space.header, base, {**qubits, "mlp.dropout": dropout})
    before = Space(tiny_space.header, base, qubits)
    study = optuna.create_study(direction="maximize")
    ended(study, before, "COMPLETE", (0.4,), *before.start_points())
    run = replace(earlier, space=before, trials=study.trials)
    assert list(taken(space, run, "other data").proposals) == []


def test_over_the_same_space_and_data_what_ended_comes_in_and_the_rest_is_counted(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    found = taken(tiny_space, earlier)
    assert [prior.key for prior in found.priors] == [f"/runs/old#{n}" for n in range(3)]
    assert [prior.state for prior in found.priors] == ["complete", "complete", "pruned"]
    assert [prior.values for prior in found.priors] == [
        {1: 0.3, 2: 0.4, 3: 0.6},
        {1: 0.5, 2: 0.5},
        {1: 0.2},
    ]
    assert [p.params for p in found.priors] == [t.params for t in earlier.trials[:3]]
    assert found.left_out == {"failed": 1, "cut short": 1, "not over": 1}
    assert found.proposals == []


def test_a_trial_that_another_continued_is_part_of_that_one(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    earlier.trials[2].user_attrs[CONTINUES] = 4
    assert taken(tiny_space, earlier).left_out == {"failed": 1, "not over": 1}


def test_a_value_of_the_old_base_counts_for_a_parameter_that_is_new(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    layers = IntParameter(type="int", low=1, high=4)  # in every old trial 2, by its base
    found = taken(with_parameters(tiny_space, {"circuit.n_layers": layers}), earlier)
    assert [prior.params["circuit.n_layers"] for prior in found.priors] == [2, 2, 2]


@pytest.mark.parametrize(
    ("base", "n_comparable"),
    [(2, 1), (3, 2)],
    ids=["the infonce trial has the new base's qubits", "the triplet trials have them"],
)
def test_what_is_no_longer_searched_must_be_as_the_new_base_has_it(
    tiny_space: Space, earlier: EarlierRun, base: int, n_comparable: int
) -> None:
    space = with_parameters(tiny_space, {"circuit.n_qubits": None})
    found = taken(with_base(space, {"circuit.n_qubits": base}), earlier)
    assert len(found.priors) == n_comparable
    assert found.left_out["other `circuit.n_qubits`"] == 3 - n_comparable


def test_a_value_beyond_the_new_bounds_is_left_out_by_the_parameter_s_name(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    narrow = FloatParameter(type="float", low=0.4, high=0.8, when={"loss.name": ["triplet"]})
    found = taken(with_parameters(tiny_space, {"loss.margin": narrow}), earlier)
    assert [prior.key for prior in found.priors] == ["/runs/old#1"]
    assert found.left_out["`loss.margin` outside of the space"] == 2


def test_a_list_s_element_that_a_trial_has_not_is_named(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    base = with_base(tiny_space, {"mlp.hidden_layers": [8, 8]})
    second = IntParameter(type="int", low=4, high=16)
    space = with_parameters(base, {"mlp.hidden_layers.1": second})
    assert taken(space, earlier).left_out["no `mlp.hidden_layers.1`"] == 3


def test_a_condition_that_has_fallen_away_needs_the_value_that_the_trial_trained_with(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    always = FloatParameter(type="float", low=0.1, high=0.8)
    found = taken(with_parameters(tiny_space, {"loss.margin": always}), earlier)
    assert [prior.params["loss.margin"] for prior in found.priors] == [0.3, 0.5, 0.3]


def test_a_clone_s_values_are_its_donor_s_too_unless_it_had_to_start_over(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    earlier.trials[0].user_attrs.update({CLONES: 1, AT_EPOCH: 1})
    earlier.trials[1].user_attrs.update({CLONES: 0, AT_EPOCH: 1, RESTARTED: "nothing is left"})
    found = taken(tiny_space, earlier)
    assert [prior.key for prior in found.priors] == ["/runs/old#1", "/runs/old#2"]
    assert found.left_out["continues from another's weights"] == 1
    proposed = taken(tiny_space, earlier, data="others").proposals
    assert [one.key for one in proposed] == ["/runs/old#0", "/runs/old#1"]


def test_values_that_do_not_go_together_in_the_new_space_are_left_out(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    epochs = FloatParameter(type="float", low=0.0, high=2.0)
    old = replace(earlier, space=with_base(earlier.space, {"optimizer.linear_warmup_epochs": 1.0}))
    space = with_base(
        with_parameters(tiny_space, {"optimizer.linear_warmup_epochs": epochs}),
        {"optimizer.schedule": "one_cycle"},
    )
    found = taken(space, old)
    assert (found.priors, found.proposals) == ([], [])
    assert found.left_out["values that do not go together here"] == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 99},
        {"circuit.engine": "statevector"},
        {"data.seen": ["beir:moved"]},  # the fingerprint says that they are the same
        {"data.device": "cuda"},
        {"data.encoder_batch_size": 7},
        {"data.show_progress_bar": False},
    ],
)
def test_some_settings_change_no_result(
    tiny_space: Space, earlier: EarlierRun, changes: dict[str, Any]
) -> None:
    assert len(taken(with_base(tiny_space, changes), earlier).priors) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"warmup.steps": 7},
        {"data.encoder": "another"},
        {"data.candidates": 7},
        {"data.query_prompt": ""},
        {"data.document_prompt": ""},
    ],
)
def test_any_other_setting_that_differs_is_named(
    tiny_space: Space, earlier: EarlierRun, changes: dict[str, Any]
) -> None:
    found = taken(with_base(tiny_space, changes), earlier)
    assert found.priors == []
    assert found.left_out[f"other `{next(iter(changes))}`"] == 3


# Another budget of epochs.


def test_values_count_up_to_the_end_of_a_shorter_budget(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    found = taken(with_epochs(tiny_space, 2), earlier)
    assert [prior.values for prior in found.priors] == [
        {1: 0.3, 2: 0.4},
        {1: 0.5, 2: 0.5},
        {1: 0.2},
    ]
    assert [prior.state for prior in found.priors] == ["complete", "complete", "pruned"]
    shortest = taken(with_epochs(tiny_space, 1), earlier)
    assert [prior.state for prior in shortest.priors] == ["complete"] * 3


def test_whoever_had_a_shorter_budget_was_stopped_there_unless_it_had_ended_by_itself(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    found = taken(with_epochs(tiny_space, 9), earlier)
    assert [prior.state for prior in found.priors] == ["pruned", "complete", "pruned"]


@pytest.mark.parametrize("key", ["optimizer.schedule", "optimizer.circuit_schedule"])
@pytest.mark.parametrize("course", ["cosine", "one_cycle"])
def test_a_learning_rate_that_follows_the_budget_compares_only_with_the_same_one(
    tiny_space: Space, earlier: EarlierRun, key: str, course: str
) -> None:
    follows = {key: course}
    old = replace(earlier, space=with_base(earlier.space, follows))
    assert len(taken(with_base(tiny_space, follows), old).priors) == 3
    found = taken(with_epochs(tiny_space, 9, **follows), old)
    assert found.left_out["learning rate that ends with epoch 3"] == 3


# Where nothing compares.


def test_other_data_leave_only_the_best_configurations_to_be_trained_anew(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    found = taken(tiny_space, earlier, data="others")
    assert found.priors == []
    assert found.left_out["other data"] == 3
    assert [one.key for one in found.proposals] == ["/runs/old#0", "/runs/old#1"]
    assert [one.params for one in found.proposals] == [t.params for t in earlier.trials[:2]]


@pytest.mark.parametrize(("theirs", "ours"), [("a", "b"), ("a", "a"), ("", "b"), ("a", "")])
def test_values_over_other_vectors_say_nothing_where_both_are_known(
    tiny_space: Space, earlier: EarlierRun, theirs: str, ours: str
) -> None:
    (found,) = gather(tiny_space, [replace(earlier, encoder=theirs)], DATA, ours)
    other = (theirs, ours) == ("a", "b")
    assert found.left_out.get("other vectors", 0) == (3 if other else 0)
    assert len(found.priors) == (0 if other else 3)


def test_another_objective_is_no_measure(tiny_space: Space, earlier: EarlierRun) -> None:
    objective = tiny_space.header.objective.model_copy(update={"metric": "map"})
    header = tiny_space.header.model_copy(update={"objective": objective})
    found = taken(Space(header, tiny_space.base, tiny_space.parameters), earlier)
    assert found.left_out["objective is max ndcg@10"] == 3
    assert len(found.proposals) == 2


def test_only_what_the_space_holds_is_proposed_and_not_what_it_starts_with(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    narrow = with_parameters(
        tiny_space, {"circuit.n_qubits": IntParameter(type="int", low=3, high=4)}
    )
    found = taken(narrow, earlier, data="others")
    assert [one.key for one in found.proposals] == ["/runs/old#0", "/runs/old#2"]
    starts = [dict(earlier.trials[0].params)]
    header = tiny_space.header.model_copy(update={"start_from": starts})
    started = Space(header, tiny_space.base, tiny_space.parameters)
    keys = [one.key for one in taken(started, earlier, data="others").proposals]
    assert keys == ["/runs/old#1", "/runs/old#2"]


# Several runs, and runs that took over themselves.


def test_a_trial_comes_in_once_however_often_its_run_is_named(
    tiny_space: Space, earlier: EarlierRun
) -> None:
    # Of three trials, one compares; the others' configurations are not proposed for that.
    space = with_parameters(tiny_space, {"circuit.n_qubits": None})
    first, second = gather(space, [earlier, earlier], DATA)
    assert [prior.key for prior in first.priors] == ["/runs/old#1"]
    assert second.priors == []
    assert second.left_out["came in already"] == 1
    assert second.proposals == []


def test_what_a_run_took_over_itself_comes_in_under_its_first_name(
    tiny_space: Space, earlier: EarlierRun, tmp_path: Path
) -> None:
    study = open_study(tmp_path, "tiny")
    add_missing(study, tiny_space, gather(tiny_space, [earlier], DATA))
    after = EarlierRun(tmp_path, tiny_space, DATA, study.trials)
    assert taken(tiny_space, after).priors == taken(tiny_space, earlier).priors
    both = gather(tiny_space, [earlier, after], DATA)
    assert [len(one.priors) for one in both] == [3, 0]


# In the study.


@pytest.fixture
def study(tmp_path: Path, tiny_space: Space, earlier: EarlierRun) -> optuna.Study:
    """A new study with its start point and what came in."""
    study = open_study(tmp_path, "tiny")
    enqueue_missing(study, tiny_space)
    add_missing(study, tiny_space, gather(tiny_space, [earlier], DATA))
    return study


def test_what_came_in_is_in_the_study_as_it_was_but_not_of_the_search(
    study: optuna.Study, earlier: EarlierRun
) -> None:
    start, *came_in = study.trials
    assert start.state == TrialState.WAITING  # its number, and so its seed, are as without
    for now, then in zip(came_in, earlier.trials, strict=False):
        assert (now.state, now.value) == (then.state, then.value)
        assert now.params == then.params
        assert now.distributions == then.distributions
        assert now.intermediate_values == then.intermediate_values
        assert now.user_attrs == {WARM_START: f"/runs/old#{then.number}"}
        assert CHECKPOINT not in now.user_attrs
    assert exclude_warm_start(study.trials) == [start]
    assert StudyView(study.trials).finished() == []


def test_what_came_in_fills_the_scheduler_s_rungs(study: optuna.Study, tiny_space: Space) -> None:
    rule = make_rule(tiny_space, lambda: StudyView(study.trials))
    assert isinstance(rule, SuccessiveHalving)
    assert rule.rungs() == [{1: 3, 2: 2}]
    assert rule.stops(9, 1, 0.25)
    assert not rule.stops(10, 1, 0.45)


class Dying:
    """A study whose process is killed when it writes the n-th trial."""

    def __init__(self, study: optuna.Study, n: int) -> None:
        self._study, self._left = study, n

    def __getattr__(self, name: str) -> Any:
        if name in ("add_trial", "enqueue_trial"):
            if not self._left:
                raise KeyboardInterrupt
            self._left -= 1
        return getattr(self._study, name)


@pytest.mark.parametrize("survived", range(4))
def test_a_death_in_the_middle_of_it_is_made_up_for_once(
    tmp_path: Path, tiny_space: Space, earlier: EarlierRun, survived: int
) -> None:
    second = replace(earlier, folder=Path("/runs/other"), fingerprint="others")
    write_taken_over(gather(tiny_space, [earlier, second], DATA), tmp_path)
    study = open_study(tmp_path, "tiny")
    with pytest.raises(KeyboardInterrupt):
        add_missing(Dying(study, survived), tiny_space, read_taken_over(tmp_path))  # type: ignore[arg-type]
    for _ in range(2):
        add_missing(open_study(tmp_path, "tiny"), tiny_space, read_taken_over(tmp_path))
    came_in = [trial.user_attrs.get(WARM_START) for trial in study.trials]
    assert came_in == [f"/runs/old#{n}" for n in range(3)] + [None, None]
    proposed = [trial.user_attrs.get(PROPOSED_BY) for trial in study.trials[3:]]
    assert proposed == ["/runs/other#0", "/runs/other#1"]
    assert tiny_space.suggest(study.ask()) == earlier.trials[0].params


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes", "random", "qmc"])
def test_every_sampler_goes_on_from_what_came_in(
    study: optuna.Study, tiny_space: Space, name: str
) -> None:
    sampler = SamplerConfig.model_validate({"name": name, "startup_trials": 2})
    header = tiny_space.header.model_copy(update={"sampler": sampler})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    for turn in range(4, 7):
        study.sampler = make_sampler(space, turn)
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, 0.5)
    assert len(StudyView(study.trials).finished()) == 3


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_sampler_proposes_what_it_would_had_it_seen_those_trials_itself(
    tmp_path: Path, tiny_space: Space, name: str
) -> None:
    sampler = SamplerConfig.model_validate({"name": name, "startup_trials": 4})
    header = tiny_space.header.model_copy(update={"sampler": sampler})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    old = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(8):
        trial = old.ask()
        space.suggest(trial)
        trial.report(number / 8, 3)
        old.tell(trial, number / 8)
    study = open_study(tmp_path, "tiny")
    add_missing(study, space, gather(space, [EarlierRun(tmp_path, space, DATA, old.trials)], DATA))
    proposed = []
    for one in (old, study):
        one.sampler = make_sampler(space, 8)
        proposed.append(space.suggest(one.ask()))
    assert proposed[0] == proposed[1]


# On disk.


def test_what_is_taken_over_comes_back_as_it_was_written(
    tiny_space: Space, earlier: EarlierRun, tmp_path: Path
) -> None:
    assert read_taken_over(tmp_path) == []
    found = gather(tiny_space, [earlier], DATA)
    write_taken_over(found, tmp_path)
    assert read_taken_over(tmp_path) == found
    (tmp_path / TAKEN_OVER).write_text("[{")
    with pytest.raises(OutputError, match=f"`{tmp_path / TAKEN_OVER}` is damaged"):
        read_taken_over(tmp_path)


def test_a_run_is_read_as_it_lies(
    ended_run: Path, tiny_space: Space, data_config: DataConfig
) -> None:
    before = {path: path.stat().st_mtime_ns for path in ended_run.rglob("*")}
    run = read_earlier(ended_run)
    base = tiny_space.base.model_copy(update={"data": data_config})
    found = taken(replace(tiny_space, base=base), run, run.fingerprint)
    assert [prior.state for prior in found.priors] == ["complete", "complete", "pruned"]
    assert found.left_out == {"failed": 1}
    assert {path: path.stat().st_mtime_ns for path in ended_run.rglob("*")} == before


@pytest.mark.parametrize("missing", [RECORD, "study.db"])
def test_a_folder_without_a_run_is_refused(ended_run: Path, missing: str) -> None:
    (ended_run / missing).unlink()
    with pytest.raises(OutputError, match=f"holds no run: there is no {missing} in it"):
        read_earlier(ended_run)


# Where the objective is weighed against a cost.


@pytest.fixture
def weighed(tiny_space: Space) -> Space:
    return against(tiny_space, "parameters")


def against(space: Space, name: str) -> Space:
    objective = space.header.objective.model_copy(update={"cost": name})
    header = space.header.model_copy(update={"objective": objective})
    return Space(header, space.base, space.parameters)


def weighed_run(space: Space, folder: Path) -> EarlierRun:
    """A run with a complete trial of 80 parameters, and one that was stopped."""
    study = open_study(folder, "tiny", space.header.objective.directions)
    for epochs in (3, 1):
        trial = study.ask()
        space.suggest(trial)
        for epoch in range(1, epochs + 1):
            keep_value(trial, epoch, 0.1 * epoch)
        study.tell(trial, *([[0.3, 80.0]] if epochs == 3 else [None, TrialState.PRUNED]))
    return EarlierRun(Path("/runs/old"), space, DATA, study.trials)


def test_a_trial_comes_in_with_its_cost_and_its_epochs(tmp_path: Path, weighed: Space) -> None:
    (tmp_path / "new").mkdir()
    found = taken(weighed, weighed_run(weighed, tmp_path))
    assert found.left_out == {"no cost without its end": 1}
    study = open_study(tmp_path / "new", "tiny", weighed.header.objective.directions)
    add_missing(study, weighed, [found])
    (trial,) = study.trials
    assert trial.values == pytest.approx([0.3, 80.0])
    assert curve(trial) == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3})


def test_a_latency_compares_with_none_of_another_run(tmp_path: Path, tiny_space: Space) -> None:
    space = against(tiny_space, "latency")
    found = taken(space, weighed_run(space, tmp_path))
    assert found.left_out == {"latency of another time and machine": 2}
    assert len(found.proposals) == 2


def test_one_objective_says_nothing_of_two(
    tiny_space: Space, weighed: Space, earlier: EarlierRun, tmp_path: Path
) -> None:
    assert taken(weighed, earlier).left_out["objective is max ndcg@10"] == 3
    found = taken(tiny_space, weighed_run(weighed, tmp_path))
    assert found.left_out == {"objective is max ndcg@10 against parameters": 2}
