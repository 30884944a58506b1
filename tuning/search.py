"""The search: `python -m tuning.search --space search_spaces/default.yaml`."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from quantum_rerank.console import INTERRUPTED_EXIT_CODE, new_folder, run
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.training.data_manager import TrialData, prepare
from tuning.best_trial import SUMMARY, load_study, study_storage
from tuning.budgets import INTERRUPT, Concurrency, Ending, TimeBudget, fit_trials
from tuning.cluster import ray_cluster, this_machine
from tuning.conclusion import conclude
from tuning.plan import print_plan, write_record
from tuning.progress import ProgressDisplay
from tuning.records import FAILURE, NUMBER, Listener, Listeners
from tuning.reports import print_outcome, summarise, write_trials
from tuning.searcher import open_study
from tuning.space import Space
from tuning.space_file import load_space
from tuning.tracking import PROJECT, Mode, WandbTracker, resolve_mode

app = typer.Typer(add_completion=False)


@app.command()
def main(
    space: Annotated[Path, typer.Option(help="Search space, such as search_spaces/default.yaml.")],
    output: Annotated[
        Path | None, typer.Option(help="New folder of the run; runs/NAME-TIME if not given.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Print the resolved plan and stop.")] = False,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to join, or `auto`; a local one if not given.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Replaces budget.trials.")] = None,
    hours: Annotated[float | None, typer.Option(help="Replaces budget.hours.")] = None,
    trial_memory_gb: Annotated[
        float | None, typer.Option(help="Replaces budget.trial_memory_gb.")
    ] = None,
    wandb: Annotated[
        Literal["auto", "online", "offline", "disabled"],
        typer.Option(help="auto: online where logged in to W&B, else offline."),
    ] = "auto",
) -> None:
    """Search for the best hybrid reranker of a space, and export it.

    Trials run in parallel on Ray, Optuna proposes them, ASHA stops weak ones early.
    The run's folder ends with summary.json, trials.csv, study.db, wandb/ and best/,
    the bundle of the winner. Ctrl-C once ends in order and exports the best so
    far; twice stops now.

    Exit codes: 0 done (also when the time budget ended it); 2 a mistake in what was
    given; 130 interrupted.
    """
    replaced = {"trials": trials, "hours": hours, "trial_memory_gb": trial_memory_gb}
    known = load_space(space, {key: value for key, value in replaced.items() if value is not None})
    console = Console()
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = (output or Path("runs") / f"{known.header.name}-{stamp}").resolve()
    if dry_run:
        concurrency = fit_trials([this_machine()], known.header.budget.trial_memory_gb)
        print_plan(known, concurrency, folder, console)
        return
    if address is None:
        # Known before anything is loaded, so that a hopeless budget fails at once.
        fit_trials([this_machine()], known.header.budget.trial_memory_gb)
    new_folder(folder)
    ended = search(known, folder, console, address, resolve_mode(wandb))
    if ended == INTERRUPT:
        raise typer.Exit(INTERRUPTED_EXIT_CODE)


def search(
    space: Space, folder: Path, console: Console, address: str | None, wandb_mode: Mode
) -> str:
    """Run a search into an empty folder; returns why it ended early, or nothing."""
    clock = time.monotonic
    budget = TimeBudget(space.header.budget.hours, clock)
    ending = Ending(budget, space.header.budget.hours)
    source = embedding_source(space.base.data.encoder)
    prepared = prepare(space.base.data, source)
    with ray_cluster(address) as nodes:
        concurrency = fit_trials(nodes, space.header.budget.trial_memory_gb)
        concurrency = replace(concurrency, spread=address is not None)
        print_plan(space, concurrency, folder, console)
        console.print(*prepared.description(), sep="\n")
        write_record(space, prepared, folder)
        tracker = WandbTracker(PROJECT, folder.name, folder, wandb_mode)
        display = ProgressDisplay(
            console, space.header.budget.trials, space.header.budget.epochs, budget, clock
        )
        listeners = Listeners([display, tracker])
        open_study(study_storage(folder), space)
        try:
            with display, ctrl_c_ends(ending, display):
                run_trials(space, prepared.trial, folder, concurrency, ending, listeners)
        finally:
            finish_study(folder, ending)
            tracker.close()
        write_trials(load_study(folder).trials, folder / "trials.csv")
        outcome = conclude(space, prepared, source, folder, ending, console)
    summary = summarise(outcome, budget.elapsed(), prepared.fingerprint)
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print_outcome(outcome, console)
    peak, seconds = summary["peak_trial_rss_mb"], summary["wall_seconds"]
    console.print(f"Wrote {folder}: {seconds} s, at most {peak} MB a trial.", soft_wrap=True)
    return outcome.ended


def run_trials(
    space: Space,
    data: TrialData,
    folder: Path,
    concurrency: Concurrency,
    ending: Ending,
    listener: Listener,
) -> None:
    """Let Ray Tune run the trials of a space until they, the budget or the user end it."""
    from ray import tune

    from tuning.scheduler import AtEnding, make_scheduler
    from tuning.searcher import TRIALS, TruthfulSearch, trial_folder
    from tuning.trainable import TrialLimits, read_death_note, run_trial

    notes = folder / TRIALS
    notes.mkdir()

    def own_name(trial: Any) -> str:
        return trial_folder(trial.config[NUMBER]).name

    trainable = tune.with_parameters(
        run_trial, space=space, data=data, limits=TrialLimits(concurrency.trial_memory_gb, notes)
    )
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1, **concurrency.reservation}),
        tune_config=tune.TuneConfig(
            search_alg=TruthfulSearch(
                space,
                study_storage(folder),
                listener,
                ending,
                lambda n: read_death_note(notes, n),
                folder,
            ),
            scheduler=make_scheduler(space),
            num_samples=space.header.budget.trials,
            max_concurrent_trials=concurrency.trials,
            reuse_actors=True,
            trial_name_creator=own_name,
            trial_dirname_creator=own_name,
        ),
        run_config=tune.RunConfig(
            name=TRIALS,
            storage_path=str(folder),
            stop=AtEnding(ending),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    ).fit()


@contextmanager
def ctrl_c_ends(ending: Ending, display: ProgressDisplay) -> Iterator[None]:
    """First Ctrl-C: end in order. Second: stop now, by Python's own handler."""
    before = signal.getsignal(signal.SIGINT)

    def on_interrupt(*_: object) -> None:
        ending.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        display.say("Ending: each trial stops after its epoch. Ctrl-C again stops now.")

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def finish_study(folder: Path, ending: Ending) -> None:
    """Tell the study of trials that nobody told of: whatever happened, none stays RUNNING."""
    import optuna

    study = load_study(folder)
    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    for trial in running:
        study._storage.set_trial_user_attr(
            trial._trial_id, FAILURE, f"interrupted: {ending() or 'stopped'}"
        )
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


if __name__ == "__main__":
    run(app)
