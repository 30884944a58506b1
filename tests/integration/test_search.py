"""A whole search, as a user runs it: Ray, Optuna, ASHA, W&B and the memory watchdog are real."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from quantum_rerank.export import read_bundle
from quantum_rerank.reranker import Reranker
from tests.chaos.driver import broken_curves, read_events, wait_for
from tests.integration.conftest import Finished, Watched, call, run
from tuning import best_trial, search, status
from tuning.records import RESTARTED
from tuning.study.attributes import AT_EPOCH, CLONES, REPLACES, sessions
from tuning.study.run_folder import EVENTS, load_study
from tuning.study.trials import curve, is_cut_short
from tuning.study.view import StudyView

pytestmark = [pytest.mark.ray, pytest.mark.slow]

# The second trial asks for 8192 x 8192 weights, with gradients and moments more than a gigabyte.
GLUTTON = """start_from:
  - {}
  - {mlp.hidden_layers.length: 2, mlp.hidden_layers.0: 8192, mlp.hidden_layers.1: 8192}
"""
TRIALS, EPOCHS = 8, 4


@dataclass(frozen=True)
class Run:
    """A finished search."""

    folder: Path
    command: Finished

    @property
    def summary(self) -> dict:
        return json.loads((self.folder / "summary.json").read_text())

    @property
    def trials(self) -> list[FrozenTrial]:
        return load_study(self.folder).trials


@pytest.fixture(scope="session")
def finished(make_space: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One search, looked at by every test below."""
    budget = f"{{trials: {TRIALS}, epochs: {EPOCHS}, trial_memory_gb: 1.4}}"
    space = make_space(budget, GLUTTON)
    folder = tmp_path_factory.mktemp("runs") / "run"
    return Run(folder, run("tuning.search", "--space", space, "--output", folder))


def test_the_search_ends_well_and_leaves_every_file(finished: Run) -> None:
    assert finished.command.code == 0, finished.command.text
    left = {path.name for path in finished.folder.iterdir()}
    tables, kept = {"summary.json", "trials.csv"}, {"study.db", "run.json", "trials", "wandb"}
    assert tables | kept | {"best", "events.jsonl", "search.log"} <= left
    assert not any(name.endswith((".unfinished", ".before")) for name in left)


def test_no_trial_is_left_running(finished: Run) -> None:
    states = [trial.state for trial in finished.trials]
    assert len(states) == TRIALS
    assert all(state.is_finished() for state in states)


