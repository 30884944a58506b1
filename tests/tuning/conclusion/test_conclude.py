from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from rich.console import Console

from quantum_rerank.cli.trained_model import load_model
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.errors import FilesError
from quantum_rerank.training.data_manager import PreparedData
from tuning.conclusion.conclude import better_elsewhere, conclude, load_best, load_default
from tuning.conclusion.conclude import tested_trial as scored
from tuning.conclusion.outcome import Outcome
from tuning.limits.failures import NOTHING_TRAINED
from tuning.records import FAILURE
from tuning.reporting.reports import summarise
from tuning.space import Space
from tuning.study.attributes import CONTINUES, START_POINT, WARM_START
from tuning.study.ranking import ranked_trials
from tuning.study.run_folder import BEST, load_study
from tuning.study.storage import TRIALS
from tuning.study.trial_files import BEST_EPOCH, TrialFiles
from tuning.workers.tasks import Tasks


def test_a_trial_whose_checkpoint_was_cut_off_gives_way_to_the_next(ended_run: Path) -> None:
    trials = load_study(ended_run).trials
    first, second, *_ = ranked_trials(trials)
    files = TrialFiles(str(ended_run / TRIALS))
    files.remove(first.number)
    files.write(first.number, BEST_EPOCH, b"cut")
    notes: list[str] = []
    (best,) = load_best(trials, 1, ended_run, notes)
    assert best.number == second.number
    assert f"Trial {first.number} is passed over" in notes[0]


def test_a_trial_that_has_the_weights_of_another_gives_way_to_the_next(ended_run: Path) -> None:
    trials, files = load_study(ended_run).trials, TrialFiles(str(ended_run / TRIALS))
    first, second, *_ = ranked_trials(trials)
    content = next(files.versions(second.number, BEST_EPOCH))
    files.remove(first.number)
    files.write(first.number, BEST_EPOCH, content)
    notes: list[str] = []
    (best,) = load_best(trials, 1, ended_run, notes)
    assert best.number == second.number
    assert "is of another training: its trial is" in notes[0]


def test_the_default_is_the_trial_of_the_empty_start_point(
    ended_run: Path, prepared: PreparedData, tiny_space: Space
) -> None:
    trials = load_study(ended_run).trials
    notes: list[str] = []
    tested = [scored(one, prepared) for one in load_best(trials, 2, ended_run, notes)]
    default = load_default(tiny_space, trials, tested, ended_run, prepared, notes)
    assert default is not None
    assert default.trial.number == 0
    assert any(default is one for one in tested)


def test_a_default_that_is_not_among_the_best_is_loaded_and_tested(
    ended_run: Path, prepared: PreparedData, tiny_space: Space
) -> None:
    notes: list[str] = []
    default = load_default(tiny_space, load_study(ended_run).trials, [], ended_run, prepared, notes)
    assert default is not None
    assert default.trial.number == 0
    assert set(default.scores) == {"test", "unseen_test"}
    TrialFiles(str(ended_run / TRIALS)).remove(0)
    missing = load_default(tiny_space, load_study(ended_run).trials, [], ended_run, prepared, notes)
    assert missing is None
    assert "The default configuration is missing: There are no weights of trial 0" in notes[0]


def test_a_default_that_was_cut_short_counts_until_another_attempt_has_left_weights(
    ended_run: Path, prepared: PreparedData, tiny_space: Space
) -> None:
    study = load_study(ended_run)
    again = study.ask()
    for key, value in ((START_POINT, 0), (CONTINUES, 0)):
        again.set_user_attr(key, value)
    study.tell(again, state=TrialState.FAIL)
    default = load_default(tiny_space, study.trials, [], ended_run, prepared, [])
    assert default is not None
    assert default.trial.number == 0


def test_without_an_empty_start_point_there_is_no_default(
    ended_run: Path, prepared: PreparedData, tiny_space: Space
) -> None:
    header = tiny_space.header.model_copy(update={"start_from": []})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    trials = load_study(ended_run).trials
    assert load_default(space, trials, [], ended_run, prepared, []) is None


@pytest.mark.parametrize(("value", "is_better"), [(2.0, True), (-1.0, False)])
def test_an_earlier_run_with_a_better_trial_is_named(
    ended_run: Path, prepared: PreparedData, value: float, is_better: bool
) -> None:
    trials = load_study(ended_run).trials
    (best,) = load_best(trials, 1, ended_run, [])
    assert better_elsewhere(trials, scored(best, prepared)) == []
    values = {1: value - 0.5, 2: value}
    came_in = create_trial(
        value=value, intermediate_values=values, user_attrs={WARM_START: "/runs/old#7"}
    )
    notes = better_elsewhere([*trials, came_in], scored(best, prepared))
    assert bool(notes) == is_better
    for note in notes:
        assert "2.0000" in note
        assert "python -m tuning.best_trial /runs/old --trial 7" in note


