"""One session of a search, from its study as it is to the end of a budget or of the space.

Nothing is restored from Ray. A session builds a new Tuner from the study, so that starting,
resuming and extending a search are the same thing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console

from quantum_rerank.atomic import write_json
from quantum_rerank.embeddings import EmbeddingSource, source_of
from quantum_rerank.errors import BundleError, FilesError, MissingPackage, SearchError, first_line
from quantum_rerank.interruption import Interruption, hangups_blocked
from quantum_rerank.output_streams import as_a_display
from quantum_rerank.plain_text import pasted
from quantum_rerank.plural import counted
from quantum_rerank.training.data_description import describe
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.few_labels import few_labels
from quantum_rerank.training.trial_data import PreparedData, TrialData
from tuning.algorithms.population import Population
from tuning.conclusion.conclude import Conclusion
from tuning.conclusion.outcome import Outcome
from tuning.conclusion.selection import query_error
from tuning.conclusion.trained_trial import load_trial
from tuning.limits.budgets import CoreBudget, TimeBudget
from tuning.limits.concurrency import GIB, Concurrency, Node, fit_cluster, fit_trials
from tuning.limits.deadlines import Deadlines, TimeLimits
from tuning.limits.early_end import EarlyEnd
from tuning.limits.expected_memory import (
    ExpectedMemory,
    MemoryRoom,
    expected_gib,
    predicted_bytes,
)
from tuning.limits.failures import FailureStreak
from tuning.limits.memory import MemoryWarnings, ranked_documents
from tuning.limits.retention import CheckpointPruner, DonorPruner
from tuning.limits.stop_signal import StopSignal
from tuning.records import (
    AttendedClock,
    Listener,
    Listeners,
    StopKind,
    StopReason,
)
from tuning.reporting.events import EventLog, write_log
from tuning.reporting.live_forecast import LiveForecast
from tuning.reporting.outcome_tables import print_outcome, print_targets, taken_over_table
from tuning.reporting.pareto import draw_front
from tuning.reporting.plan import print_plan
from tuning.reporting.progress import ProgressDisplay, best_so_far
from tuning.reporting.search_page import PAGE, write_search_page
from tuning.reporting.snapshot import read_snapshot
from tuning.reporting.summary import SCORES, scores_record, summarise, write_trials
from tuning.reporting.tracking import WandbTracker, project
from tuning.reporting.trainings_display import TrainingsDisplay
from tuning.session.ending import (
    closed_in_time,
    signals_conclude,
    signals_end,
    study_or_disk_errors,
    trials_closed,
)
from tuning.session.search_state import Search, SearchOptions
from tuning.session.trial_loop import run_trials
from tuning.space import Space
from tuning.study import attributes
from tuning.study.ledger import Ledger
from tuning.study.resuming import close_running, enqueue_missing
from tuning.study.retrying import waited
from tuning.study.run_folder import (
    BEST,
    EVENTS,
    LOG,
    PARETO,
    RECORD,
    SUMMARY,
    open_study,
    read_record,
    recorded_places,
    recorded_run,
    refuse_other_data,
    write_record,
)
from tuning.study.trial_files import DONORS, TrialFiles
from tuning.study.view import StudyView
from tuning.study.warm_start import (
    TakenOver,
    add_missing,
    gather,
    read_taken_over,
    write_taken_over,
)
from tuning.study.warm_ups import SharedWarmUps
from tuning.workers.arrivals import Arrivals, read_failed_starts
from tuning.workers.cluster import ray_cluster, ray_logs
from tuning.workers.node_checks import refuse_unfit_nodes
from tuning.workers.tasks import Tasks

log = logging.getLogger("tuning")
_RESUME = ("python", "-m", "tuning.search", "--resume")


def search(
    space: Space, folder: Path, console: Console, options: SearchOptions | None = None
) -> StopReason | None:
    """Start a search in its folder, or resume the one that is there.

    If its output can no longer be written, the search continues without its display. Its log
    has every error that ended it.

    Args:
        space: Space to search.
        folder: Folder of the run.
        console: Console to print to.
        options: Options of the session.

    Returns:
        The reason for which the search ended early; None if it is done.

    Raises:
        SearchError: The disk or the study failed; the search can be resumed.
        Interrupted: A signal ended the search before its first trial.
    """
    with write_log(folder / LOG), as_a_display():
        try:
            return _Session(space, folder, console, options or SearchOptions()).run()
        except study_or_disk_errors() as error:
            log.exception("The session failed")
            raise SearchError(
                f"The search stopped: {_reason(error)}. Every finished trial is in the study: "
                f"fix the cause, then go on with `{pasted(*_RESUME, folder)}`."
            ) from None
        except KeyboardInterrupt as interrupted:
            log.warning("The session was interrupted by %s", interrupted or StopKind.INTERRUPT)
            raise
        except BaseException:
            log.exception("The session failed")
            raise


class _Session:
    """Builder of a `Search`, which it runs and concludes."""

    def __init__(
        self, space: Space, folder: Path, console: Console, options: SearchOptions
    ) -> None:
        self._space, self._folder, self._console = space, folder, console
        self._options, self._clock = options, options.clock

    def run(self) -> StopReason | None:
        with ExitStack() as resources:
            interruption = Interruption(lambda name: _announce_end(name, self._console))
            resources.enter_context(interruption.listening())
            source = source_of(self._space.base.data)
            prepared = prepare(self._space.base.data, source)
            with interruption.held():  # a folder is empty, or holds a run that can be resumed
                study = self._open_study(prepared)
                ledger = Ledger(study, self._clock)
                population = population_of(self._space, study)
                taken_over = self._complete_study(study, population)
                with hangups_blocked():  # a closed terminal ends the search, not its cluster
                    nodes = resources.enter_context(ray_cluster(self._options.address))
                interruption.listen()  # Ray has its own answer to SIGTERM
            concurrency = self._fit(nodes, prepared.trial)
            runs = [Path(run.run) for run in taken_over]
            print_plan(self._space, concurrency, self._folder, self._console, runs)
            self._print_start(StudyView.of(study), prepared, taken_over, ledger)
            state = self._assemble(study, prepared, concurrency, ledger, population)
            with signals_conclude(state.stop_signal, state.display):
                run_to_the_end(state)
                write_trials(state.view(), self._folder / "trials.csv")
                outcome = self._conclude(state, source)
                _write_up(state, outcome, self._console)
        return outcome.stopped

    def _print_start(
        self,
        view: StudyView,
        prepared: PreparedData,
        taken_over: Sequence[TakenOver],
        ledger: Ledger,
    ) -> None:
        lines = [*few_labels(prepared.n_train, self._space.base.data), *describe(prepared)]
        self._console.print(*lines, sep="\n", soft_wrap=True)
        if taken_over:
            self._console.print(taken_over_table(taken_over))
        if n_finished := len(view.finished()):
            text = f"{counted(n_finished, 'finished trial')}, {ledger.elapsed():.0f} s spent."
            self._console.print(f"Resuming: {text}")

    def _conclude(self, state: Search, source: EmbeddingSource) -> Outcome:
        """Confirm, test and export, and remove what only further trainings would need."""
        warm_ups = SharedWarmUps(state.files.root, recorded_run(read_record(self._folder)))
        with TrainingsDisplay(self._console) as display:
            tasks = Tasks(
                state.prepared.trial,
                state.concurrency,
                state.stop_signal,
                Listeners([state.ledger, display]).trainings_ran,
                _time_limits(self._space),
                AttendedClock(self._clock),
                warm_ups,
            )
            outcome = Conclusion(
                space=self._space,
                study=state.study,
                prepared=state.prepared,
                source=source,
                folder=self._folder,
                tasks=tasks,
                console=self._console,
            ).run()
        if outcome.stopped is None:
            warm_ups.remove()
            if found := state.early_end(state.view()):
                outcome.notes.append(str(found))
        return outcome

    def _open_study(self, prepared: PreparedData) -> optuna.Study:
        """Open the study of the run, and write the run's record if there is none."""
        self._record_or_compare(prepared)
        study = open_study(
            self._folder,
            self._space.header.name,
            self._space.header.objective.directions,
            places=recorded_places(self._folder),
            patience=self._options.patience,
        )
        attributes.write_budget(study, self._space.header.budget.model_dump(mode="json"))
        return study

    def _record_or_compare(self, prepared: PreparedData) -> None:
        """Write the record of a new run, or check that the data of a run have not changed.

        Results of earlier runs are written before it: a run with a record can be resumed, and
        does not need them any more.
        """
        if (self._folder / RECORD).exists():
            refuse_other_data(read_record(self._folder), prepared, self._folder)
            return
        if earlier := self._options.earlier:
            fingerprints = (prepared.fingerprint, prepared.encoder_fingerprint)
            write_taken_over(gather(self._space, earlier, *fingerprints), self._folder)
        is_tracked = self._options.wandb_mode != "disabled"
        write_record(self._space, prepared, self._folder, self._options.storage, is_tracked)

    def _complete_study(
        self, study: optuna.Study, population: Population | None
    ) -> list[TakenOver]:
        """Close trials that a killed session left open, and queue or add missing ones."""
        close_running(study, "the search was killed")
        enqueue_all_missing(study, self._space, population)
        taken_over = read_taken_over(self._folder)
        add_missing(study, self._space, taken_over)
        return taken_over

    def _fit(self, nodes: Sequence[Node], data: TrialData) -> Concurrency:
        """Return how many trials fit; the nodes of a cluster are checked first."""
        memory_gb = self._space.header.budget.trial_memory_gb
        expected = expected_gib(self._space, data.embedding_dim, ranked_documents(data))
        if self._options.address is None:
            return fit_trials(nodes, memory_gb, expected)
        refuse_unfit_nodes(recorded_places(self._folder).root(self._folder))
        return fit_cluster(nodes, memory_gb, expected)

    def _memory(self, data: TrialData, concurrency: Concurrency) -> ExpectedMemory:
        predict = partial(
            predicted_bytes, embedding_dim=data.embedding_dim, n_ranked=ranked_documents(data)
        )
        return ExpectedMemory(predict, int(concurrency.trial_memory_gb * GIB))

    def _standard_error(
        self, data: TrialData
    ) -> Callable[[FrozenTrial, FrozenTrial], float | None]:
        """Return the function that measures the standard error of a difference of two trials."""

        def standard_error(left: FrozenTrial, right: FrozenTrial) -> float | None:
            try:
                ours, theirs = load_trial(self._folder, left), load_trial(self._folder, right)
            except BundleError:  # the conclusion says what is wrong with them
                return None
            return query_error(ours, theirs, data, self._space.header.objective.metric)

        return standard_error

    def _assemble(
        self,
        study: optuna.Study,
        prepared: PreparedData,
        concurrency: Concurrency,
        ledger: Ledger,
        population: Population | None,
    ) -> Search:
        """Return the session with all its limits and listeners."""
        budget = self._space.header.budget
        files = TrialFiles(recorded_places(self._folder).root(self._folder))
        stop_signal = StopSignal(_limits(self._space, ledger), self._clock)
        events = EventLog(self._folder / EVENTS)
        display = _display(self._space, study, ledger, self._console, self._clock)
        tracker = WandbTracker(project(), self._folder.name, self._folder, self._options.wandb_mode)
        # Trials do not lose time while the search waits for its study, or does not run.
        attended = AttendedClock(lambda: self._clock() - waited(study))
        deadlines = Deadlines(_time_limits(self._space), attended)
        expected = self._memory(prepared.trial, concurrency)
        memory = MemoryRoom(expected, self._space.base, self._options.free_memory, self._clock)
        listeners: list[Listener] = [
            ledger,
            expected,
            FailureStreak(budget.failures_in_a_row, stop_signal),
            events,
            deadlines,
            *pruners(self._space, study, files),
            MemoryWarnings(concurrency.trial_memory_gb, display.print_line),
            display,
            tracker,
        ]
        return Search(
            space=self._space,
            study=study,
            folder=self._folder,
            files=files,
            prepared=prepared,
            concurrency=concurrency,
            train=self._options.train,
            stop_signal=stop_signal,
            ledger=ledger,
            events=events,
            deadlines=deadlines,
            arrivals=_arrivals(display, concurrency, self._clock),
            display=display,
            tracker=tracker,
            listener=Listeners(listeners),
            early_end=EarlyEnd(self._space, self._standard_error(prepared.trial)),
            memory=None if concurrency.is_spread else memory,
            population=population,
        )