def test_a_trial_that_asha_stopped_is_pruned_with_its_step(finished: Run) -> None:
    pruned = [trial for trial in finished.trials if trial.state == TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        assert 1 <= max(trial.intermediate_values) < EPOCHS
        assert trial.value == trial.intermediate_values[max(trial.intermediate_values)]


def test_the_first_trial_is_the_base_configuration_and_runs_to_its_end(finished: Run) -> None:
    first = finished.trials[0]
    assert first.state == TrialState.COMPLETE
    assert first.params["loss.name"] == "triplet"
    assert first.params["optimizer.mlp_lr"] == 0.001
    assert finished.summary["default_config"]["number"] == 0


def test_a_trial_that_eats_memory_fails_alone_and_is_named_with_its_reason(finished: Run) -> None:
    glutton = finished.trials[1]
    assert glutton.state == TrialState.FAIL
    assert glutton.user_attrs["failure"]["kind"] == "oom"
    assert glutton.user_attrs["peak_rss_mb"] > 1.4 * 1024
    assert "budget 1.4 GiB" in finished.command.text
    assert finished.summary["failures"]["1"].startswith("oom: ")
    after = [trial.state for trial in finished.trials if trial.number > 1]
    assert TrialState.PRUNED in after or TrialState.COMPLETE in after


def test_the_summary_counts_what_the_study_holds(finished: Run) -> None:
    summary = finished.summary
    names = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    for name, state in names.items():
        held = [trial for trial in finished.trials if trial.state.name == state]
        assert summary["states"][name] == len(held)
    assert summary["n_trials"] == TRIALS
    assert summary["wall_seconds"] > 0
    assert summary["peak_trial_rss_mb"] > 100
    assert set(summary["baselines"]) == {"cosine", "mlp_twin", "quantum_only"}
    for roles in (summary["baseline"], summary["best"], summary["default_config"]):
        assert 0 < roles["test"]["ndcg@10"] <= 1
        assert 0 < roles["unseen_test"]["ndcg@10"] <= 1


def test_the_best_trials_are_confirmed_and_the_best_mean_wins(finished: Run) -> None:
    highest = StudyView(finished.trials).ranked()[:2]
    confirmed = finished.summary["confirmed"]
    assert {one["number"] for one in confirmed} == {trial.number for trial in highest}
    assert confirmed == sorted(confirmed, key=lambda one: one["mean"], reverse=True)
    assert finished.summary["best"]["number"] == confirmed[0]["number"]
    values = {trial.number: max(trial.intermediate_values.values()) for trial in highest}
    value = values[confirmed[0]["number"]]
    assert finished.summary["best"]["objective"] == pytest.approx(value)


def test_a_trial_sees_no_test_query(finished: Run) -> None:
    roles = json.loads((finished.folder / "run.json").read_text())["splits"]
    seen = roles["beir:seen"]
    sets = [set(seen[role]) for role in ("train", "validation", "test")]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 90
    assert roles["beir:near"]["train"] == roles["beir:near"]["test"] == []
    assert roles["beir:far"]["train"] == roles["beir:far"]["validation"] == []


def test_trials_csv_has_a_row_per_trial(finished: Run) -> None:
    with (finished.folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["number"]) for row in rows] == list(range(TRIALS))
    assert rows[1]["reason"].startswith("oom: ")


def test_wandb_reads_every_trial_back(finished: Run) -> None:
    runs = {}
    for path in sorted((finished.folder / "wandb").glob("offline-run-*/run-*.wandb")):
        reader = [Path(sys.executable).parent / "wandb", "leet", "inspect", "--summary", "--json"]
        read = subprocess.run([*reader, path], capture_output=True, text=True, check=True)
        record = json.loads(read.stdout)
        runs[record["config"]["trial"]] = record
    assert sorted(runs) == list(range(TRIALS))
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    for trial in finished.trials:
        shown = runs[trial.number]["summary"]
        assert shown["state"] == states[trial.state.name]
        assert shown["epoch"] == max(trial.intermediate_values, default=0)
        assert runs[trial.number]["config"]["optimizer.mlp_lr"] == trial.params["optimizer.mlp_lr"]
        if trial.state == TrialState.COMPLETE:
            assert shown["objective"] == pytest.approx(trial.value)


def test_the_bundle_gives_the_scores_in_its_manifest_and_can_be_exported_again(
    finished: Run, domains: Path, tmp_path: Path
) -> None:
    again = run("tuning.best_trial", finished.folder, "--output", tmp_path / "again")
    assert again.code == 0, again.text
    first, second = Reranker.load(finished.folder / "best"), Reranker.load(tmp_path / "again")
    assert first.manifest.metrics == second.manifest.metrics
    assert first.manifest.examples == second.manifest.examples
    vectors = np.load(domains / "vectors" / "beir-seen" / "corpus.npy")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = first.scores_of_embeddings(vectors[0], vectors[:20])
    assert scores[0] == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(scores, second.scores_of_embeddings(vectors[0], vectors[:20]))


def test_a_folder_that_holds_a_run_is_refused_at_once(
    finished: Run, make_space: Callable[..., Path]
) -> None:
    space = make_space("{trials: 2, epochs: 1}")
    refused = call(search.app, "--space", space, "--output", finished.folder)
    assert refused.code == 2
    assert "is not empty" in refused.text
    assert "Traceback" not in refused.text


