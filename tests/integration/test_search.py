"""Complete searches as a user runs them, with real Ray, Optuna, ASHA, W&B and memory limits."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from quantum_rerank.export import read_bundle
from quantum_rerank.plain_text import pasted
from quantum_rerank.reranker import Reranker
from tests.chaos.driver import broken_curves, read_events, wait_for
from tests.integration.conftest import (
    EPOCHS,
    FOLDER_NAME,
    GLUTTON,
    TOO_WIDE,
    TRIALS,
    WIDTHS,
    FinishedSearch,
    WatchedProcess,
    call,
    run,
)
from tuning import best_trial, search, status
from tuning.records import RESTARTED
from tuning.study.attributes import AT_EPOCH, CLONES, REPLACES, sessions
from tuning.study.run_folder import EVENTS, load_study
from tuning.study.trials import curve, is_cut_short
from tuning.study.view import StudyView

pytestmark = [pytest.mark.ray, pytest.mark.training]


def test_a_search_succeeds_and_writes_every_file(finished_search: FinishedSearch) -> None:
    assert finished_search.command.code == 0, finished_search.command.text
    names = {path.name for path in finished_search.folder.iterdir()}
    tables = {"summary.json", "trials.csv", "events.jsonl", "search.log"}
    assert tables | {"study.db", "run.json", "trials", "wandb", "best"} <= names
    assert not any(name.endswith((".unfinished", ".before")) for name in names)


def test_no_trial_is_left_running(finished_search: FinishedSearch) -> None:
    states = [trial.state for trial in finished_search.trials]
    assert len(states) == TRIALS
    assert all(state.is_finished() for state in states)


def test_trials_stopped_by_asha_are_pruned_with_their_last_value(
    finished_search: FinishedSearch,
) -> None:
    pruned = [trial for trial in finished_search.trials if trial.state == TrialState.PRUNED]
    rung = [t.intermediate_values[1] for t in finished_search.trials if t.intermediate_values]
    assert pruned or rung.count(max(rung)) > len(rung) // 2  # of equal ones none is stopped
    for trial in pruned:
        assert 1 <= max(trial.intermediate_values) < EPOCHS
        assert trial.value == trial.intermediate_values[max(trial.intermediate_values)]


def test_the_first_trial_is_the_base_configuration_and_completes(
    finished_search: FinishedSearch,
) -> None:
    first = finished_search.trials[0]
    assert first.state == TrialState.COMPLETE
    assert first.params["loss.name"] == "triplet"
    assert first.params["optimizer.mlp_lr"] == 0.001
    assert finished_search.summary["default_config"]["number"] == 0


def test_only_the_trial_that_exceeds_its_memory_fails(finished_search: FinishedSearch) -> None:
    glutton = finished_search.trials[1]
    assert glutton.state == TrialState.FAIL
    assert glutton.user_attrs["failure"]["kind"] == "oom"
    assert glutton.user_attrs["peak_rss_mb"] >= 1433.6  # 1.4 GiB, rounded as it is written
    assert "budget 1.4 GiB" in finished_search.command.text
    assert finished_search.summary["failures"]["1"].startswith("oom: ")
    later = {trial.state for trial in finished_search.trials if trial.number > 1}
    assert later <= {TrialState.PRUNED, TrialState.COMPLETE}


def test_the_summary_agrees_with_the_study(finished_search: FinishedSearch) -> None:
    summary = finished_search.summary
    names = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    for name, state in names.items():
        n_trials = sum(trial.state.name == state for trial in finished_search.trials)
        assert summary["states"][name] == n_trials
    assert summary["n_trials"] == TRIALS
    assert summary["wall_seconds"] > 0
    assert summary["peak_trial_rss_mb"] > 100
    names = {"cosine", "bm25", "bm25_cosine", "discriminant", "mlp_twin", "quantum_only"}
    assert set(summary["baselines"]) == names
    for roles in (summary["baseline"], summary["best"], summary["default_config"]):
        assert 0 < roles["test"]["ndcg@10"] <= 1
        assert 0 < roles["unseen_test"]["ndcg@10"] <= 1


def test_the_best_trial_and_the_start_point_are_confirmed_and_one_of_them_wins(
    finished_search: FinishedSearch,
) -> None:
    summary = finished_search.summary
    start_point = 0
    first, second = (trial.number for trial in StudyView(finished_search.trials).ranked()[:2])
    finalists = {first, second if first == start_point else start_point}
    means = {row["number"]: row["mean"] for row in summary["confirmed"]}
    assert set(means) == finalists
    leader = max(means, key=lambda number: (means[number], number != start_point))
    if (selection := summary["selection"]) is not None:
        assert (selection["leader"], selection["reference"]) == (leader, start_point)
        assert selection["lead"] == pytest.approx(means[leader] - means[start_point])
        is_ahead = selection["lead"] > selection["standard_error"]
        assert selection["is_distinguishable"] == is_ahead
        leader = leader if is_ahead else start_point
        assert f"Trial {selection['leader']} leads" in finished_search.command.text
    assert summary["best"]["number"] == leader
    epochs = finished_search.trials[leader].intermediate_values
    assert summary["best"]["objective"] == pytest.approx(max(epochs.values()))


def test_no_trial_gets_a_test_query(finished_search: FinishedSearch) -> None:
    splits = json.loads((finished_search.folder / "run.json").read_text())["splits"]
    in_domain = splits["beir:seen"]
    sets = [set(in_domain[role]) for role in ("train", "validation", "test")]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 90
    assert splits["beir:near"]["train"] == splits["beir:near"]["test"] == []
    assert splits["beir:far"]["train"] == splits["beir:far"]["validation"] == []


def test_trials_csv_has_a_row_per_trial(finished_search: FinishedSearch) -> None:
    with (finished_search.folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["number"]) for row in rows] == list(range(TRIALS))
    assert rows[1]["reason"].startswith("oom: ")


def test_wandb_can_read_every_trial(finished_search: FinishedSearch) -> None:
    runs = {}
    for path in sorted((finished_search.folder / "wandb").glob("offline-run-*/run-*.wandb")):
        reader = [Path(sys.executable).parent / "wandb", "leet", "inspect", "--summary", "--json"]
        read = subprocess.run([*reader, path], capture_output=True, text=True, check=True)
        record = json.loads(read.stdout)
        runs[record["config"]["trial"]] = record
    assert sorted(runs) == list(range(TRIALS))
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    for trial in finished_search.trials:
        shown = runs[trial.number]["summary"]
        assert shown["state"] == states[trial.state.name]
        assert shown["epoch"] == max(trial.intermediate_values, default=0)
        assert runs[trial.number]["config"]["optimizer.mlp_lr"] == trial.params["optimizer.mlp_lr"]
        if trial.state == TrialState.COMPLETE:
            assert shown["objective"] == pytest.approx(trial.value)


def test_the_bundle_scores_texts_and_can_be_exported_again(
    finished_search: FinishedSearch, domains: Path, tmp_path: Path
) -> None:
    exported = call(best_trial.app, finished_search.folder, "--output", tmp_path / "again")
    assert exported.code == 0, exported.text
    first = Reranker.load(finished_search.folder / "best")
    second = Reranker.load(tmp_path / "again")
    assert first.manifest.metrics == second.manifest.metrics
    assert first.manifest.examples == second.manifest.examples
    vectors = np.load(domains / "vectors" / "beir-seen" / "corpus.npy")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = first.scores_of_embeddings(vectors[0], vectors[:20])
    assert scores[0] == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(scores, second.scores_of_embeddings(vectors[0], vectors[:20]))


def test_a_folder_that_holds_a_run_is_refused(
    finished_search: FinishedSearch, make_space: Callable[..., Path]
) -> None:
    space = make_space("{trials: 2, epochs: 1}")
    refused = call(search.app, "--space", space, "--output", finished_search.folder)
    assert refused.code == 2
    assert "is not empty" in refused.text
    assert "Traceback" not in refused.text


def test_a_run_in_a_folder_with_an_unusual_name_is_complete_in_it(
    finished_search: FinishedSearch,
) -> None:
    folder = finished_search.folder
    assert [path.name for path in folder.parent.iterdir()] == [FOLDER_NAME]
    shown = call(status.app, folder, "--json")
    assert shown.code == 0, shown.text
    assert json.loads(shown.text.splitlines()[-1])["progress"]["finished"] == TRIALS


def test_a_run_in_a_folder_with_an_unusual_name_can_be_resumed_and_warm_start_another(
    finished_search: FinishedSearch, make_space: Callable[..., Path], tmp_path: Path
) -> None:
    folder = finished_search.folder
    resumed = call(search.app, "--resume", folder, "--trials", "+1", "--dry-run")
    assert resumed.code == 0, resumed.text
    space = make_space(f"{{trials: 2, epochs: {EPOCHS}}}")
    arguments = ("--warm-start", folder, "--output", tmp_path / FOLDER_NAME, "--dry-run")
    started = call(search.app, "--space", space, *arguments)
    assert started.code == 0, started.text


def test_every_trial_is_a_wandb_run_of_its_own_whatever_the_environment_sets(
    finished_search: FinishedSearch,
) -> None:
    assert "every trial is a run of its own: WANDB_RUN_ID" in finished_search.command.text
    run_folders = [*(finished_search.folder / "wandb").glob("offline-run-*")]
    assert len(run_folders) == TRIALS
    assert not any(path.name.endswith("-fixed") for path in run_folders)


def test_a_trial_trained_again_has_the_same_result(finished_search: FinishedSearch) -> None:
    number = finished_search.summary["best"]["number"]
    again = run("tuning.search", "--rerun", finished_search.folder, "--trial", str(number))
    assert again.code == 0, again.text


def test_ctrl_c_ends_a_search_in_order_and_exports_the_best_trial(
    make_space: Callable[..., Path], watch: Callable[..., WatchedProcess], tmp_path: Path
) -> None:
    budget = "{trials: 40, epochs: 2, trial_memory_gb: 4}"
    space = make_space(budget, start_from="[{}]", confirm_seeds="0")
    folder = tmp_path / "run"
    running = watch("tuning.search", "--space", space, "--output", folder)
    running.wait_for(lambda: "complete" in running.text())
    running.process.send_signal(signal.SIGINT)
    stopped = running.end()
    assert stopped.code == 130, stopped.text
    ended = FinishedSearch(folder, stopped)
    assert ended.summary["ended_early"] == "Ctrl-C"
    assert ended.summary["n_trials"] < 40
    assert Reranker.load(folder / "best").manifest.config.model == "hybrid"
    assert not any(trial.state == TrialState.RUNNING for trial in ended.trials)


def test_a_second_ctrl_c_stops_a_search_at_once_and_leaves_no_trial_running(
    make_space: Callable[..., Path], watch: Callable[..., WatchedProcess], tmp_path: Path
) -> None:
    space = make_space("{trials: 40, epochs: 50, trial_memory_gb: 4}", start_from="[{}]")
    folder = tmp_path / "run"
    running = watch("tuning.search", "--space", space, "--output", folder)
    # The workers have yet to start, which takes longer than the answer to the first Ctrl-C.
    running.wait_for(lambda: read_events(folder)[1:])
    running.process.send_signal(signal.SIGINT)
    running.wait_for(lambda: "Ctrl-C again stops now" in running.text())
    running.process.send_signal(signal.SIGINT)
    stopped = running.end()
    assert stopped.code == 130, stopped.text
    assert not (folder / "summary.json").exists()
    study = load_study(folder)
    assert not study.get_trials(states=(TrialState.RUNNING,))
    assert isinstance(study, optuna.Study)


def has_complete_and_running_trials(folder: Path) -> bool:
    """Return True if a trial is complete and another one has reported, but not its last epoch."""
    events = read_events(folder)
    ended = {event["trial"] for event in events if event["event"] == "ended"}
    reported = {event["trial"]: event["epoch"] for event in events if event["event"] == "reported"}
    is_complete = any(event.get("state") == "complete" for event in events)
    return is_complete and any(
        1 <= reported[trial] < LONG_EPOCHS for trial in reported.keys() - ended
    )


def kill_in_the_middle(
    make_space: Callable[..., Path], watch: Callable[..., WatchedProcess], folder: Path
) -> list[FrozenTrial]:
    """Kill the driver of a search while a trial trains; return the trials of its study."""
    budget = f"{{trials: {FEW_TRIALS}, epochs: {LONG_EPOCHS}, trial_memory_gb: 4}}"
    fixed = "{training.batch_size: 4, circuit.n_layers: 4}"
    options = {"scheduler": "{name: none}", "confirm_seeds": "0"}  # none is pruned
    space = make_space(budget, start_from="[{}]", fixed=fixed, **options)
    running = watch("tuning.search", "--space", space, "--output", folder)
    with running.stopped_when(lambda: has_complete_and_running_trials(folder)):
        running.process.kill()
    running.end()
    return load_study(folder).trials


def assert_nothing_lost(resumed: FinishedSearch, killed: list[FrozenTrial]) -> None:
    """Fail unless a resumed search has kept every trial and every epoch of the killed one."""
    assert resumed.command.code == 0, resumed.command.text
    trials = resumed.trials
    running = [trial for trial in killed if trial.state == TrialState.RUNNING]
    complete = {trial.number: trial for trial in killed if trial.state == TrialState.COMPLETE}
    assert running
    assert complete
    assert all(trial.state.is_finished() for trial in trials)
    assert {number: trials[number] for number in complete} == complete
    assert len(StudyView(trials).finished()) == FEW_TRIALS
    assert len({str(trial.params) for trial in StudyView(trials).finished()}) == FEW_TRIALS
    for cut_short in running:
        assert is_cut_short(trials[cut_short.number])
        (last,) = (
            t for t in trials if cut_short.number in StudyView(trials).attempts(t.number)[1:]
        )
        assert last.params == cut_short.params
        epochs = cut_short.intermediate_values
        assert {epoch: last.intermediate_values[epoch] for epoch in epochs} == epochs
    assert broken_curves(trials) == []
    assert Reranker.load(resumed.folder / "best").manifest.config.model == "hybrid"


FEW_TRIALS, LONG_EPOCHS = 3, 5


def test_a_killed_search_resumes_and_loses_nothing(
    make_space: Callable[..., Path], watch: Callable[..., WatchedProcess], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    killed = kill_in_the_middle(make_space, watch, folder)
    resumed = FinishedSearch(folder, run("tuning.search", "--resume", folder))
    assert_nothing_lost(resumed, killed)
    first, second = sessions(load_study(folder).user_attrs)
    assert ("ended" in first, second["ended"]) == (False, "")
    assert resumed.summary["wall_seconds"] > first["seconds"]


@pytest.mark.extended
def test_a_search_killed_again_during_its_export_resumes_and_loses_nothing(
    make_space: Callable[..., Path], watch: Callable[..., WatchedProcess], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    killed = kill_in_the_middle(make_space, watch, folder)
    running = watch("tuning.search", "--resume", folder)
    wait_for("export", folder, running.process, random.Random(0))
    running.process.kill()  # if it has not ended yet
    running.end()
    resumed = FinishedSearch(folder, run("tuning.search", "--resume", folder))
    assert_nothing_lost(resumed, killed)
    first, second, third = sessions(load_study(folder).user_attrs)
    assert ("ended" in first, third["ended"]) == (False, "")
    assert resumed.summary["wall_seconds"] > first["seconds"] + second["seconds"]


def population_space(make_space: Callable[..., Path], trials: int, population: int) -> Path:
    budget = f"{{trials: {trials}, epochs: 4, trial_memory_gb: 2}}"
    rule = f"{{name: pbt, population: {population}, interval_epochs: 1, quantile: 0.5}}"
    return make_space(budget, start_from="[{}]", scheduler=rule, confirm_seeds="0")


def clones_of(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in StudyView(trials).finished() if CLONES in trial.user_attrs]


def assert_valid_clones(trials: list[FrozenTrial]) -> None:
    """Fail unless every stopped trial has a clone that continues a better trial."""
    assert all(trial.state.is_finished() for trial in trials)
    assert trials[0].state != TrialState.PRUNED  # a start point
    assert not StudyView(trials).without_successor()
    first = StudyView(trials).origins
    clones = clones_of(trials)
    replaced = [trial.user_attrs[REPLACES] for trial in clones]
    assert sorted(replaced) == sorted(t.number for t in trials if t.state == TrialState.PRUNED)
    for clone in clones:
        donor, epoch = trials[clone.user_attrs[CLONES]], clone.user_attrs[AT_EPOCH]
        assert RESTARTED not in clone.user_attrs
        assert min(clone.intermediate_values) == epoch + 1
        assert architecture(clone) == architecture(donor)
        assert clone.params != donor.params
        reached = StudyView(trials).reached(epoch)
        values = reached[first[donor.number]].intermediate_values
        stopped = trials[clone.user_attrs[REPLACES]]
        assert values[epoch] > stopped.intermediate_values[epoch]


@pytest.mark.extended
def test_a_population_replaces_its_worst_members_by_clones_of_the_best(
    make_space: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    space = population_space(make_space, trials=4, population=2)
    ended = FinishedSearch(folder, run("tuning.search", "--space", space, "--output", folder))
    assert ended.command.code == 0, ended.command.text
    assert len(StudyView(ended.trials).finished()) == 4
    assert clones_of(ended.trials)
    assert_valid_clones(ended.trials)


def has_a_running_clone(folder: Path) -> bool:
    """Return True if a clone has reported an epoch and several trials are running."""
    if not (folder / EVENTS).exists() or "pruned" not in (folder / EVENTS).read_text():
        return False
    trials = load_study(folder).trials
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    return len(running) > 1 and any(
        trial.intermediate_values for trial in trials if CLONES in trial.user_attrs
    )


@pytest.mark.extended
def test_a_killed_population_resumes_and_loses_no_member(
    make_space: Callable[..., Path], watch: Callable[..., WatchedProcess], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    space = population_space(make_space, trials=8, population=4)
    running = watch("tuning.search", "--space", space, "--output", folder)
    running.wait_for(lambda: has_a_running_clone(folder))
    running.process.kill()
    running.end()
    over = {trial.number: trial for trial in StudyView(load_study(folder).trials).finished()}

    resumed = FinishedSearch(folder, run("tuning.search", "--resume", folder))
    assert resumed.command.code == 0, resumed.command.text
    trials = resumed.trials
    assert {number: trials[number] for number in over} == over
    assert len(StudyView(trials).finished()) == 8
    assert_valid_clones(trials)

    last = max(clones_of(trials), key=lambda trial: trial.number)
    again = run("tuning.search", "--rerun", folder, "--trial", str(last.number))
    assert again.code == 0, again.text
    assert f"after trial {last.user_attrs[CLONES]} to epoch" in again.text


def architecture(trial: FrozenTrial) -> dict:
    """Return the hyperparameters of a trial that give its weights their shapes."""
    prefixes = ("circuit.", "mlp.hidden_layers")
    return {key: value for key, value in trial.params.items() if key.startswith(prefixes)}


@pytest.mark.extended
def test_a_search_in_which_every_trial_fails_ends_with_code_3_and_the_reason(
    make_space: Callable[..., Path], tmp_path: Path
) -> None:
    budget = "{trials: 1, epochs: 1, trial_memory_gb: 1.0}"
    space = make_space(budget, f"{WIDTHS}, {TOO_WIDE}", start_from=f"[{GLUTTON}]")
    folder = tmp_path / "run"
    ended = run("tuning.search", "--space", space, "--output", folder)
    assert ended.code == 3, ended.text
    reason = "1 of 1 trials ended without weights (1 oom: "
    assert f"There is nothing to export: {reason}" in ended.text
    assert reason in json.loads((folder / "summary.json").read_text())["ended_early"]


def test_an_address_where_no_cluster_answers_is_a_clear_error(
    make_space: Callable[..., Path], tmp_path: Path
) -> None:
    space = make_space("{trials: 2, epochs: 1}")
    arguments = ("--space", space, "--output", tmp_path / "run", "--address", "127.0.0.1:1")
    refused = call(search.app, *arguments)
    assert refused.code == 2
    assert "No Ray cluster answers at `127.0.0.1:1`" in refused.text
    assert "Traceback" not in refused.text


@pytest.fixture(scope="module")
def warm_search(
    finished_search: FinishedSearch,
    make_space: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> FinishedSearch:
    """Run a search that starts from the trials of the finished one, in another space."""
    # Narrower and wider than the earlier space at once.
    space = make_space(
        f"{{trials: 2, epochs: {EPOCHS}, trial_memory_gb: 4}}",
        "16, 24, 32, 48",
        start_from="[{}]",
        sampler="{name: tpe, seed: 3}",
        confirm_seeds="0",
    )
    folder = tmp_path_factory.mktemp("runs") / "warm"
    arguments = ("--space", space, "--output", folder, "--warm-start", finished_search.folder)
    return FinishedSearch(folder, run("tuning.search", *arguments))


def imported_trials(search: FinishedSearch) -> dict[str, FrozenTrial]:
    """Return the trials that a warm start has imported, by their origin."""
    trials = [trial for trial in search.trials if "warm_start" in trial.user_attrs]
    return {trial.user_attrs["warm_start"]: trial for trial in trials}


@pytest.mark.extended
def test_a_warm_start_imports_the_trials_of_an_earlier_search(
    finished_search: FinishedSearch, warm_search: FinishedSearch
) -> None:
    assert warm_search.command.code == 0, warm_search.command.text
    assert "Warm start" in warm_search.command.text
    (record,) = warm_search.summary["warm_start"]
    imported = imported_trials(warm_search)
    assert record["complete"] + record["pruned"] == len(imported) > 0
    failed = sum(trial.state == TrialState.FAIL for trial in finished_search.trials)
    assert record["left_out"]["failed"] == failed
    for key, trial in imported.items():
        original = finished_search.trials[int(key.rpartition("#")[2])]
        assert key == f"{finished_search.folder}#{original.number}"
        assert (trial.state, trial.value) == (original.state, original.value)
        assert trial.params == original.params


@pytest.mark.extended
def test_imported_trials_count_for_asha_but_not_for_the_budget(
    warm_search: FinishedSearch,
) -> None:
    imported = imported_trials(warm_search)
    assert warm_search.trials[0].params["optimizer.mlp_lr"] == 0.001
    assert warm_search.summary["n_trials"] == len(StudyView(warm_search.trials).finished()) == 2
    numbers = {trial.number for trial in imported.values()}
    assert warm_search.summary["best"]["number"] not in numbers
    events = read_events(warm_search.folder)
    start = next(event for event in events if event["event"] == "session_started")
    assert start["rungs"][0]["1"] == len(imported)
    assert Reranker.load(warm_search.folder / "best").manifest.config.model == "hybrid"


@pytest.mark.extended
def test_an_imported_trial_is_trained_again_from_its_own_run_only(
    finished_search: FinishedSearch, warm_search: FinishedSearch
) -> None:
    number = str(min(trial.number for trial in imported_trials(warm_search).values()))
    refused = call(search.app, "--rerun", warm_search.folder, "--trial", number)
    assert refused.code == 2
    assert pasted("--rerun", finished_search.folder, "--trial") in refused.text


@pytest.mark.extended
def test_a_search_with_a_warm_start_is_extended_by_more_trials(
    warm_search: FinishedSearch,
) -> None:
    folder, trials = warm_search.folder, warm_search.trials
    best = Reranker.load(folder / "best").manifest
    extended = FinishedSearch(folder, run("tuning.search", "--resume", folder, "--trials", "+1"))
    assert extended.command.code == 0, extended.command.text
    finished = StudyView(extended.trials).finished()
    assert len(finished) == len({str(trial.params) for trial in finished}) == 3
    assert extended.trials[: len(trials)] == trials
    assert all(trial.state.is_finished() for trial in extended.trials)
    exported = Reranker.load(folder / "best").manifest
    assert exported == best or extended.summary["best"]["number"] >= len(trials)
    assert len(imported_trials(extended)) == len(imported_trials(warm_search))


@pytest.mark.extended
def test_a_search_with_a_cost_ends_with_a_pareto_front(
    make_space: Callable[..., Path], tmp_path: Path
) -> None:
    space = make_space(
        "{trials: 3, epochs: 1, trial_memory_gb: 4}",
        start_from="[{}]",
        objective="{cost: parameters}",
        sampler="{name: tpe, startup_trials: 2, seed: 3}",
        scheduler="{name: none}",
        confirm_seeds="0",
    )
    folder = tmp_path / "run"
    ended = FinishedSearch(folder, run("tuning.search", "--space", space, "--output", folder))
    assert ended.command.code == 0, ended.command.text
    trials, best = ended.trials, load_study(folder).best_trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert all(sorted(curve(trial)) == [1] for trial in trials)
    front = ended.summary["pareto_front"]
    assert {row["number"] for row in front} == {trial.number for trial in best}
    assert [row["cost"] for row in front] == sorted(row["cost"] for row in front)
    assert "Pareto front: validation objective against trained parameters" in ended.command.text
    assert (folder / "pareto.html").stat().st_size > 1_000_000
    highest = StudyView(trials).ranked()[:2]
    assert ended.summary["best"]["number"] in {trial.number for trial in highest}
    for row in front:
        output, number = tmp_path / f"trial-{row['number']}", str(row["number"])
        exported = call(best_trial.app, folder, "--trial", number, "--output", output)
        assert exported.code == 0, exported.text
        assert read_bundle(output)[0].n_trained == row["cost"]
    shown = call(status.app, folder, "--json")
    assert json.loads(shown.text)["best"]["trial"] == highest[0].number


@pytest.mark.extended
def test_a_search_ends_with_trials_left_where_these_would_add_too_little(
    make_space: Callable[..., Path], tmp_path: Path
) -> None:
    space = make_space("{trials: 60, epochs: 1}", start_from="[{}]")
    folder = tmp_path / "run"
    ended = FinishedSearch(folder, run("tuning.search", "--space", space, "--output", folder))
    assert ended.command.code == 0, ended.command.text
    n_finished = len(StudyView(ended.trials).finished())
    assert 17 <= n_finished < 60
    assert f"No further trial was proposed after {n_finished} of 60" in ended.command.text
    resumed = FinishedSearch(
        folder, run("tuning.search", "--resume", folder, "--trials", str(n_finished + 1))
    )
    assert resumed.command.code == 0, resumed.command.text
    assert len(StudyView(resumed.trials).finished()) == n_finished + 1
