"""One session of a search: from its study, as far as it is, to the end of a budget or of the space.

Nothing is restored from Ray. A session builds a new Tuner over what the study
says, so that continuing, extending and starting a search are the same thing.
"""

from __future__ import annotations

import json
import logging
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
from rich.console import Console

from quantum_rerank.embeddings import embedding_source
from quantum_rerank.errors import SearchError
from quantum_rerank.training.data_manager import PreparedData, TrialData, prepare
from tuning.conclusion import conclude
from tuning.limits.budgets import (
    INTERRUPT,
    TERMINATED,
    Clock,
    Concurrency,
    CoreBudget,
    Ending,
    TimeBudget,
    fit_cluster,
    fit_trials,
)
from tuning.limits.deadlines import Deadlines
from tuning.limits.disk import LosersRemoved
from tuning.limits.failures import FailureStreak, memory_refusal
from tuning.limits.memory import least_bytes, ranked_documents
from tuning.plan import print_plan
from tuning.records import NUMBER, Listener, Listeners
from tuning.reporting.events import EventLog, write_log
from tuning.reporting.progress import ProgressDisplay
from tuning.reporting.reports import print_outcome, summarise, write_trials
from tuning.reporting.tracking import PROJECT, Mode, WandbTracker
from tuning.space import Space
from tuning.study.history import close_running, enqueue_missing, rung_values, told
from tuning.study.ledger import Ledger
from tuning.study.run_folder import (
    BUDGET,
    EVENTS,
    LOG,
    RECORD,
    SUMMARY,
    TRIALS,
    open_study,
    read_record,
    refuse_other_data,
    write_record,
)
from tuning.workers.cluster import ray_cluster
from tuning.workers.node_checks import refuse_unfit_nodes
from tuning.workers.trainable import TrialLimits, read_death_note, run_trial
from tuning.workers.trial_files import TrialFiles

_STOPPING_SECONDS = 10.0  # that trials have to come to their next report when a search is over

log = logging.getLogger("tuning")


def search(
    space: Space,
    folder: Path,
    console: Console,
    address: str | None,
    wandb_mode: Mode,
    clock: Clock = time.monotonic,
    trial: Callable[..., None] = run_trial,
) -> str:
    """Start a search in its folder or go on with it; returns why it ended early, or nothing.

    trial: what trains one suggestion in a worker, called as `trainable.run_trial`.

    Raises: SearchError if the disk or the study failed; the search can be continued.
    """
    from sqlalchemy.exc import SQLAlchemyError

    with write_log(folder / LOG):
        try:
            return _session(space, folder, console, address, wandb_mode, clock, trial)
        except (OSError, SQLAlchemyError) as error:
            log.exception("The session failed")
            raise SearchError(
                f"The search stopped: {_first_line(error)}. Nothing that was told is lost: mend "
                f"it, then go on with `python -m tuning.search --resume {folder}`."
            ) from None


def _session(
    space: Space,
    folder: Path,
    console: Console,
    address: str | None,
    wandb_mode: Mode,
    clock: Clock,
    trial: Callable[..., None],
) -> str:
    source = embedding_source(space.base.data.encoder)
    prepared = prepare(space.base.data, source)
    _record_or_compare(space, prepared, folder)
    study = open_study(folder, space.header.name)
    study.set_user_attr(BUDGET, space.header.budget.model_dump(mode="json"))
    ledger = Ledger(study, clock)
    budget = TimeBudget(space.header.budget.hours, ledger.elapsed)
    ending = Ending(_limits(space, budget, ledger), clock)
    close_running(study, "the search was killed")
    enqueue_missing(study, space)
    n_told = len(told(study.get_trials(deepcopy=False)))
    with ray_cluster(address) as nodes:
        fit = fit_trials if address is None else fit_cluster
        concurrency = fit(nodes, space.header.budget.trial_memory_gb)
        if concurrency.spread:
            refuse_unfit_nodes(str(folder / TRIALS))
        print_plan(space, concurrency, folder, console)
        console.print(*prepared.description(), sep="\n")
        if n_told:
            console.print(f"Going on: {n_told} trials are told, {budget.elapsed():.0f} s spent.")
        tracker = WandbTracker(PROJECT, folder.name, folder, wandb_mode)
        display = ProgressDisplay(
            console, space.header.budget.trials, space.header.budget.epochs, budget, clock, n_told
        )
        streak = FailureStreak(space.header.budget.failures_in_a_row, ending)
        events = EventLog(folder / EVENTS)
        limits = space.header.budget
        deadlines = Deadlines(limits.trial_hours, limits.epoch_minutes, clock)
        losers = LosersRemoved(
            lambda: study.get_trials(deepcopy=False),
            space.header.top_k,
            TrialFiles(str(folder / TRIALS)),
        )
        listener = Listeners([ledger, streak, events, deadlines, losers, display, tracker])
        session = Session(space, study, folder, ending, ledger, events, deadlines, listener)
        try:
            with display, signals_end(ending, display):
                run_trials(session, prepared.trial, concurrency, trial)
                # Should Ray have lost sight of a trial, it is continued in this session too.
                if not ending() and close_running(study, "nothing was heard of it"):
                    enqueue_missing(study, space)
                    run_trials(session, prepared.trial, concurrency, trial)
        finally:
            close_running(study, ending() or "stopped")
            ledger.write()
            tracker.close()
        write_trials(study.get_trials(deepcopy=False), folder / "trials.csv")
        memory_gb = concurrency.trial_memory_gb
        outcome = conclude(space, study, prepared, source, folder, memory_gb, ending, console)
    summary = summarise(outcome, ledger.elapsed(), prepared.fingerprint)
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    ledger.write(ended=outcome.ended)
    events.write("session_ended", seconds=round(ledger.elapsed(), 3), ended=outcome.ended)
    print_outcome(outcome, console)
    peak, seconds = summary["peak_trial_rss_mb"], summary["wall_seconds"]
    console.print(f"Wrote {folder}: {seconds} s, at most {peak} MB a trial.", soft_wrap=True)
    return outcome.ended