def test_ctrl_c_once_ends_in_order_and_exports_the_best_so_far(
    make_space: Callable[..., Path], watch: Callable[..., Watched], tmp_path: Path
) -> None:
    space = make_space("{trials: 40, epochs: 6, trial_memory_gb: 4}", "start_from: [{}]")
    folder = tmp_path / "run"
    running = watch("tuning.search", "--space", space, "--output", folder)
    running.wait_for(lambda: "complete" in running.text())
    running.process.send_signal(signal.SIGINT)
    stopped = running.end()
    assert stopped.code == 130, stopped.text
    ended = Run(folder, stopped)
    assert ended.summary["ended_early"] == "Ctrl-C"
    assert ended.summary["n_trials"] < 40
    assert Reranker.load(folder / "best").manifest.config.model == "hybrid"
    finished_states = {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING}
    assert {trial.state for trial in ended.trials} <= finished_states


def test_ctrl_c_twice_stops_now_and_leaves_no_trial_running(
    make_space: Callable[..., Path], watch: Callable[..., Watched], tmp_path: Path
) -> None:
    space = make_space("{trials: 40, epochs: 50, trial_memory_gb: 4}", "start_from: [{}]")
    folder = tmp_path / "run"
    running = watch("tuning.search", "--space", space, "--output", folder)
    # The workers are still to start, which takes longer than to answer the first Ctrl-C.
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


def is_in_the_middle(folder: Path) -> bool:
    """Whether a trial is complete, and another one has reported but not its last epoch."""
    events = read_events(folder)
    ended = {event["trial"] for event in events if event["event"] == "ended"}
    reported = {event["trial"]: event["epoch"] for event in events if event["event"] == "reported"}
    is_complete = any(event.get("state") == "complete" for event in events)
    return is_complete and any(1 <= reported[trial] < 8 for trial in reported.keys() - ended)


def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(
    make_space: Callable[..., Path], watch: Callable[..., Watched], tmp_path: Path
) -> None:
    more = "start_from: [{}]\nfixed: {training.batch_size: 4, circuit.n_layers: 4}"
    space = make_space("{trials: 6, epochs: 8, trial_memory_gb: 4}", more)
    folder = tmp_path / "run"
    running = watch("tuning.search", "--space", space, "--output", folder)
    with running.stopped_when(lambda: is_in_the_middle(folder)):
        running.process.kill()
    running.end()
    killed = load_study(folder).trials
    unfinished = [trial for trial in killed if trial.state == TrialState.RUNNING]
    complete = {trial.number: trial for trial in killed if trial.state == TrialState.COMPLETE}
    assert unfinished
    assert complete

    running = watch("tuning.search", "--resume", folder)
    wait_for("export", folder, running.process, random.Random(0))
    running.process.kill()  # or it has ended already
    running.end()
    resumed = Run(folder, run("tuning.search", "--resume", folder))
    assert resumed.command.code == 0, resumed.command.text
    trials = resumed.trials
    assert all(trial.state.is_finished() for trial in trials)
    assert {number: trials[number] for number in complete} == complete
    assert len(StudyView(trials).finished()) == 6
    assert len({str(trial.params) for trial in StudyView(trials).finished()}) == 6
    for before in unfinished:
        assert is_cut_short(trials[before.number])
        (after,) = (t for t in trials if before.number in StudyView(trials).attempts(t.number)[1:])
        assert after.params == before.params
        epochs = before.intermediate_values
        assert {epoch: after.intermediate_values[epoch] for epoch in epochs} == epochs
    assert broken_curves(trials) == []
    first, second, third = sessions(load_study(folder).user_attrs)
    assert ("ended" in first, third["ended"]) == (False, "")
    # A session writes its record a moment after the summary.
    before_last = first["seconds"] + second["seconds"]
    assert before_last < resumed.summary["wall_seconds"] < before_last + third["seconds"] + 0.1
    assert Reranker.load(folder / "best").manifest.config.model == "hybrid"


def has_a_clone_at_work(folder: Path) -> bool:
    """Whether a clone has reported an epoch, and other trials are not over."""
    if not (folder / EVENTS).exists() or "pruned" not in (folder / EVENTS).read_text():
        return False
    trials = load_study(folder).trials
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    return len(running) > 1 and any(
        trial.intermediate_values for trial in trials if CLONES in trial.user_attrs
    )