def test_a_disk_that_fills_at_the_export_is_no_mistake_of_the_user(
    ended_run: Path,
    prepared: PreparedData,
    tiny_space: Space,
    tasks: Callable[[], Tasks],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("quantum_rerank.atomic.tempfile.TemporaryDirectory", full)
    header = tiny_space.header.model_copy(update={"confirm_seeds": 0})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    source = embedding_source(f"npy:{tmp_path / 'vectors'}")
    study, console = load_study(ended_run), Console(file=StringIO())
    with pytest.raises(FilesError, match="cannot be written: No space left on device"):
        conclude(space, study, prepared, source, ended_run, tasks(), console)


def concluded(space: Space, study: optuna.Study, prepared: PreparedData, tasks: Tasks) -> Outcome:
    source, folder = embedding_source("npy:never read"), Path("never written")
    console = Console(file=StringIO())
    return conclude(space, study, prepared, source, folder, tasks, console)


def test_a_search_that_trained_nothing_says_why(
    prepared: PreparedData, tiny_space: Space, tasks: Callable[[], Tasks]
) -> None:
    study = optuna.create_study(direction="maximize")
    for reason in ("nan: no loss", "nan: no loss", "oom: 9 GB used"):
        study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={FAILURE: reason}))
    outcome = concluded(tiny_space, study, prepared, tasks())
    why = "3 of 3 trials ended without weights (2 nan: no loss; 1 oom: 9 GB used)"
    assert outcome.notes == [f"There is nothing to export: {why}."]
    assert outcome.ended == f"{NOTHING_TRAINED}: {why}"
    assert summarise(outcome, 1.0, "")["ended_early"] == outcome.ended


def test_a_search_that_a_budget_ended_before_anything_was_trained_names_both(
    prepared: PreparedData, tiny_space: Space, tasks: Callable[[], Tasks]
) -> None:
    study, at_work = optuna.create_study(direction="maximize"), tasks()
    at_work.ending.stop("time budget of 0.01 h")
    outcome = concluded(tiny_space, study, prepared, at_work)
    (note,) = outcome.notes
    assert note == (
        "There is nothing to export: no trial was started. "
        "The search ended by time budget of 0.01 h."
    )
    assert outcome.ended == "time budget of 0.01 h"


def test_weights_that_are_gone_are_not_called_untrained(
    ended_run: Path, prepared: PreparedData, tiny_space: Space, tasks: Callable[[], Tasks]
) -> None:
    shutil.rmtree(ended_run / TRIALS)
    study, console = load_study(ended_run), Console(file=StringIO())
    source = embedding_source("npy:never read")
    outcome = conclude(tiny_space, study, prepared, source, ended_run, tasks(), console)
    assert "the weights of all 3 trials that have left some cannot be loaded" in outcome.ended
    path = ended_run / TRIALS / "00001" / BEST_EPOCH
    assert any(f"`{path}` is gone" in note for note in outcome.notes)


def test_a_search_ends_with_its_winner_held_against_every_target(
    ended_run: Path,
    prepared: PreparedData,
    tiny_space: Space,
    tasks: Callable[[], Tasks],
    tmp_path: Path,
) -> None:
    source = embedding_source(f"npy:{tmp_path / 'vectors'}")
    study, console = load_study(ended_run), Console(file=StringIO())
    outcome = conclude(tiny_space, study, prepared, source, ended_run, tasks(), console)
    summary = summarise(outcome, 12.0, prepared.fingerprint)
    known = {v["name"]: v for v in summary["verdicts"] if v["outcome"] != "not known"}
    # Three epochs are too few for a plateau; the rest was measured.
    assert len(known) >= 8
    best = summary["best"]
    gain = best["test"]["ndcg@10"] / summary["baseline"]["test"]["ndcg@10"] - 1
    assert known["ranking improvement"]["value"] == pytest.approx(gain)
    objectives = outcome.confirmed[0].objectives
    assert known["stability"]["note"].startswith(f"{len(objectives)} seeds: ")
    model = load_model(ended_run / BEST)
    assert model.seeds.objectives == objectives
    assert model.course == outcome.tested[0].trial.course
