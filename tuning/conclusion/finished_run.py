"""Trials of a finished run, to be exported again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from quantum_rerank.errors import BundleError, OutputError
from quantum_rerank.evaluation.measurements import SeedGains
from quantum_rerank.plain_text import pasted
from quantum_rerank.regular_files import read_json, reason
from quantum_rerank.reports.records import require_search_record
from tuning.conclusion.export import TrialEvidence
from tuning.conclusion.trained_trial import TrainedTrial
from tuning.study import attributes
from tuning.study.reading import read_trials
from tuning.study.run_folder import SUMMARY
from tuning.study.view import StudyView


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the summary of a run; empty if the run has not ended.

    Raises:
        BundleError: The file is damaged.
    """
    try:
        summary = read_json(folder / SUMMARY)
        require_search_record(dict(summary), str(folder / SUMMARY))
        return dict(summary)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BundleError(f"`{folder / SUMMARY}` cannot be read: {reason(error)}.") from None
    except (TypeError, ValueError, KeyError):
        raise BundleError(f"`{folder / SUMMARY}` was cut off.") from None


def select_trial(folder: Path, summary: Mapping[str, Any], number: int | None) -> FrozenTrial:
    """Return a trial of a run that has left weights.

    Args:
        folder: Folder of the run.
        summary: Summary of the run.
        number: Number of the trial; None for the winner.

    Raises:
        OutputError: The run has no such trial with weights.
    """
    view = StudyView(read_trials(folder))
    trials = view.ranked()
    tested = summary.get("tested", [])
    if number is None and tested:
        trials = [trial for trial in trials if trial.number == tested[0]["number"]]
    if number is not None:
        trials = [trial for trial in trials if trial.number == number]
    if trials:
        return trials[0]
    if number is not None:
        _refuse_trial_of_earlier_run(view, number)
    missing = "no trial" if number is None else f"no trial {number}"
    raise OutputError(f"`{folder}` has {missing} with kept weights.")


def evidence_of(summary: Mapping[str, Any], trial: TrainedTrial) -> TrialEvidence:
    """Return the results of a trial that a run's summary has.

    Args:
        summary: Summary of the run; empty if it has not ended.
        trial: Trial of the run.
    """
    tested = _record_of(trial.number, summary.get("tested", ()))
    confirmed = _record_of(trial.number, summary.get("confirmed", ()))
    test = {role: tested[role] for role in ("test", "unseen_test") if tested.get(role)}
    return TrialEvidence(test, SeedGains(tuple(confirmed.get("gains", ()))))


def _record_of(number: int, records: Any) -> dict[str, Any]:
    return next((record for record in records if record["number"] == number), {})


def _refuse_trial_of_earlier_run(view: StudyView, number: int) -> None:
    """Raise OutputError where the weights of a trial are in an earlier run."""
    origins = [attributes.warm_start(trial) for trial in view if trial.number == number]
    for origin in filter(None, origins):
        run, number_there = origin
        command = pasted("python", "-m", "tuning.best_trial", run, "--trial", number_there)
        raise OutputError(
            f"Trial {number} came in from `{run}`, which has its weights: export it there, with "
            f"`{command} --output DIR`."
        )
