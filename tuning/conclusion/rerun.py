"""One trial of a run again, alone: the same configuration, seed and data."""

from __future__ import annotations

import math
from pathlib import Path

from optuna.trial import TrialState
from rich.console import Console

from quantum_rerank.console import pasted
from quantum_rerank.embeddings import source_of
from quantum_rerank.errors import OutputError
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.hybrid_trainer import make_descendant
from tuning.records import comparison_value
from tuning.study.history import attempts, curve, is_cut_short
from tuning.study.lineage import ancestors, came_from, descent, given
from tuning.study.run_folder import load_study, read_record, recorded_space, refuse_other_data


def rerun(folder: Path, number: int, console: Console) -> bool:
    """Train a trial of a run once more, epoch by epoch beside what the run had.

    Before a clone, those are trained again whose weights it started from.

    Returns: whether every epoch that the run had came out the same.
    Raises: OutputError if the run has no such trial, or it never came to an epoch nor failed;
        DataError if its data have changed.
    """
    import torch

    record = read_record(folder)
    space = recorded_space(record)
    trials = load_study(folder).get_trials(deepcopy=False)
    if not 0 <= number < len(trials):
        raise OutputError(f"`{folder}` has no trial {number}: they go from 0 to {len(trials) - 1}.")
    trial = trials[number]
    if known_as := came_from(trial):
        run, there = known_as
        command = pasted("python", "-m", "tuning.search", "--rerun", run, "--trial", there)
        raise OutputError(
            f"Trial {number} came in from `{run}`, where it was trained as trial {there}. Train it "
            f"again there: `{command}`."
        )
    recorded = curve(trial)
    failed = trial.state == TrialState.FAIL and not is_cut_short(trial)
    if not recorded and not failed:
        raise OutputError(
            f"Trial {number} of `{folder}` has no epoch that could be compared with: it is queued, "
            "has just begun, or was interrupted before. Name another."
        )
    prepared = prepare(space.base.data, source_of(space.base.data))
    refuse_other_data(record, prepared, folder)
    torch.set_num_threads(1)
    config = space.config_for(given(trial), attempts(trials, number)[-1])
    same = True
    console.print(f"Trial {number}, {trial.state.name.lower()} after {max(recorded, default=0)}:")
    before = ancestors(space, trials, number)
    for (_, last), (origin, _) in zip(before, descent(trials, number), strict=True):
        console.print(f"after trial {origin} to epoch {last}, trained again")
    for report in make_descendant(config, before, prepared.trial).epochs():
        now, then = (
            comparison_value(report.metrics, space.is_population),
            recorded.get(report.epoch),
        )
        known = "" if then is None else f"in the run {then:.6f}"
        if then is not None and not math.isclose(now, then, rel_tol=0.0, abs_tol=1e-12):
            same = False
            known += "  DIFFERS"
        console.print(f"epoch {report.epoch:>3}  objective {now:.6f}  {known}")
    if recorded:
        console.print("Every epoch that the run had is the same." if same else "Not the same.")
    else:
        console.print("The run had no epoch of it to compare with.")
    return same