def run_to_the_end(search: Search) -> None:
    """Run trials until the budget of trials, another budget or the user ends them.

    Raises:
        FilesError: The trials' files could not be written.
    """
    study, stop_signal = search.study, search.stop_signal
    with (
        closed_in_time(search.tracker, stop_signal),
        trials_closed(study, stop_signal, search.ledger),
        search.display,
        signals_end(stop_signal, search.display),
    ):
        run_trials(search)
        # A trial that Ray has lost sight of is continued in this session too.
        if not stop_signal() and close_running(study, "nothing was heard of it"):
            enqueue_all_missing(study, search.space, search.population)
            run_trials(search)
    reason = stop_signal()
    if reason and reason.kind == StopKind.STORAGE:
        search.ledger.close(reason)
        raise FilesError(reason.detail)


def pruners(space: Space, study: optuna.Study, files: TrialFiles) -> list[Listener]:
    """Return the listeners that remove files of trials which nothing needs any more."""
    view = partial(StudyView.of, study)
    listeners: list[Listener] = [CheckpointPruner(view, space.header.top_k, files)]
    if space.perturbation_epochs():
        listeners.append(DonorPruner(space, view, files.below(DONORS)))
    return listeners


def population_of(space: Space, study: optuna.Study) -> Population | None:
    """Return the population of population based training; None for any other scheduler."""
    return Population(space, partial(StudyView.of, study)) if space.is_population else None


