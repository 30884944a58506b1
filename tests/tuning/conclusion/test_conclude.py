from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from quantum_rerank.config import DataConfig
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.errors import FilesError
from quantum_rerank.export.trained_model import load_model
from quantum_rerank.similarity import LexicalPart
from quantum_rerank.training.models import untrained_head
from quantum_rerank.training.trial_data import PreparedData
from tests.tuning.reasons import recorded
from tuning.conclusion import outcome as outcomes
from tuning.conclusion.conclude import (
    Conclusion,
    better_elsewhere,
    load_best,
    score_roles,
    useless,
)
from tuning.conclusion.conclude import tested_trial as scored
from tuning.conclusion.outcome import Outcome
from tuning.limits.concurrency import Concurrency
from tuning.limits.stop_signal import StopSignal
from tuning.records import FAILURE, StopKind, StopReason
from tuning.reporting.summary import summarise
from tuning.space import Space
from tuning.study.attributes import CONTINUES, START_POINT, WARM_START
from tuning.study.run_folder import BEST, load_study
from tuning.study.storage import TRIALS
from tuning.study.trial_files import BEST_EPOCH, TrialFiles
from tuning.study.view import StudyView
from tuning.workers.tasks import Tasks


def default_of(
    space: Space,
    trials: list[FrozenTrial],
    tested: list[outcomes.Tested],
    folder: Path,
    prepared: PreparedData,
    notes: list[str] | None = None,
) -> outcomes.Tested | None:
    """The trial of the base configuration, as the conclusion of a search finds it."""
    conclusion = Conclusion(
        space=space,
        study=optuna.create_study(),
        prepared=prepared,
        source=embedding_source("npy:never read"),
        folder=folder,
        tasks=Tasks(None, Concurrency(1, 1.0, ""), StopSignal([], lambda: 0.0), lambda _: None),
        console=Console(file=StringIO()),
        notes=[] if notes is None else notes,
    )
    return conclusion._default(trials, tested)


def test_a_trial_whose_checkpoint_was_cut_off_gives_way_to_the_next(ended_run: Path) -> None:
    trials = load_study(ended_run).trials
    first, second, *_ = StudyView(trials).ranked()
    files = TrialFiles(str(ended_run / TRIALS))
    files.remove(first.number)
    files.write(first.number, BEST_EPOCH, b"cut")
    notes: list[str] = []
    (best,) = load_best(trials, 1, ended_run, notes)
    assert best.number == second.number
    assert f"Trial {first.number} is passed over" in notes[0]


def test_a_trial_that_has_the_weights_of_another_gives_way_to_the_next(ended_run: Path) -> None:
    trials, files = load_study(ended_run).trials, TrialFiles(str(ended_run / TRIALS))
    first, second, *_ = StudyView(trials).ranked()
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
    default = default_of(tiny_space, trials, tested, ended_run, prepared, notes)
    assert default is not None
    assert default.trial.number == 0
    assert any(default is one for one in tested)


def test_a_default_that_is_not_among_the_best_is_loaded_and_tested(
    ended_run: Path, prepared: PreparedData, tiny_space: Space
) -> None:
    notes: list[str] = []
    default = default_of(tiny_space, load_study(ended_run).trials, [], ended_run, prepared, notes)
    assert default is not None
    assert default.trial.number == 0
    assert set(default.scores) == {"test", "unseen_test"}
    TrialFiles(str(ended_run / TRIALS)).remove(0)
    missing = default_of(tiny_space, load_study(ended_run).trials, [], ended_run, prepared, notes)
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
    default = default_of(tiny_space, study.trials, [], ended_run, prepared)
    assert default is not None
    assert default.trial.number == 0


def test_without_an_empty_start_point_there_is_no_default(
    ended_run: Path, prepared: PreparedData, tiny_space: Space
) -> None:
    header = tiny_space.header.model_copy(update={"start_from": []})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    trials = load_study(ended_run).trials
    assert default_of(space, trials, [], ended_run, prepared) is None


@pytest.mark.parametrize(("value", "is_better"), [(2.0, True), (-1.0, False)])
def test_an_earlier_run_with_a_better_trial_is_named(
    ended_run: Path, prepared: PreparedData, value: float, is_better: bool
) -> None:
    trials = load_study(ended_run).trials
    (best,) = load_best(trials, 1, ended_run, [])
    assert better_elsewhere(StudyView(trials), scored(best, prepared)) == []
    values = {1: value - 0.5, 2: value}
    came_in = create_trial(
        value=value, intermediate_values=values, user_attrs={WARM_START: "/runs/old#7"}
    )
    notes = better_elsewhere(StudyView([*trials, came_in]), scored(best, prepared))
    assert bool(notes) == is_better
    for note in notes:
        assert "2.0000" in note
        assert "python -m tuning.best_trial /runs/old --trial 7" in note


