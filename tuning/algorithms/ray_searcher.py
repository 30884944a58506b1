"""Optuna as Ray Tune's searcher, telling the study the truth.

Ray's own OptunaSearch tells a trial that the scheduler stopped as COMPLETE with
the value of its low rung, leaves a trial that returned NaN RUNNING for ever, and
reports on Ray's iteration count. Here a stopped trial is PRUNED at its epoch,
whatever failed is FAIL with a reason, and the steps are our epochs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

import optuna
from optuna.trial import TrialState as OptunaState
from ray.tune.search import Searcher

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import ConfigError
from tuning.algorithms.population import Population
from tuning.algorithms.samplers import make_sampler, points_left
from tuning.limits.failures import failure_reason
from tuning.records import (
    CHECKPOINT,
    COST,
    DONOR,
    EPOCH,
    FAILURE,
    FINAL,
    INTERRUPTED,
    NUMBER,
    OBJECTIVE,
    ORIGIN,
    PEAK_RSS_MB,
    PROTECTED,
    RESTARTED,
    SECONDS,
    TRAINING_SECONDS,
    UNSCHEDULED_EPOCH,
    WARNING,
    WORKER_LOST,
    Listener,
    TrialEnd,
    TrialState,
    comparison_value,
)
from tuning.space import Space
from tuning.study.attributes import START_POINT
from tuning.study.history import attempt_info, enqueue_next_attempt, keep_value, times_lost
from tuning.study.lineage import donor_of

log = logging.getLogger("tuning")

_STATES = {
    "complete": OptunaState.COMPLETE,
    "pruned": OptunaState.PRUNED,
    "failed": OptunaState.FAIL,
}


Method = TypeVar("Method", bound=Callable[..., Any])


def _kept(method: Method) -> Method:
    """A method whose error is kept as the searcher's fault; after one, the search is over.

    To say less than that would let Ray wait ten minutes for another proposal.
    """

    @wraps(method)
    def keeping(self: OptunaSearcher, *given: Any, **named: Any) -> Any:
        if self.fault is not None:
            return Searcher.FINISHED
        try:
            return method(self, *given, **named)
        except Exception as error:
            self.fault = error
            raise

    return cast(Method, keeping)


class OptunaSearcher(Searcher):  # type: ignore[misc]  # Ray ships no types
    """Proposes trials from a space, and tells the study how each ended.

    n_trials: how many to propose at most; what is queued in the study comes first.
    retries: how often in a row a trial whose worker was lost is continued.
    refusal: why a configuration should not even start, or nothing.
    ending: whether the search is over; then nothing more is proposed, and a trial
        that was cut short by it is FAIL with what `ending` says as its reason.
    death_note: what a trial's worker left behind before it ended itself, if it did.
    population: who decides when a new trial is drawn, and which clones are queued; None:
        trials are drawn as long as there may be more, and nobody is cloned.

    fault: what kept it from telling the study or those who listen. Ray passes over some
    errors and wraps others, so that whoever runs the search has to look here.
    """

    fault: Exception | None = None

    def __init__(
        self,
        space: Space,
        study: optuna.Study,
        n_trials: int,
        listener: Listener,
        ending: Callable[[], str],
        death_note: Callable[[int], dict[str, Any]],
        retries: int = 0,
        refusal: Callable[[ExperimentConfig], str] = lambda _: "",
        population: Population | None = None,
    ) -> None:
        super().__init__(metric=OBJECTIVE, mode="max")
        self._space = space
        self._study = study
        self._left = n_trials
        self._listener = listener
        self._ending = ending
        self._death_note = death_note
        self._retries = retries
        self._refusal = refusal
        self._population = population
        self._told = [OBJECTIVE, COST] if space.header.objective.cost else [OBJECTIVE]
        self._trials: dict[str, optuna.Trial] = {}
        self._last: dict[str, dict[str, Any]] = {}

    @_kept
    def suggest(self, trial_id: str) -> Any:
        """Propose parameters, with what Ray hands to the trial beside them.

        Or nothing, as long as a running trial may yet have to be continued; or say that
        the search is over.
        """
        while self._left and not self._ending():
            trials = self._study.get_trials(deepcopy=False)
            self._study.sampler = make_sampler(self._space, len(trials))
            is_queued = any(trial.state == OptunaState.WAITING for trial in trials)
            if not is_queued and not self._may_draw():
                break
            self._left -= 1
            params, refused = self._propose(trial_id)
            if not refused:
                return params
            self._last[trial_id] = {FAILURE: refused}
            self.on_trial_complete(trial_id)
        return None if self._trials and not self._ending() else Searcher.FINISHED

    def fail(self, trial_id: str, reason: str) -> None:
        """Give a trial that is about to be stopped a reason to have failed."""
        self._last[trial_id] = {**self._last.get(trial_id, {}), FAILURE: reason}

    def _may_draw(self) -> bool:
        """Whether there is a trial to propose that nobody has queued."""
        if self._population is not None and not self._population.may_grow():
            return False
        return points_left(self._study.sampler, self._study)

    def _propose(self, trial_id: str) -> tuple[dict[str, Any], str]:
        """The next trial's parameters, and why it should not start, if so."""
        trial = self._trials[trial_id] = self._study.ask()
        params = self._space.suggest(trial)
        aside = attempt_info(self._study.get_trials(deepcopy=False), trial.number)
        aside |= {NUMBER: trial.number, PROTECTED: START_POINT in trial.user_attrs}
        aside |= {DONOR: donor_of(trial.user_attrs)}
        try:
            config = self._space.config_for(params, aside[ORIGIN])
        except ConfigError as error:  # each value is valid, but not beside the others
            self._listener.trial_started(trial.number, self._space.base)  # the nearest there is
            return params | aside, failure_reason(error)
        self._listener.trial_started(trial.number, config)
        return params | aside, self._refusal(config)

    @_kept
    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep an epoch's objective as the trial's value at that step."""
        before = self._last.get(trial_id, {})
        seen = before.get(EPOCH, 0)
        if FAILURE not in result and result[EPOCH] <= seen:
            return  # told twice: by Ray at a trial's end, or by a worker that took over
        self._last[trial_id] = result
        if FAILURE in result:
            return
        trial = self._trials[trial_id]
        if not seen and RESTARTED in result:
            log.warning("Trial %d starts from scratch: %s", trial.number, result[RESTARTED])
        if WARNING in result and WARNING not in before:
            log.warning("Trial %d, epoch %d: %s", trial.number, result[EPOCH], result[WARNING])
        if math.isfinite(result[OBJECTIVE]):
            keep_value(trial, result[EPOCH], comparison_value(result, self._space.is_population))
        self._listener.trial_reported(trial.number, result[EPOCH], result)

    @_kept
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how a trial ended, once."""
        if trial_id not in self._trials:
            return
        seen = self._last.get(trial_id, {}).get(EPOCH, 0)
        if result and EPOCH in result:  # Ray keeps a stopping result to itself
            if result[EPOCH] > seen:  # nobody decided on it, unless the trial is told as stopped
                self._trials[trial_id].set_user_attr(UNSCHEDULED_EPOCH, result[EPOCH])
            self.on_trial_result(trial_id, result)
        trial = self._trials.pop(trial_id)
        last = self._last.pop(trial_id, {})
        if error:
            last = {**last, FAILURE: WORKER_LOST, **self._death_note(trial.number)}
        state, reason = self._verdict(last)
        objective = last.get(OBJECTIVE)
        known = objective is not None and math.isfinite(objective)
        self._keep(trial, last, reason)
        # A pruned trial's value is its last step's, which Optuna takes by itself.
        values = [last[key] for key in self._told] if state == "complete" else None
        self._study.tell(trial, values, _STATES[state])
        epoch = int(last.get(EPOCH, 0))
        self._listener.trial_ended(
            TrialEnd(trial.number, state, epoch, objective if known else None, reason, last)
        )
        if reason.startswith(WORKER_LOST):
            self._try_again(trial.number)
        if self._population is not None:
            self._population.enqueue_clones(self._study)

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the study is the truth, and a space of closures does not pickle."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing; see `save`."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing either: Ray pickles a searcher only to restore it."""
        return {}

    def _try_again(self, number: int) -> None:
        if self._ending():
            return  # the next session does
        trials = self._study.get_trials(deepcopy=False)
        if times_lost(trials, number) <= self._retries:
            enqueue_next_attempt(self._study, trials[number])
            self._left += 1

    def _verdict(self, last: Mapping[str, Any]) -> tuple[TrialState, str]:
        if FAILURE in last:
            return "failed", str(last[FAILURE])
        if not math.isfinite(last.get(OBJECTIVE, 0.0)):
            return "failed", "nan: the objective is not a number"
        if last.get(FINAL):
            missing = [key for key in self._told if key not in last]
            return ("failed", f"error: reported no {missing[0]}") if missing else ("complete", "")
        if why := self._ending():
            return "failed", f"{INTERRUPTED}: {why}"
        if EPOCH not in last:
            return "failed", "ended without a report"
        return "pruned", ""

    def _keep(self, trial: optuna.Trial, last: Mapping[str, Any], reason: str) -> None:
        """Write beside the trial what it cost, whether it left weights, and why it failed."""
        kept = (PEAK_RSS_MB, SECONDS, TRAINING_SECONDS, CHECKPOINT, RESTARTED, WARNING)
        attributes: dict[str, Any] = {key: last[key] for key in kept if key in last}
        if reason:
            attributes[FAILURE] = reason
        for key, value in attributes.items():
            trial.set_user_attr(key, value)