@pytest.mark.long
def test_a_population_that_was_killed_goes_on_and_loses_no_member(
    make_space: Callable[..., Path], watch: Callable[..., Watched], tmp_path: Path
) -> None:
    space = make_space("{trials: 8, epochs: 4, trial_memory_gb: 2}", "start_from: [{}]")
    rule = "{name: pbt, population: 4, interval_epochs: 1, quantile: 0.5}"
    asha = "{name: asha, grace_period: 1, reduction_factor: 2}"
    space.write_text(space.read_text().replace(asha, rule).replace(", 8192", ""))
    folder = tmp_path / "run"
    running = watch("tuning.search", "--space", space, "--output", folder)
    running.wait_for(lambda: has_a_clone_at_work(folder))
    running.process.kill()
    running.end()
    over = {trial.number: trial for trial in StudyView(load_study(folder).trials).finished()}

    resumed = Run(folder, run("tuning.search", "--resume", folder))
    assert resumed.command.code == 0, resumed.command.text
    trials = resumed.trials
    assert all(trial.state.is_finished() for trial in trials)
    assert {number: trials[number] for number in over} == over
    assert len(StudyView(trials).finished()) == 8
    assert trials[0].state != TrialState.PRUNED  # a start point
    assert not StudyView(trials).without_successor()
    first = StudyView(trials).origins
    clones = [trial for trial in StudyView(trials).finished() if CLONES in trial.user_attrs]
    places = [trial.user_attrs[REPLACES] for trial in clones]
    assert sorted(places) == sorted(t.number for t in trials if t.state == TrialState.PRUNED)
    for clone in clones:
        donor, epoch = trials[clone.user_attrs[CLONES]], clone.user_attrs[AT_EPOCH]
        assert RESTARTED not in clone.user_attrs
        assert min(clone.intermediate_values) == epoch + 1
        kept = {key: value for key, value in donor.params.items() if is_architecture(key)}
        assert {k: v for k, v in clone.params.items() if is_architecture(k)} == kept
        assert clone.params != donor.params
        values = StudyView(trials).reached(epoch)[first[donor.number]].intermediate_values
        stopped = trials[clone.user_attrs[REPLACES]]
        assert values[epoch] > stopped.intermediate_values[epoch]

    (last, *_) = sorted(clones, key=lambda trial: -trial.number)
    again = run("tuning.search", "--rerun", folder, "--trial", str(last.number))
    assert again.code == 0, again.text
    assert f"after trial {last.user_attrs[CLONES]} to epoch" in again.text


def is_architecture(key: str) -> bool:
    return key.startswith(("circuit.", "mlp.hidden_layers"))


def test_an_address_where_no_cluster_answers_is_a_clear_error(
    make_space: Callable[..., Path], tmp_path: Path
) -> None:
    space = make_space("{trials: 2, epochs: 1}")
    arguments = ("--space", space, "--output", tmp_path / "run", "--address", "127.0.0.1:1")
    refused = call(search.app, *arguments)
    assert refused.code == 2
    assert "No Ray cluster answers at `127.0.0.1:1`" in refused.text
    assert "Traceback" not in refused.text