def test_a_disk_that_fills_at_the_export_is_no_mistake_of_the_user(
    ended_run: Path,
    prepared: PreparedData,
    tiny_space: Space,
    tasks: Callable[[], Tasks],
    data_config: DataConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("quantum_rerank.atomic.tempfile.TemporaryDirectory", full)
    header = tiny_space.header.model_copy(update={"confirm_seeds": 0})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    source = embedding_source(data_config.encoder)
    study, console = load_study(ended_run), Console(file=StringIO())
    with pytest.raises(FilesError, match="cannot be written: No space left on device"):
        Conclusion(space, study, prepared, source, ended_run, tasks(), console).run()


def concluded(space: Space, study: optuna.Study, prepared: PreparedData, tasks: Tasks) -> Outcome:
    source, folder = embedding_source("npy:never read"), Path("never written")
    console = Console(file=StringIO())
    return Conclusion(space, study, prepared, source, folder, tasks, console).run()


def test_a_search_that_trained_nothing_says_why(
    prepared: PreparedData, tiny_space: Space, tasks: Callable[[], Tasks]
) -> None:
    study = optuna.create_study(direction="maximize")
    for reason in ("nan: no loss", "nan: no loss", "oom: 9 GB used"):
        study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={FAILURE: recorded(reason)}))
    outcome = concluded(tiny_space, study, prepared, tasks())
    why = "3 of 3 trials ended without weights (2 nan: no loss; 1 oom: 9 GB used)"
    assert outcome.notes == [f"There is nothing to export: {why}."]
    assert outcome.stopped == StopReason(StopKind.NO_MODEL, f"a lack of trained trials: {why}")
    assert summarise(outcome, 1.0, "")["ended_early"] == str(outcome.stopped)


def test_a_search_that_a_budget_ended_before_anything_was_trained_names_both(
    prepared: PreparedData, tiny_space: Space, tasks: Callable[[], Tasks]
) -> None:
    study, at_work = optuna.create_study(direction="maximize"), tasks()
    at_work.stop_signal.stop(StopReason(StopKind.TIME_BUDGET, "time budget of 0.01 h"))
    outcome = concluded(tiny_space, study, prepared, at_work)
    (note,) = outcome.notes
    assert note == (
        "There is nothing to export: no trial was started. "
        "The search ended by time budget of 0.01 h."
    )
    assert str(outcome.stopped) == "time budget of 0.01 h"


def test_weights_that_are_gone_are_not_called_untrained(
    ended_run: Path, prepared: PreparedData, tiny_space: Space, tasks: Callable[[], Tasks]
) -> None:
    shutil.rmtree(ended_run / TRIALS)
    study, console = load_study(ended_run), Console(file=StringIO())
    source = embedding_source("npy:never read")
    outcome = Conclusion(tiny_space, study, prepared, source, ended_run, tasks(), console).run()
    assert "the weights of all 3 trials that have left some cannot be loaded" in str(
        outcome.stopped
    )
    path = ended_run / TRIALS / "00001" / BEST_EPOCH
    assert any(f"`{path}` is gone" in note for note in outcome.notes)


def test_a_winner_that_ranks_as_the_cosine_is_named_useless(
    ended_run: Path, prepared: PreparedData
) -> None:
    (best,) = load_best(load_study(ended_run).trials, 1, ended_run, [])
    for weight, said in ((0.0, True), (0.25, False)):
        validation = replace(best.validation, fusion_weight=weight)
        tested = scored(replace(best, validation=validation), prepared)
        assert bool(useless(tested)) is said
        if said:
            cosine = untrained_head(best.config, "cosine", prepared.trial)
            assert tested.scores["test"].metrics == (
                score_roles(cosine, 0.0, prepared)["test"].metrics
            )
            assert "ranks as the cosine does" in useless(tested)[0]
            tested.trial.head.lexical = LexicalPart()
            tested.trial.head.lexical.weight.fill_(0.5)
            assert "ranks as BM25 and the cosine do" in useless(tested)[0]
            tested.trial.head.lexical = None


def test_a_search_ends_with_its_winner_held_against_every_target(
    ended_run: Path,
    prepared: PreparedData,
    tiny_space: Space,
    tasks: Callable[[], Tasks],
    data_config: DataConfig,
) -> None:
    source = embedding_source(data_config.encoder)
    study, console = load_study(ended_run), Console(file=StringIO())
    base = tiny_space.base.model_copy(update={"data": data_config})
    space = Space(tiny_space.header, base, tiny_space.parameters)
    outcome = Conclusion(space, study, prepared, source, ended_run, tasks(), console).run()
    summary = summarise(outcome, 12.0, prepared.fingerprint)
    lexical = {name: scores["test"].metrics for name, scores in outcome.baselines.items()}
    assert list(lexical) == [
        "cosine",
        "bm25",
        "bm25_cosine",
        "discriminant",
        "mlp_twin",
        "quantum_only",
    ]
    assert lexical["bm25_cosine"] != lexical["cosine"]
    known = {v["name"]: v for v in summary["targets"] if v["outcome"] != "not known"}
    # Three epochs are too few for a plateau; the rest was measured.
    assert len(known) >= 8
    best = summary["best"]
    gain = best["test"]["ndcg@10"] / summary["baseline"]["test"]["ndcg@10"] - 1
    assert known["ranking improvement"]["value"] == pytest.approx(gain)
    objectives = outcome.confirmed[0].objectives
    assert known["stability"]["note"].startswith(f"{len(objectives)} seeds: ")
    (said,) = [note for note in outcome.notes if note.startswith("Lead over the cosine: ")]
    difference = best["test"]["ndcg@10"] - summary["baseline"]["test"]["ndcg@10"]
    assert f"{difference:+.4f} on test queries" in said
    assert f"over {len(objectives)} further divisions" in said
    model = load_model(ended_run / BEST)
    assert model.seeds.gains == pytest.approx(outcome.confirmed[0].gains)
    assert model.training_summary == outcome.tested[0].trial.training_summary
    # After the end of a budget, what was confirmed before still counts.
    over = tasks()
    over.stop_signal.stop(StopReason(StopKind.TIME_BUDGET, "time budget of 1 h"))
    again = Conclusion(space, study, prepared, source, ended_run, over, console).run()
    assert [one.objectives for one in again.confirmed] == [
        one.objectives for one in outcome.confirmed
    ]
    assert again.tested[0].trial.number == outcome.tested[0].trial.number