def enqueue_all_missing(study: optuna.Study, space: Space, population: Population | None) -> None:
    """Queue start points, trials that were cut short, and clones, each once.

    Args:
        study: Study of the search.
        space: Space of the search.
        population: Population whose clones are queued, if there is one.
    """
    enqueue_missing(study, space)
    if population:
        population.enqueue_clones(study)


def _announce_end(name: str, console: Console) -> None:
    console.print(f"{name}: the search ends once Ray has started. Ctrl-C again stops now.")


def _limits(space: Space, ledger: Ledger) -> list[Callable[[], StopReason | None]]:
    budget = space.header.budget
    limits: list[Callable[[], StopReason | None]] = [TimeBudget(budget.hours, ledger.elapsed)]
    if budget.core_hours:
        limits.append(CoreBudget(budget.core_hours, ledger.core_seconds))
    return limits


def _time_limits(space: Space) -> TimeLimits:
    budget = space.header.budget
    return TimeLimits(budget.trial_hours, budget.epoch_minutes)


def _display(
    space: Space,
    study: optuna.Study,
    ledger: Ledger,
    console: Console,
    clock: Callable[[], float],
) -> ProgressDisplay:
    view = partial(StudyView.of, study)
    forecast = LiveForecast(space.header, view, ledger.elapsed, ledger.core_seconds, clock)
    return ProgressDisplay(console, forecast, best_so_far(view()))


