"""The trials of a session, as Ray Tune runs them: searcher, scheduler and limits put together."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from quantum_rerank.errors import SearchError
from quantum_rerank.training.data_manager import TrialData
from tuning.algorithms.population import Population
from tuning.limits.concurrency import Concurrency
from tuning.limits.deadlines import Deadlines
from tuning.limits.failures import memory_refusal
from tuning.limits.memory import least_bytes, ranked_documents
from tuning.limits.stop_signal import StopSignal
from tuning.records import NUMBER, Listener
from tuning.reporting.events import EventLog
from tuning.session.ending import STOPPING_SECONDS
from tuning.space import Space
from tuning.study.history import finished_trials, rung_values
from tuning.study.ledger import Ledger
from tuning.study.run_folder import read_record, recorded_run
from tuning.study.storage import TRIALS
from tuning.study.trial_files import TrialFiles
from tuning.workers.arrivals import Arrivals
from tuning.workers.cluster import share, silent_progress
from tuning.workers.trainable import TrialLimits
from tuning.workers.trial_context import read_death_note

if TYPE_CHECKING:
    from ray import tune

    from tuning.algorithms.ray_searcher import OptunaSearcher
    from tuning.algorithms.rules import Rule


@dataclass(frozen=True)
class Session:
    """What the trials of a session share: what is searched, where, until when, who listens.

    root: of the trials' files.
    """

    space: Space
    study: optuna.Study
    folder: Path
    root: str
    ending: StopSignal
    ledger: Ledger
    events: EventLog
    deadlines: Deadlines
    arrivals: Arrivals
    listener: Listener
    population: Population | None = None


def run_trials(
    session: Session, data: TrialData, concurrency: Concurrency, trial: Callable[..., None]
) -> None:
    """Let Ray Tune run the trials of a space until they, a budget or the user end it."""
    from tuning.algorithms.rules import SuccessiveHalving, make_rule

    space = session.space
    known = session.study.get_trials(deepcopy=False)
    n_trials = space.header.budget.trials - len(finished_trials(known))
    rule = session.population or make_rule(space, rung_values(known))
    rungs = rule.rungs() if isinstance(rule, SuccessiveHalving) else []
    spent = round(session.ledger.elapsed(), 3)
    session.events.write("session_started", trials_to_go=n_trials, seconds=spent, rungs=rungs)
    if n_trials <= 0 or session.ending():
        return
    search_alg = _searcher(session, data, concurrency, n_trials)
    # Nothing of Ray's is kept: the study and the trials' files are all that a session needs.
    with (
        tempfile.TemporaryDirectory(prefix="ray-tune-") as scratch,
        raised_as_it_was(search_alg),
    ):
        _tuner(session, data, concurrency, trial, search_alg, rule, scratch).fit()


def _searcher(
    session: Session, data: TrialData, concurrency: Concurrency, n_trials: int
) -> OptunaSearcher:
    from tuning.algorithms.ray_searcher import OptunaSearcher

    files, memory_gb = TrialFiles(session.root), concurrency.trial_memory_gb
    least = partial(least_bytes, embedding_dim=data.embedding_dim, n_ranked=ranked_documents(data))
    return OptunaSearcher(
        session.space,
        session.study,
        n_trials,
        session.listener,
        session.ending,
        death_note=lambda number: read_death_note(files, number),
        retries=session.space.header.budget.retries,
        refusal=lambda config: memory_refusal(least(config), memory_gb),
        population=session.population,
    )


def _tuner(
    session: Session,
    data: TrialData,
    concurrency: Concurrency,
    trial: Callable[..., None],
    search_alg: OptunaSearcher,
    rule: Rule,
    scratch: str,
) -> tune.Tuner:
    from ray import tune

    from tuning.algorithms.ray_scheduler import AtEnding, StopByRule

    # On a cluster Ray's resources decide: nodes come and go. So they do in a population, of
    # which those that wait for their turn are counted too.
    takes_turns = session.population is not None
    at_once = None if concurrency.spread or takes_turns else concurrency.trials
    counted = share(concurrency.trials) if takes_turns and not concurrency.spread else {}
    limits = TrialLimits(concurrency.trial_memory_gb)
    trainable = tune.with_parameters(
        trial,
        space=session.space,
        data=data,
        limits=limits,
        files=session.root,
        run=recorded_run(read_record(session.folder)),
    )
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1, **counted, **concurrency.reservation}),
        tune_config=tune.TuneConfig(
            search_alg=search_alg,
            scheduler=StopByRule(
                rule,
                _on_tick(session, search_alg),
                session.space.perturbation_epochs(),
                session.space.is_population,
            ),
            num_samples=-1,  # the searcher counts
            max_concurrent_trials=at_once,
            reuse_actors=True,
            trial_name_creator=lambda trial: f"{trial.config[NUMBER]:05d}",
            trial_dirname_creator=lambda trial: f"{trial.config[NUMBER]:05d}",
        ),
        run_config=tune.RunConfig(
            name=TRIALS,
            storage_path=scratch,
            stop=AtEnding(session.ending),
            callbacks=[silent_progress()],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=0),  # the searcher tries again
        ),
    )


def _on_tick(session: Session, search_alg: OptunaSearcher) -> Callable[[Any], None]:
    """What is looked after at every turn of Ray's loop: budgets, and trials that do not report."""
    from tuning.algorithms.ray_scheduler import forget_finished, stop_with_worker

    ending = session.ending

    def look_for_workers(trials: list[Any]) -> None:
        statuses = {trial.status for trial in trials}
        try:
            session.arrivals.look("PENDING" in statuses, "RUNNING" in statuses)
        except SearchError as error:
            search_alg.fault = error  # else Ray would wrap it
            raise

    def on_tick(controller: Any) -> None:
        if search_alg.fault is not None:
            raise search_alg.fault
        session.ledger.tick()
        forget_finished(controller)
        if ending.is_at_once:
            raise KeyboardInterrupt
        look_for_workers(controller.get_live_trials())
        is_overdue = ending.seconds() > STOPPING_SECONDS
        for live in list(controller.get_live_trials()):
            late = session.deadlines.overdue(live.config[NUMBER], live.status == "RUNNING")
            if late:
                search_alg.fail(live.trial_id, late)
            is_asleep = bool(ending()) and live.status == "PAUSED"  # it would not report
            if late or is_overdue or is_asleep:
                stop_with_worker(controller, live)

    return on_tick


@contextmanager
def raised_as_it_was(search_alg: OptunaSearcher) -> Iterator[None]:
    """Raise what kept the study from being told, which Ray wraps into an error of its own."""
    try:
        yield
    except Exception as error:
        if search_alg.fault is None or error is search_alg.fault:
            raise
    if search_alg.fault is not None:
        raise search_alg.fault
