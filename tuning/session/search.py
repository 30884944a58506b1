"""One session of a search: from its study, as far as it is, to the end of a budget or of the space.

Nothing is restored from Ray. A session builds a new Tuner over what the study
says, so that continuing, extending and starting a search are the same thing.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import cast

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console

from quantum_rerank.atomic import write_whole
from quantum_rerank.console import pasted
from quantum_rerank.embeddings import source_of
from quantum_rerank.errors import FilesError, SearchError
from quantum_rerank.interruption import Interruption, hangups_blocked
from quantum_rerank.output_streams import as_a_display
from quantum_rerank.training.data_manager import PreparedData, TrialData, prepare
from tuning.algorithms.population import Population
from tuning.conclusion.conclude import conclude
from tuning.conclusion.outcome import Outcome
from tuning.limits.budgets import CoreBudget, TimeBudget
from tuning.limits.concurrency import Concurrency, Node, fit_cluster, fit_trials
from tuning.limits.deadlines import Deadlines
from tuning.limits.failures import FailureStreak
from tuning.limits.memory import MemoryWarnings
from tuning.limits.retention import CheckpointPruner, DonorPruner
from tuning.limits.stop_signal import StopSignal
from tuning.records import INTERRUPT, STORAGE, AttendedClock, Clock, Listener, Listeners
from tuning.reporting.events import EventLog, write_log
from tuning.reporting.pareto import draw_front
from tuning.reporting.plan import print_plan
from tuning.reporting.progress import ProgressDisplay
from tuning.reporting.reports import (
    print_outcome,
    print_verdicts,
    summarise,
    taken_over_table,
    write_trials,
)
from tuning.reporting.tracking import Mode, WandbTracker, project
from tuning.session.ending import (
    closed_in_time,
    signals_conclude,
    signals_end,
    study_or_disk_errors,
    told_at_the_end,
)
from tuning.session.trial_loop import Session, run_trials
from tuning.space import Space
from tuning.study.history import (
    close_running,
    curve,
    enqueue_missing,
    exclude_warm_start,
    finished_trials,
)
from tuning.study.ledger import Ledger
from tuning.study.retrying import waited
from tuning.study.run_folder import (
    BUDGET,
    EVENTS,
    LOG,
    PARETO,
    RECORD,
    SUMMARY,
    open_study,
    read_record,
    recorded_places,
    refuse_other_data,
    write_record,
)
from tuning.study.storage import PATIENCE_SECONDS, StorageConfig
from tuning.study.trial_files import DONORS, TrialFiles
from tuning.study.warm_start import (
    EarlierRun,
    TakenOver,
    add_missing,
    gather,
    read_taken_over,
    write_taken_over,
)
from tuning.workers.arrivals import Arrivals, read_failed_starts
from tuning.workers.cluster import ray_cluster, ray_logs
from tuning.workers.node_checks import refuse_unfit_nodes
from tuning.workers.tasks import Tasks
from tuning.workers.trainable import run_trial

log = logging.getLogger("tuning")
_RESUME = ("python", "-m", "tuning.search", "--resume")


def search(
    space: Space,
    folder: Path,
    console: Console,
    address: str | None,
    wandb_mode: Mode,
    clock: Clock = time.monotonic,
    trial: Callable[..., None] = run_trial,
    places: StorageConfig | None = None,
    patience: float = PATIENCE_SECONDS,
    earlier: Sequence[EarlierRun] = (),
) -> str:
    """Start a search in its folder or go on with it; returns why it ended early, or nothing.

    Where its output cannot be written any more, it goes on without its display. Its log has
    every error that ended it.

    trial: what trains one suggestion in a worker, called as `trainable.run_trial`.
    places: of a new run; one that is continued has them in its record.
    patience: seconds to wait for a study that is locked, or whose server is away.
    earlier: runs whose results a search that starts takes over.

    Raises: SearchError if the disk or the study failed; the search can be continued.
        Interrupted if a signal ended it before its first trial.
    """
    with write_log(folder / LOG), as_a_display():
        try:
            return _session(
                space, folder, console, address, wandb_mode, clock, trial, places, patience, earlier
            )
        except study_or_disk_errors() as error:
            log.exception("The session failed")
            raise SearchError(
                f"The search stopped: {_first_line(error)}. Nothing that was told is lost: mend "
                f"it, then go on with `{pasted(*_RESUME, folder)}`."
            ) from None
        except KeyboardInterrupt as interrupted:
            log.warning("The session was interrupted by %s", interrupted or INTERRUPT)
            raise
        except BaseException:
            log.exception("The session failed")
            raise


def _session(
    space: Space,
    folder: Path,
    console: Console,
    address: str | None,
    wandb_mode: Mode,
    clock: Clock,
    trial: Callable[..., None],
    places: StorageConfig | None,
    patience: float,
    earlier: Sequence[EarlierRun],
) -> str:
    with ExitStack() as until_the_end:
        interruption = Interruption(lambda name: _say_when_it_ends(name, console))
        until_the_end.enter_context(interruption.listening())
        source = source_of(space.base.data)
        prepared = prepare(space.base.data, source)
        with interruption.held():  # a folder is empty, or holds a run that can be continued
            _record_or_compare(space, prepared, folder, places, earlier)
            places = recorded_places(folder)
            directions = space.header.objective.directions
            study = open_study(folder, space.header.name, directions, places, patience)
            study.set_user_attr(BUDGET, space.header.budget.model_dump(mode="json"))
            ledger = Ledger(study, clock)
            population = population_of(space, study)
            taken = _make_up(study, space, folder, population)
            with hangups_blocked():  # a terminal that closes ends the search, not its cluster
                nodes = until_the_end.enter_context(ray_cluster(address))
            interruption.listen()  # Ray has its own answer to SIGTERM
        concurrency = _fitted(nodes, space, places.root(folder), address)
        print_plan(space, concurrency, folder, console, [Path(one.run) for one in taken])
        _print_start(study, prepared, taken, ledger, console)
        display = _display(space, study, ledger, console, clock)
        tracker = WandbTracker(project(), folder.name, folder, wandb_mode)
        session = _assembled(
            space, study, folder, places.root(folder), ledger, population,
            concurrency, display, tracker, clock,
        )  # fmt: skip
        with signals_conclude(session.ending, display):
            _run_to_the_end(session, prepared.trial, concurrency, display, tracker, trial)
            write_trials(study.get_trials(deepcopy=False), folder / "trials.csv")
            tasks = Tasks(prepared.trial, concurrency, session.ending, ledger.tick)
            outcome = conclude(space, study, prepared, source, folder, tasks, console)
            _write_up(session, outcome, prepared.fingerprint, console)
    return outcome.ended


def _say_when_it_ends(name: str, console: Console) -> None:
    console.print(f"{name}: the search ends once Ray has started. Ctrl-C again stops now.")


def _run_to_the_end(
    session: Session,
    data: TrialData,
    concurrency: Concurrency,
    display: ProgressDisplay,
    tracker: WandbTracker,
    trial: Callable[..., None],
) -> None:
    """Let the trials run until they, a budget or the user end them.

    Raises: FilesError where their files could not be written.
    """
    study, ending, ledger = session.study, session.ending, session.ledger
    with (
        closed_in_time(tracker, ending),
        told_at_the_end(study, ending, ledger),
        display,
        signals_end(ending, display),
    ):
        run_trials(session, data, concurrency, trial)
        # Should Ray have lost sight of a trial, it is continued in this session too.
        if not ending() and close_running(study, "nothing was heard of it"):
            enqueue_all_missing(study, session.space, session.population)
            run_trials(session, data, concurrency, trial)
    if ending().startswith(STORAGE):
        ledger.write(ended=ending())
        raise FilesError(ending().removeprefix(f"{STORAGE}: "))


def _assembled(
    space: Space,
    study: optuna.Study,
    folder: Path,
    root: str,
    ledger: Ledger,
    population: Population | None,
    concurrency: Concurrency,
    display: ProgressDisplay,
    tracker: WandbTracker,
    clock: Clock,
) -> Session:
    """The session with all that follows its trials."""
    budget = space.header.budget
    limits: list[Callable[[], str]] = [TimeBudget(budget.hours, ledger.elapsed)]
    if budget.core_hours:
        limits.append(CoreBudget(budget.core_hours, ledger.core_seconds))
    ending = StopSignal(limits, clock)
    events = EventLog(folder / EVENTS)
    # What the search itself waits for its study is not the trials' time, nor is what it misses.
    attended = AttendedClock(lambda: clock() - waited(study))
    deadlines = Deadlines(budget.trial_hours, budget.epoch_minutes, attended)
    arrivals = Arrivals(
        AttendedClock(clock),
        partial(_warn, display),
        lambda: read_failed_starts(ray_logs()),
        may_wait=concurrency.spread,
    )
    listeners: list[Listener] = [
        ledger,
        FailureStreak(budget.failures_in_a_row, ending),
        events,
        deadlines,
        *files_removed(space, study, TrialFiles(root)),
        MemoryWarnings(concurrency.trial_memory_gb, display.print_line),
        display,
        tracker,
    ]
    return Session(
        space, study, folder, root, ending, ledger, events, deadlines, arrivals,
        Listeners(listeners), population,
    )  # fmt: skip


def _warn(display: ProgressDisplay, text: str) -> None:
    display.print_line(text)
    log.warning(text)


def files_removed(space: Space, study: optuna.Study, files: TrialFiles) -> list[Listener]:
    """Who removes the files that nobody needs any more."""

    def trials() -> Sequence[FrozenTrial]:
        return study.get_trials(deepcopy=False)

    listeners: list[Listener] = [CheckpointPruner(trials, space.header.top_k, files)]
    if space.perturbation_epochs():
        listeners.append(DonorPruner(space, trials, files.below(DONORS)))
    return listeners


def population_of(space: Space, study: optuna.Study) -> Population | None:
    """Who decides in population based training; None if the space names another scheduler."""
    if not space.is_population:
        return None
    return Population(space, lambda: study.get_trials(deepcopy=False))


def enqueue_all_missing(study: optuna.Study, space: Space, population: Population | None) -> None:
    """Queue what a session has to begin with, each once: points, attempts cut short, clones."""
    enqueue_missing(study, space)
    if population:
        population.enqueue_clones(study)


def _fitted(nodes: Sequence[Node], space: Space, root: str, address: str | None) -> Concurrency:
    """How many trials fit; of nodes that are joined, each is asked whether it can run any."""
    memory_gb = space.header.budget.trial_memory_gb
    if address is None:
        return fit_trials(nodes, memory_gb)
    refuse_unfit_nodes(root)
    return fit_cluster(nodes, memory_gb)


def _print_start(
    study: optuna.Study,
    prepared: PreparedData,
    taken: Sequence[TakenOver],
    ledger: Ledger,
    console: Console,
) -> None:
    console.print(*prepared.description(), sep="\n", soft_wrap=True)
    if taken:
        console.print(taken_over_table(taken))
    if n_told := len(finished_trials(study.get_trials(deepcopy=False))):
        console.print(f"Going on: {n_told} trials are told, {ledger.elapsed():.0f} s spent.")


def _display(
    space: Space, study: optuna.Study, ledger: Ledger, console: Console, clock: Clock
) -> ProgressDisplay:
    budget, trials = space.header.budget, study.get_trials(deepcopy=False)
    time_budget = TimeBudget(budget.hours, ledger.elapsed)
    reported = [
        (max(curve(trial).values()), trial.number)
        for trial in exclude_warm_start(trials)
        if curve(trial)
    ]
    best = max(reported, key=lambda one: one[0], default=None)
    return ProgressDisplay(
        console,
        budget.trials,
        budget.epochs,
        time_budget,
        clock,
        len(finished_trials(trials)),
        best,
    )


def _write_up(session: Session, outcome: Outcome, fingerprint: str, console: Console) -> None:
    """Write and print what the search came to."""
    folder, ledger = session.folder, session.ledger
    summary = summarise(outcome, ledger.elapsed(), fingerprint)
    write_whole(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
    ledger.write(ended=outcome.ended)
    session.events.write(
        "session_ended",
        seconds=round(ledger.elapsed(), 3),
        ended=outcome.ended,
        ending_seconds=round(session.ending.seconds(), 3),
    )
    draw_front(outcome, folder / PARETO)
    print_outcome(outcome, console)
    print_verdicts(summary, console)
    peak, seconds = summary["peak_trial_rss_mb"], summary["wall_seconds"]
    console.print(f"Wrote {folder}: {seconds} s, at most {peak} MB a trial.", soft_wrap=True)


def _record_or_compare(
    space: Space,
    prepared: PreparedData,
    folder: Path,
    places: StorageConfig | None,
    earlier: Sequence[EarlierRun],
) -> None:
    """Write the run's record, or see that the data are still those it names.

    What earlier runs have to give is written down before it: a run that has its record
    can be continued, and needs them no more.
    """
    if not (folder / RECORD).exists():
        if earlier:
            found = gather(space, earlier, prepared.fingerprint, prepared.encoder_fingerprint)
            write_taken_over(found, folder)
        write_record(space, prepared, folder, places)
    else:
        refuse_other_data(read_record(folder), prepared, folder)


def _make_up(
    study: optuna.Study, space: Space, folder: Path, population: Population | None
) -> list[TakenOver]:
    """Close what a killed session left open, and queue or add what the study lacks."""
    close_running(study, "the search was killed")
    enqueue_all_missing(study, space, population)
    taken = read_taken_over(folder)
    add_missing(study, space, taken)
    return taken


def _first_line(error: Exception) -> str:
    """What went wrong; Optuna's own error says less than the one that it was made from."""
    if isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__ is not None:
        return _first_line(cast(Exception, error.__cause__))
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
