from __future__ import annotations

from pathlib import Path

from quantum_rerank.training.data_manager import PreparedData
from tuning.best_trial import load_study, ranked_trials
from tuning.conclusion import load_best, load_default
from tuning.records import CHECKPOINT
from tuning.space import Space


def test_a_trial_whose_checkpoint_was_cut_off_gives_way_to_the_next(
    ended_run: Path, prepared: PreparedData
) -> None:
    trials = load_study(ended_run).trials
    first, second, *_ = ranked_trials(trials)
    (ended_run / first.user_attrs[CHECKPOINT] / "model.safetensors").write_bytes(b"cut")
    notes: list[str] = []
    (best,) = load_best(trials, 1, ended_run, prepared, notes)
    assert best.trial.number == second.number
    assert f"Trial {first.number} is passed over" in notes[0]


def test_the_default_is_the_trial_of_the_empty_start_point(
    ended_run: Path, prepared: PreparedData, tiny_space: Space
) -> None:
    trials = load_study(ended_run).trials
    notes: list[str] = []
    tested = load_best(trials, 2, ended_run, prepared, notes)
    default = load_default(tiny_space, trials, tested, ended_run, prepared, notes)
    assert default is not None
    assert default.trial.number == 0
    assert any(default is one for one in tested)


def test_without_an_empty_start_point_there_is_no_default(
    ended_run: Path, prepared: PreparedData, tiny_space: Space
) -> None:
    header = tiny_space.header.model_copy(update={"start_from": []})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    trials = load_study(ended_run).trials
    assert load_default(space, trials, [], ended_run, prepared, []) is None
