"""Optuna as Ray Tune's searcher, with the true end of every trial in the study.

Ray's own OptunaSearch ends a trial that the scheduler stopped as COMPLETE with the value of its
low rung, leaves a trial that returned NaN RUNNING for ever, and reports on Ray's iteration
count. Here a stopped trial is PRUNED at its epoch, a failed one is FAIL with a reason, and the
steps are epochs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, TypeVar, cast

import optuna
from ray.tune.search import Searcher

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import ConfigError
from tuning.algorithms.population import Population
from tuning.algorithms.samplers import has_points_left, make_sampler
from tuning.limits.failures import failure_of
from tuning.records import (
    COST,
    EPOCH,
    FAILURE,
    FINAL,
    METADATA,
    OBJECTIVE,
    PEAK_RSS_MB,
    RESTARTED,
    UNSCHEDULED_EPOCH,
    WARNING,
    Failure,
    FailureKind,
    Listener,
    StopReason,
    TrialEnd,
    TrialOutcome,
    comparison_value,
)
from tuning.space import Space
from tuning.study import attributes
from tuning.study.death_note import DeathNote
from tuning.study.resuming import enqueue_next_attempt
from tuning.study.trials import OPTUNA_STATES, keep_value
from tuning.study.view import StudyView

log = logging.getLogger("tuning")

Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True)
class TrialPolicy:
    """Decisions of a search about its trials, besides those of sampler and scheduler.

    Attributes:
        retries: How often in a row a trial whose worker was lost, or which was ended for the
            memory of its machine, is continued.
        refusal: Returns the failure of a configuration that should not even start, or None.
        death_note: Returns what the worker of a trial left behind before it ended itself.
        population: Population whose members are cloned; None for any other scheduler.
        has_room: Returns whether the machine has memory for a further trial.
        has_enough: Returns whether the trials so far are enough, so that none is drawn any more.
    """

    retries: int = 0
    refusal: Callable[[ExperimentConfig], Failure | None] = lambda _: None
    death_note: Callable[[int], DeathNote | None] = lambda _: None
    population: Population | None = None
    has_room: Callable[[], bool] = lambda: True
    has_enough: Callable[[StudyView], bool] = lambda _: False


def _keeping_fault(method: Method) -> Method:
    """Wrap a method so that its error stays in the searcher's `fault` and ends the search.

    Without `FINISHED` as the answer, Ray would wait ten minutes for another proposal.
    """

    @wraps(method)
    def wrapper(self: OptunaSearcher, *args: Any, **kwargs: Any) -> Any:
        if self.fault is not None:
            return Searcher.FINISHED
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.fault = error
            raise

    return cast(Method, wrapper)


class OptunaSearcher(Searcher):  # type: ignore[misc]  # Ray ships no types
    """Searcher that proposes trials from a space and writes their ends into the study.

    Args:
        space: Space of the search.
        study: Study of the search; its queued trials come first.
        n_trials: Trials to propose at most.
        listener: Listener that receives the events of every trial.
        stop_signal: Returns the reason for which the search ends, or None. Once it has ended,
            nothing is proposed, and trials that were running are FAIL with this reason.
        policy: Decisions about trials.
    """

    fault: Exception | None = None
    """Error that kept the searcher from writing to the study or from telling its listener.

    Ray passes over some errors and wraps others, so the caller has to look here.
    """

    def __init__(
        self,
        space: Space,
        study: optuna.Study,
        n_trials: int,
        listener: Listener,
        stop_signal: Callable[[], StopReason | None],
        policy: TrialPolicy,
    ) -> None:
        super().__init__(metric=OBJECTIVE, mode="max")
        self._space = space
        self._study = study
        self._n_left = n_trials
        self._listener = listener
        self._stop_signal = stop_signal
        self._policy = policy
        self._objectives = [OBJECTIVE, COST] if space.header.objective.cost else [OBJECTIVE]
        self._trials: dict[str, optuna.Trial] = {}
        self._last: dict[str, dict[str, Any]] = {}

    @_keeping_fault
    def suggest(self, trial_id: str) -> Any:
        """Return parameters and metadata of the next trial.

        Returns:
            None while the machine has no memory for a further trial, or a running trial may yet
            have to be continued; FINISHED once the search is over.
        """
        if self._trials and not self._stop_signal() and not self._policy.has_room():
            return None
        while self._n_left and not self._stop_signal():
            study = StudyView.of(self._study)
            self._study.sampler = make_sampler(self._space, study.next_ordinal())
            if not study.has_queued() and not self._may_draw(study):
                break
            self._n_left -= 1
            config, refusal = self._propose(trial_id)
            if refusal is None:
                return config
            self._last[trial_id] = {FAILURE: refusal}
            self.on_trial_complete(trial_id)
        return None if self._trials and not self._stop_signal() else Searcher.FINISHED

    def fail(self, trial_id: str, failure: Failure) -> None:
        """Give a reason to a trial that is about to be stopped."""
        self._last[trial_id] = {**self._last.get(trial_id, {}), FAILURE: failure}

    def _may_draw(self, study: StudyView) -> bool:
        """Return whether a trial may be drawn beside those that are queued."""
        if self._policy.has_enough(study):
            return False
        population = self._policy.population
        if population is not None and not population.may_grow():
            return False
        return has_points_left(self._study.sampler, self._study)

    def _propose(self, trial_id: str) -> tuple[dict[str, Any], Failure | None]:
        """Return the next trial as Ray is to run it, and the failure if it should not start."""
        trial = self._trials[trial_id] = self._study.ask()
        params = self._space.suggest(trial)
        view = StudyView.of(self._study)
        metadata = view.metadata(trial.number)
        ordinal = view.n_configurations(before=metadata.origin)
        if metadata.ordinal != ordinal:
            attributes.write_ordinal(trial, ordinal)
            metadata = replace(metadata, ordinal=ordinal)
        ray_config = {**params, METADATA: metadata}
        try:
            config = self._space.config_for(params, metadata.ordinal)
        except ConfigError as error:  # each value is valid, but not beside the others
            self._listener.trial_started(trial.number, self._space.base)
            return ray_config, failure_of(error)
        self._listener.trial_started(trial.number, config)
        return ray_config, self._policy.refusal(config)

    @_keeping_fault
    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Write the objective of an epoch as the trial's value at that step."""
        previous = self._last.get(trial_id, {})
        seen = previous.get(EPOCH, 0)
        if FAILURE not in result and result[EPOCH] <= seen:
            return  # reported twice: by Ray at a trial's end, or by a worker that took over
        self._last[trial_id] = result
        if FAILURE in result:
            return
        trial = self._trials[trial_id]
        if not seen and RESTARTED in result:
            log.warning("Trial %d starts from scratch: %s", trial.number, result[RESTARTED])
        if WARNING in result and WARNING not in previous:
            log.warning("Trial %d, epoch %d: %s", trial.number, result[EPOCH], result[WARNING])
        if math.isfinite(result[OBJECTIVE]):
            keep_value(trial, result[EPOCH], comparison_value(result, self._space.is_population))
        self._listener.trial_reported(trial.number, result[EPOCH], result)

    @_keeping_fault
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Write the end of a trial into the study, once."""
        if trial_id not in self._trials:
            return
        self._take_last_result(trial_id, result)
        trial = self._trials.pop(trial_id)
        last = self._last.pop(trial_id, {})
        if error:
            last = {**last, **self._lost_worker(trial.number)}
        outcome, failure = self._outcome(last)
        attributes.write_measurements(trial, last)
        if failure:
            attributes.write_failure(trial, failure)
        # Of a pruned trial Optuna takes the value of its last step by itself.
        is_complete = outcome == TrialOutcome.COMPLETE
        values = [last[key] for key in self._objectives] if is_complete else None
        self._study.tell(trial, values, OPTUNA_STATES[outcome])
        self._listener.trial_ended(_trial_end(trial.number, outcome, failure, last))
        if failure and failure.kind in (FailureKind.WORKER_LOST, FailureKind.MEMORY_PRESSURE):
            self._retry(trial.number, failure.kind)
        if self._policy.population is not None:
            self._policy.population.enqueue_clones(self._study)

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the study holds the state, and a space of closures does not pickle."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing, see `save`."""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray pickles a searcher only to restore it."""
        return {}

    def _take_last_result(self, trial_id: str, result: Mapping[str, Any] | None) -> None:
        """Take the result with which a trial was stopped, which Ray has not reported before."""
        if not result or EPOCH not in result:
            return
        if result[EPOCH] > self._last.get(trial_id, {}).get(EPOCH, 0):
            # The scheduler has decided on this epoch only if the trial ends as PRUNED.
            self._trials[trial_id].set_user_attr(UNSCHEDULED_EPOCH, result[EPOCH])
        self.on_trial_result(trial_id, dict(result))

    def _lost_worker(self, number: int) -> dict[str, Any]:
        """Return the failure of a trial whose worker died, with its note if it left one."""
        note = self._policy.death_note(number)
        if note is None:
            return {FAILURE: Failure(FailureKind.WORKER_LOST)}
        return {FAILURE: note.failure, PEAK_RSS_MB: note.peak_rss_mb}

    def _retry(self, number: int, kind: FailureKind) -> None:
        """Queue another attempt at a trial that ended through no fault of its own."""
        if self._stop_signal():
            return  # the next session does
        study = StudyView.of(self._study)
        if study.times_in_a_row(number, kind) <= self._policy.retries:
            enqueue_next_attempt(self._study, study[number])
            self._n_left += 1

    def _outcome(self, last: Mapping[str, Any]) -> tuple[TrialOutcome, Failure | None]:
        """Return the outcome of a trial by its last report, and its failure."""
        failure = self._failure(last)
        if failure:
            return TrialOutcome.FAILED, failure
        return (TrialOutcome.COMPLETE if last.get(FINAL) else TrialOutcome.PRUNED), None

    def _failure(self, last: Mapping[str, Any]) -> Failure | None:
        if FAILURE in last:
            return cast(Failure, last[FAILURE])
        if not math.isfinite(last.get(OBJECTIVE, 0.0)):
            return Failure(FailureKind.NAN, "the objective is not a number")
        if last.get(FINAL):
            missing = [key for key in self._objectives if key not in last]
            return Failure(FailureKind.ERROR, f"reported no {missing[0]}") if missing else None
        if reason := self._stop_signal():
            return Failure(FailureKind.INTERRUPTED, str(reason))
        return None if EPOCH in last else Failure(FailureKind.NO_REPORT)


def _trial_end(
    number: int, outcome: TrialOutcome, failure: Failure | None, last: Mapping[str, Any]
) -> TrialEnd:
    objective = last.get(OBJECTIVE)
    is_finite = objective is not None and math.isfinite(objective)
    return TrialEnd(
        number=number,
        outcome=outcome,
        epoch=int(last.get(EPOCH, 0)),
        objective=objective if is_finite else None,
        failure=failure,
        metrics=last,
    )
