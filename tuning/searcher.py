"""OptunaSearch that tells the study the truth.

Ray's own tells a trial that the scheduler stopped as COMPLETE with the value of
its low rung, leaves a trial that returned NaN RUNNING for ever, and reports on
Ray's iteration count. Here a stopped trial is PRUNED at its epoch, whatever
failed is FAIL with a reason, and the steps are our epochs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState as OptunaState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from tuning.records import (
    CHECKPOINT,
    EPOCH,
    FAILURE,
    FINAL,
    NUMBER,
    OBJECTIVE,
    PEAK_RSS_MB,
    SECONDS,
    TRAINING_SECONDS,
    Listener,
    TrialEnd,
    TrialState,
)
from tuning.space import Space

_STATES = {
    "complete": OptunaState.COMPLETE,
    "pruned": OptunaState.PRUNED,
    "failed": OptunaState.FAIL,
}
TRIALS = "trials"  # folder of a run with a folder per trial
START_POINT = "start_from"  # user attribute of a trial of the space's start_from


def trial_folder(number: int) -> Path:
    """Where a trial's files are, below the folder of its run."""
    return Path(TRIALS) / f"{number:05d}"


def open_study(storage: optuna.storages.BaseStorage, space: Space) -> optuna.Study:
    """Create the study of a search, with the start points queued as its first trials."""
    study = optuna.create_study(storage=storage, study_name=space.header.name, direction="maximize")
    for index, point in enumerate(space.start_points()):
        study.enqueue_trial(point, user_attrs={START_POINT: index})
    return study


def make_sampler(space: Space) -> optuna.samplers.BaseSampler:
    """The sampler that a space names, seeded."""
    sampler = space.header.sampler
    if sampler.name == "random":
        return optuna.samplers.RandomSampler(seed=sampler.seed)
    return optuna.samplers.TPESampler(
        seed=sampler.seed, n_startup_trials=sampler.startup_trials, constant_liar=True
    )


class TruthfulSearch(OptunaSearch):  # type: ignore[misc]  # Ray ships no types
    """Proposes trials from a space, and tells the study how each ended.

    ending: whether the search is over; then nothing more is proposed, and a trial
        that was cut short by it is FAIL with what `ending` says as its reason.
    death_note: what a trial's worker left behind before it ended itself, if it did.
    run_folder: where Ray keeps each trial's checkpoints, in `trials/NUMBER/`.
    """

    def __init__(
        self,
        space: Space,
        storage: optuna.storages.BaseStorage,
        listener: Listener,
        ending: Callable[[], str],
        death_note: Callable[[int], dict[str, Any]],
        run_folder: Path,
    ) -> None:
        self._own_space = space
        self._listener = listener
        self._ending = ending
        self._death_note = death_note
        self._run_folder = run_folder
        self._last: dict[str, dict[str, Any]] = {}
        super().__init__(
            space=space.suggest,
            metric=OBJECTIVE,
            mode="max",
            sampler=make_sampler(space),
            study_name=space.header.name,
            storage=storage,
        )

    def suggest(self, trial_id: str) -> Any:
        """Propose parameters and the trial's number, or say that the search is over."""
        if self._ending():
            return Searcher.FINISHED
        params = super().suggest(trial_id)
        number = self._ot_trials[trial_id].number
        self._listener.trial_started(number, self._own_space.config_for(params, number))
        return {**params, NUMBER: number}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep an epoch's objective as the trial's value at that step."""
        seen = self._last.get(trial_id, {}).get(EPOCH, 0)
        self._last[trial_id] = result
        if FAILURE in result or result[EPOCH] <= seen:
            return
        trial = self._ot_trials[trial_id]
        if math.isfinite(result[OBJECTIVE]):
            trial.report(result[OBJECTIVE], result[EPOCH])
        self._listener.trial_reported(trial.number, result[EPOCH], result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how a trial ended, once."""
        if trial_id in self._completed_trials:
            return
        self._completed_trials.add(trial_id)
        if result and EPOCH in result:
            self.on_trial_result(trial_id, result)  # Ray keeps a stopping result to itself
        trial = self._ot_trials.pop(trial_id)
        last = self._last.pop(trial_id, {})
        if error:
            last = {**last, FAILURE: "worker died", **self._death_note(trial.number)}
        state, reason = self._verdict(last)
        objective = last.get(OBJECTIVE)
        known = objective is not None and math.isfinite(objective)
        self._keep(trial, last, reason)
        # A pruned trial's value is its last step's, which Optuna takes by itself.
        self._ot_study.tell(trial, objective if state == "complete" else None, _STATES[state])
        epoch = int(last.get(EPOCH, 0))
        self._listener.trial_ended(
            TrialEnd(trial.number, state, epoch, objective if known else None, reason, last)
        )

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the study is the truth, and a space of closures does not pickle."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing; see `save`."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing either: Ray pickles a searcher only to restore it."""
        return {}

    def _verdict(self, last: Mapping[str, Any]) -> tuple[TrialState, str]:
        if FAILURE in last:
            return "failed", str(last[FAILURE])
        if not math.isfinite(last.get(OBJECTIVE, 0.0)):
            return "failed", "nan: the objective is not a number"
        if last.get(FINAL):
            return "complete", ""
        if why := self._ending():
            return "failed", f"interrupted: {why}"
        if EPOCH not in last:
            return "failed", "ended without a report"
        return "pruned", ""

    def _keep(self, trial: optuna.Trial, last: Mapping[str, Any], reason: str) -> None:
        """Write beside the trial what it cost, where its weights are, and why it failed."""
        attributes: dict[str, Any] = {
            key: last[key] for key in (PEAK_RSS_MB, SECONDS, TRAINING_SECONDS) if key in last
        }
        kept = sorted((self._run_folder / trial_folder(trial.number)).glob("checkpoint_*"))
        if kept:
            attributes[CHECKPOINT] = str(kept[-1].relative_to(self._run_folder))
        if reason:
            attributes[FAILURE] = reason
        for key, value in attributes.items():
            trial.set_user_attr(key, value)