def _arrivals(
    display: ProgressDisplay, concurrency: Concurrency, clock: Callable[[], float]
) -> Arrivals:
    def warn(text: str) -> None:
        display.print_line(text)
        log.warning(text)

    return Arrivals(
        AttendedClock(clock),
        warn,
        lambda: read_failed_starts(ray_logs()),
        may_wait=concurrency.is_spread,
    )


def _write_page(folder: Path, console: Console) -> None:
    """Write report.html; a search without the packages for it ends well all the same."""
    try:
        write_search_page(read_snapshot(folder), folder / PAGE)
    except MissingPackage as error:
        console.print(f"{PAGE} was not written: {error}", soft_wrap=True)


def _write_up(search: Search, outcome: Outcome, console: Console) -> None:
    """Write and print the outcome of a search."""
    folder, ledger = search.folder, search.ledger
    summary = summarise(outcome, ledger.elapsed(), search.prepared.fingerprint)
    write_json(folder / SUMMARY, summary)
    write_json(folder / SCORES, scores_record(outcome))
    ledger.close(outcome.stopped)
    search.events.write(
        "session_ended",
        seconds=round(ledger.elapsed(), 3),
        ended=str(outcome.stopped or ""),
        ending_seconds=round(search.stop_signal.seconds(), 3),
    )
    draw_front(outcome, folder / PARETO)
    _write_page(folder, console)
    print_outcome(outcome, console)
    print_targets(summary, console)
    peak, seconds = summary["peak_trial_rss_mb"], summary["wall_seconds"]
    estimate = search.display.early_estimate()
    early = f" (estimated after a quarter of the trials: {estimate:.0f} s)" if estimate else ""
    core = f"{ledger.core_seconds():.0f} core-seconds"
    console.print(
        f"Wrote {folder}: {seconds} s{early}, {core}, at most {peak} MiB a trial.", soft_wrap=True
    )
    if (best := folder / BEST).exists():
        console.print(f'Load the model with `Reranker.load("{best}")`.', soft_wrap=True)


def _reason(error: Exception) -> str:
    """Return the first line of an error; of Optuna's, that of its cause, which says more."""
    if isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__ is not None:
        return first_line(error.__cause__)
    return first_line(error)
