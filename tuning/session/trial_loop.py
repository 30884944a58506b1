"""Trials of a session under Ray Tune: searcher, scheduler and limits put together."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from quantum_rerank.errors import SearchError
from tuning.algorithms.population import Population
from tuning.algorithms.rules import Rule, SuccessiveHalving, make_rule
from tuning.limits.failures import memory_pressure, memory_refusal
from tuning.limits.memory import least_bytes, ranked_documents
from tuning.records import metadata_of
from tuning.reporting.events import EARLY_END
from tuning.session.ending import STOPPING_SECONDS
from tuning.session.search_state import Search
from tuning.study.death_note import read_death_note
from tuning.study.run_folder import read_record, recorded_run
from tuning.study.storage import TRIALS
from tuning.study.view import StudyView
from tuning.workers.cluster import share, silent_progress
from tuning.workers.trainable import TrialLimits

if TYPE_CHECKING:
    from ray import tune

    from tuning.algorithms.ray_searcher import OptunaSearcher


def run_trials(search: Search) -> None:
    """Let Ray Tune run trials until the budget of trials, another budget or the user ends them."""
    view = search.view()
    n_trials = search.space.header.budget.trials - len(view.finished())
    rule = search.population or make_rule(search.space, search.view)
    search.events.write(
        "session_started",
        trials_to_go=n_trials,
        seconds=round(search.ledger.elapsed(), 3),
        rungs=rule.rungs() if isinstance(rule, SuccessiveHalving) else [],
    )
    if n_trials <= 0 or search.stop_signal():
        return
    searcher = _searcher(search, n_trials)
    # Nothing of Ray's is kept: a session needs the study and the trials' files only.
    with (
        # A killed worker may still write into it while it is removed.
        tempfile.TemporaryDirectory(prefix="ray-tune-", ignore_cleanup_errors=True) as scratch,
        fault_raised(searcher),
    ):
        _tuner(search, searcher, rule, scratch).fit()


def _searcher(search: Search, n_trials: int) -> OptunaSearcher:
    from tuning.algorithms.ray_searcher import OptunaSearcher, TrialPolicy

    data, memory_gb = search.prepared.trial, search.concurrency.trial_memory_gb
    least = partial(least_bytes, embedding_dim=data.embedding_dim, n_ranked=ranked_documents(data))
    policy = TrialPolicy(
        retries=search.space.header.budget.retries,
        refusal=lambda config: memory_refusal(least(config), memory_gb),
        death_note=partial(read_death_note, search.files),
        population=search.population,
        has_room=_has_room(search),
        has_enough=_has_enough(search),
    )
    return OptunaSearcher(
        search.space,
        search.study,
        n_trials,
        listener=search.listener,
        stop_signal=search.stop_signal,
        policy=policy,
    )


def _has_room(search: Search) -> Callable[[], bool]:
    """Return the function that says whether the machine has memory for a further trial."""
    # Most members of a population are paused, and use none.
    if search.memory is None or search.population is not None:
        return lambda: True
    return search.memory.has_room


def _has_enough(search: Search) -> Callable[[StudyView], bool]:
    """Return the function that says whether little may be gained any more; it says so once."""
    is_said = False

    def has_enough(study: StudyView) -> bool:
        nonlocal is_said
        found = search.early_end(study)
        if found is not None and not is_said:
            is_said = True
            search.events.write(EARLY_END, reason=str(found))
            search.display.show_early_end(str(found))
        return found is not None

    return has_enough


def _tuner(search: Search, searcher: OptunaSearcher, rule: Rule, scratch: str) -> tune.Tuner:
    from ray import tune

    from tuning.algorithms.ray_scheduler import StopAtSignal, StopByRule

    concurrency, space = search.concurrency, search.space
    # On a cluster Ray's resources decide, since nodes come and go; so they do in a population,
    # whose paused members count as trials too.
    takes_turns = isinstance(rule, Population)
    at_once = None if concurrency.is_spread or takes_turns else concurrency.trials
    scheduler = StopByRule(
        rule, _on_tick(search, searcher), space.perturbation_epochs(), space.is_population
    )
    return tune.Tuner(
        _trainable(search, takes_turns),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,  # the searcher counts
            max_concurrent_trials=at_once,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=TRIALS,
            storage_path=scratch,
            stop=StopAtSignal(search.stop_signal),
            callbacks=[silent_progress()],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=0),  # the searcher tries again
        ),
    )


def _trainable(search: Search, takes_turns: bool) -> Any:
    """Return the function that trains a trial, with its resources."""
    from ray import tune

    concurrency = search.concurrency
    counted = share(concurrency.trials) if takes_turns and not concurrency.is_spread else {}
    trainable = tune.with_parameters(
        search.train,
        space=search.space,
        data=search.prepared.trial,
        limits=TrialLimits(concurrency.trial_memory_gb),
        files=search.files.root,
        run=recorded_run(read_record(search.folder)),
    )
    return tune.with_resources(trainable, {"cpu": 1, **counted, **concurrency.reservation})


def _trial_name(trial: Any) -> str:
    return f"{metadata_of(trial.config).number:05d}"


def _on_tick(search: Search, searcher: OptunaSearcher) -> Callable[[Any], None]:
    """Return the function that Ray's loop calls at every turn, for budgets and hanging trials."""
    from tuning.algorithms.ray_scheduler import forget_finished, stop_with_worker

    def check_workers(trials: list[Any]) -> None:
        statuses = {trial.status for trial in trials}
        try:
            search.arrivals.check("PENDING" in statuses, "RUNNING" in statuses)
        except SearchError as error:
            searcher.fault = error  # else Ray would wrap it
            raise

    def relieve_memory(controller: Any) -> None:
        """End the youngest trial, to be continued later, while the machine's memory is low."""
        if search.memory is None or not search.memory.should_relieve():
            return
        running = [trial for trial in controller.get_live_trials() if trial.status == "RUNNING"]
        youngest = max(running, key=lambda trial: metadata_of(trial.config).number, default=None)
        if youngest is not None and len(running) > 1:
            searcher.fail(youngest.trial_id, memory_pressure(search.memory.available()))
            stop_with_worker(controller, youngest)

    def on_tick(controller: Any) -> None:
        if searcher.fault is not None:
            raise searcher.fault
        search.ledger.tick()
        forget_finished(controller)
        if search.stop_signal.is_at_once:
            raise KeyboardInterrupt
        check_workers(controller.get_live_trials())
        is_overdue = search.stop_signal.seconds() > STOPPING_SECONDS
        relieve_memory(controller)
        for trial in list(controller.get_live_trials()):
            number, is_running = metadata_of(trial.config).number, trial.status == "RUNNING"
            failure = search.deadlines.overdue(number, is_running)
            if failure:
                searcher.fail(trial.trial_id, failure)
            # A paused trial would not report any more.
            is_asleep = search.stop_signal() is not None and trial.status == "PAUSED"
            if failure or is_overdue or is_asleep:
                stop_with_worker(controller, trial)

    return on_tick


@contextmanager
def fault_raised(searcher: OptunaSearcher) -> Iterator[None]:
    """Raise the fault of a searcher instead of the error that Ray has made of it."""
    try:
        yield
    except Exception as error:
        if searcher.fault is None or error is searcher.fault:
            raise
    if searcher.fault is not None:
        raise searcher.fault