def test_a_search_starts_from_what_an_earlier_one_found(
    finished: Run, make_space: Callable[..., Path], domains: Path, tmp_path: Path
) -> None:
    space = make_space(f"{{trials: 4, epochs: {EPOCHS}, trial_memory_gb: 4}}", "start_from: [{}]")
    text = space.read_text().replace("name: random", "name: tpe")
    # Narrower and wider than the earlier space at once.
    text = text.replace("choices: [16, 24, 32, 8192]", "choices: [16, 24, 32, 48]")
    space.write_text(text)
    folder = tmp_path / "run"
    arguments = ("--space", space, "--output", folder, "--warm-start", finished.folder)
    warm = Run(folder, run("tuning.search", *arguments))
    assert warm.command.code == 0, warm.command.text
    (told_of,) = warm.summary["warm_start"]
    came_in = {
        trial.user_attrs["warm_start"]: trial
        for trial in warm.trials
        if "warm_start" in trial.user_attrs
    }
    assert told_of["complete"] + told_of["pruned"] == len(came_in) > 0
    assert "Warm start" in warm.command.text
    for key, trial in came_in.items():
        before = finished.trials[int(key.rpartition("#")[2])]
        assert key == f"{finished.folder}#{before.number}"
        assert (trial.state, trial.value) == (before.state, before.value)
        assert trial.params == before.params
    assert told_of["left_out"]["failed"] == sum(t.state.name == "FAIL" for t in finished.trials)
    assert warm.trials[0].params["optimizer.mlp_lr"] == 0.001
    assert warm.summary["n_trials"] == len(StudyView(warm.trials).finished()) == 4
    assert warm.summary["best"]["number"] not in {trial.number for trial in came_in.values()}
    events = [json.loads(line) for line in (folder / EVENTS).read_text().splitlines()]
    start = next(event for event in events if event["event"] == "session_started")
    assert start["rungs"][0]["1"] == len(came_in)
    best = Reranker.load(folder / "best").manifest
    assert best.config.model == "hybrid"

    extended = Run(folder, run("tuning.search", "--resume", folder, "--trials", "+1"))
    assert extended.command.code == 0, extended.command.text
    assert len(StudyView(extended.trials).finished()) == 5
    assert len({str(trial.params) for trial in StudyView(extended.trials).finished()}) == 5
    assert extended.trials[: len(warm.trials)] == warm.trials
    assert all(trial.state.is_finished() for trial in extended.trials)
    exported = Reranker.load(folder / "best").manifest
    assert exported == best or extended.summary["best"]["number"] >= len(warm.trials)
    assert sum("warm_start" in trial.user_attrs for trial in extended.trials) == len(came_in)
    number = extended.summary["best"]["number"]
    again = run("tuning.search", "--rerun", folder, "--trial", str(number))
    assert again.code == 0, again.text
    first = str(min(trial.number for trial in came_in.values()))
    refused = call(search.app, "--rerun", folder, "--trial", first)
    assert refused.code == 2
    assert f"--rerun {finished.folder} --trial" in refused.text


def test_a_search_against_a_cost_ends_with_a_pareto_front(
    make_space: Callable[..., Path], tmp_path: Path
) -> None:
    more = "start_from: [{}]\nobjective: {cost: parameters}"
    space = make_space("{trials: 5, epochs: 2, trial_memory_gb: 4}", more)
    text = space.read_text().replace("name: random", "name: tpe, startup_trials: 2")
    asha = "scheduler: {name: asha, grace_period: 1, reduction_factor: 2}"
    assert asha in text
    space.write_text(text.replace(asha, "scheduler: {name: none}").replace(", 8192", ""))
    folder = tmp_path / "run"
    weighed = Run(folder, run("tuning.search", "--space", space, "--output", folder))
    assert weighed.command.code == 0, weighed.command.text
    trials, best = weighed.trials, load_study(folder).best_trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 5
    assert all(sorted(curve(trial)) == [1, 2] for trial in trials)
    shown = weighed.summary["pareto_front"]
    assert {one["number"] for one in shown} == {trial.number for trial in best}
    assert [one["cost"] for one in shown] == sorted(one["cost"] for one in shown)
    assert "Pareto front: validation objective against trained parameters" in weighed.command.text
    assert (folder / "pareto.html").stat().st_size > 1_000_000
    highest = StudyView(trials).ranked()[:2]
    assert weighed.summary["best"]["number"] in {trial.number for trial in highest}
    for one in shown:
        output = tmp_path / f"trial-{one['number']}"
        number = str(one["number"])
        exported = call(best_trial.app, folder, "--trial", number, "--output", output)
        assert exported.code == 0, exported.text
        assert read_bundle(output)[0].n_trained == one["cost"]
    shown_so_far = call(status.app, folder, "--json")
    assert json.loads(shown_so_far.text)["best"]["trial"] == highest[0].number