@dataclass(frozen=True)
class Session:
    """What the trials of a session share: what is searched, where, until when, who listens."""

    space: Space
    study: optuna.Study
    folder: Path
    ending: Ending
    ledger: Ledger
    events: EventLog
    deadlines: Deadlines
    listener: Listener


def run_trials(
    session: Session, data: TrialData, concurrency: Concurrency, trial: Callable[..., None]
) -> None:
    """Let Ray Tune run the trials of a space until they, a budget or the user end it."""
    from ray import tune

    from tuning.algorithms.scheduler import (
        AtEnding,
        StopByRule,
        SuccessiveHalving,
        make_rule,
        stop_with_worker,
    )
    from tuning.algorithms.searcher import TruthfulSearch

    space, ending = session.space, session.ending
    known = session.study.get_trials(deepcopy=False)
    n_trials = space.header.budget.trials - len(told(known))
    rule = make_rule(space, rung_values(known))
    rungs = rule.rungs() if isinstance(rule, SuccessiveHalving) else []
    spent = round(session.ledger.elapsed(), 3)
    session.events.write("session_started", trials_to_go=n_trials, seconds=spent, rungs=rungs)
    if n_trials <= 0 or ending():
        return
    root = str(session.folder / TRIALS)
    files = TrialFiles(root)

    least = partial(least_bytes, embedding_dim=data.embedding_dim, n_ranked=ranked_documents(data))
    memory_gb = concurrency.trial_memory_gb

    def on_tick(controller: Any) -> None:
        session.ledger.tick()
        if ending.is_at_once:
            raise KeyboardInterrupt
        is_overdue = ending.seconds() > _STOPPING_SECONDS
        for live in list(controller.get_live_trials()):
            late = session.deadlines.overdue(live.config[NUMBER], live.status == "RUNNING")
            if late:
                search_alg.fail(live.trial_id, late)
            if late or is_overdue:
                stop_with_worker(controller, live)

    search_alg = TruthfulSearch(
        space, session.study, n_trials, session.listener, ending,
        lambda number: read_death_note(files, number),
        space.header.budget.retries,
        lambda config: memory_refusal(least(config), memory_gb),
    )  # fmt: skip
    limits = TrialLimits(memory_gb)
    trainable = tune.with_parameters(trial, space=space, data=data, limits=limits, files=root)
    # Nothing of Ray's is kept: the study and the trials' files are all that a session needs.
    with tempfile.TemporaryDirectory(prefix="ray-tune-") as scratch:
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1, **concurrency.reservation}),
            tune_config=tune.TuneConfig(
                search_alg=search_alg,
                scheduler=StopByRule(rule, on_tick),
                num_samples=-1,  # the searcher counts
                # On a cluster Ray's resources decide: nodes come and go.
                max_concurrent_trials=None if concurrency.spread else concurrency.trials,
                reuse_actors=True,
                trial_name_creator=lambda trial: f"{trial.config[NUMBER]:05d}",
                trial_dirname_creator=lambda trial: f"{trial.config[NUMBER]:05d}",
            ),
            run_config=tune.RunConfig(
                name=TRIALS,
                storage_path=scratch,
                stop=AtEnding(ending),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),  # the searcher tries again
            ),
        ).fit()


@contextmanager
def signals_end(ending: Ending, display: ProgressDisplay) -> Iterator[None]:
    """First Ctrl-C, or SIGTERM: end in order. Second: at the next tick. Third: here and now.

    An exception at any place may leave the study locked; between two ticks it is at rest.
    """
    names = {signal.SIGINT: INTERRUPT, signal.SIGTERM: TERMINATED}
    before = {number: signal.getsignal(number) for number in names}
    n_heard = 0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal n_heard
        n_heard += 1
        if n_heard > 2:
            signal.default_int_handler(number, frame)
        ending.is_at_once = n_heard == 2
        if n_heard == 1:
            ending.stop(names[signal.Signals(number)])
            display.say("Ending: each trial stops after its epoch. Ctrl-C again stops now.")

    for number in names:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _record_or_compare(space: Space, prepared: PreparedData, folder: Path) -> None:
    """Write the run's record, or see that the data are still those it names."""
    if not (folder / RECORD).exists():
        write_record(space, prepared, folder)
    else:
        refuse_other_data(read_record(folder), prepared.fingerprint, folder)


def _limits(space: Space, budget: TimeBudget, ledger: Ledger) -> list[Callable[[], str]]:
    core_hours = space.header.budget.core_hours
    return [budget] + ([CoreBudget(core_hours, ledger.core_seconds)] if core_hours else [])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
