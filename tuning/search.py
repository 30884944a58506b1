"""The search: `python -m tuning.search --space search_spaces/default.yaml`."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from quantum_rerank.console import INTERRUPTED_EXIT_CODE, new_folder, run
from quantum_rerank.embeddings import EmbeddingSource, embedding_source
from quantum_rerank.errors import ConfigError
from quantum_rerank.evaluation import COSINE, Scores
from quantum_rerank.training.arms import train_arm
from quantum_rerank.training.data_manager import PreparedData, QuerySet, TrialData, prepare
from quantum_rerank.training.ranking import score_on
from tuning.best_trial import (
    BEST,
    SUMMARY,
    TrainedTrial,
    export_trial,
    load_trial,
    ranked_trials,
    study_storage,
)
from tuning.budgets import GB, Concurrency, Node, TimeBudget, fit_trials
from tuning.progress import ProgressDisplay
from tuning.records import CHECKPOINT, FAILURE, NUMBER, Listener, Listeners
from tuning.reports import Outcome, Tested, print_outcome, summarise, write_trials
from tuning.space import Space, load_space
from tuning.tracking import WandbTracker, resolve_mode

PROJECT = "quantum-rerank"

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


INTERRUPT = "Ctrl-C"


class Ending:
    """Why a search is over: `""` while it is not. Ctrl-C and the time budget end it."""

    def __init__(self, budget: TimeBudget, hours: float) -> None:
        self._budget, self._hours = budget, hours
        self.interrupted = False

    def __call__(self) -> str:
        """The reason, once there is one."""
        if self.interrupted:
            return INTERRUPT
        return f"time budget of {self._hours:g} h" if self._budget.expired() else ""


def search(
    space: Space, folder: Path, console: Console, address: str | None, wandb_mode: Any
) -> str:
    """Run a search into an empty folder; returns why it ended early, or nothing."""
    clock = time.monotonic
    budget = TimeBudget(space.header.budget.hours, clock)
    ending = Ending(budget, space.header.budget.hours)
    source = embedding_source(space.base.data.encoder)
    prepared = prepare(space.base.data, source)
    with ray_cluster(address) as nodes:
        concurrency = fit_trials(nodes, space.header.budget.trial_memory_gb)
        print_plan(space, concurrency, folder, console)
        print_data(prepared, console)
        write_record(space, prepared, folder)
        tracker = WandbTracker(PROJECT, folder.name, folder, wandb_mode)
        display = ProgressDisplay(
            console, space.header.budget.trials, space.header.budget.epochs, budget, clock
        )
        try:
            with display, ctrl_c_ends(ending, display):
                run_trials(space, prepared.trial, folder, concurrency, ending,
                           Listeners([display, tracker]))  # fmt: skip
        finally:
            finish_study(folder, ending)
            tracker.close()
        outcome = conclude(space, prepared, source, folder, ending, console)
    write_trials(outcome.trials, folder / "trials.csv")
    summary = summarise(outcome, budget.elapsed(), prepared.fingerprint)
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print_outcome(outcome, console)
    console.print(f"Wrote {folder}. Peak memory of a trial {summary['peak_trial_rss_mb']} MB, "
                  f"{summary['wall_seconds']} s in all.", soft_wrap=True)  # fmt: skip
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

    from tuning.scheduler import make_scheduler
    from tuning.searcher import TRIALS, TruthfulSearch, open_study, trial_folder
    from tuning.trainable import TrialLimits, read_death_note, run_trial

    storage = study_storage(folder)
    open_study(storage, space)
    notes = folder / TRIALS
    notes.mkdir()

    class AtEnding(tune.Stopper):  # type: ignore[misc]  # Ray ships no types
        """Stops each trial at its next report once the search is over.

        Ray's own time budget tells neither searcher nor callbacks.
        """

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return bool(ending())

        def stop_all(self) -> bool:
            return False

    def own_name(trial: Any) -> str:
        return trial_folder(trial.config[NUMBER]).name

    trainable = tune.with_parameters(
        run_trial, space=space, data=data, limits=TrialLimits(concurrency.trial_memory_gb, notes)
    )
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=TruthfulSearch(
                space, storage, listener, ending, lambda n: read_death_note(notes, n), folder
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
            stop=AtEnding(),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    ).fit()


def conclude(
    space: Space,
    prepared: PreparedData,
    source: EmbeddingSource,
    folder: Path,
    ending: Ending,
    console: Console,
) -> Outcome:
    """Score the best trials and the baselines on test, once, and export the winner."""
    from tuning.best_trial import load_study
    from tuning.searcher import START_POINT

    trials = [t for t in load_study(folder).get_trials(deepcopy=False) if t.state.is_finished()]
    ranked = ranked_trials(trials)
    notes = []

    def tested(trial: TrainedTrial) -> Tested:
        return Tested(trial, score_roles(trial.head, trial.validation.fusion_weight, prepared))

    best = [tested(load_trial(folder, trial)) for trial in ranked[: space.header.top_k]]
    started = (t for t in trials if t.user_attrs.get(START_POINT) == 0 and CHECKPOINT in t.user_attrs)
    default = next((tested(load_trial(folder, trial)) for trial in started), None)
    cosine = train_arm(space.base, COSINE, prepared.trial)
    baselines = {COSINE: score_roles(cosine.head, 0.0, prepared)}
    if not best:
        notes.append("No trial reached the end of an epoch: there is nothing to export.")
        return Outcome(space, trials, [], default, baselines, ending(), None, notes)
    if ending():
        notes.append(f"Ended by {ending()}: the MLP twin and the circuit alone were not trained.")
    else:
        console.print("Training the MLP twin and the circuit alone with the best trial's numbers ...")
        for arm, (head, weight) in train_baselines(best[0].trial, prepared.trial).items():
            baselines[arm] = score_roles(head, weight, prepared)
    test = {role: dict(scores.metrics) for role, scores in best[0].scores.items()}
    bundle = export_trial(folder / BEST, best[0].trial, prepared, source, test)
    return Outcome(space, trials, best, default, baselines, ending(), bundle, notes)


def score_roles(head: Any, fusion_weight: float, prepared: PreparedData) -> dict[str, Scores]:
    """Scores on the test queries of seen and, where there are any, unseen domains."""
    roles: dict[str, Sequence[QuerySet]] = {
        "test": prepared.test_seen,
        "test_unseen": prepared.test_unseen,
    }
    return {role: score_on(head, fusion_weight, sets) for role, sets in roles.items() if sets}


def train_baselines(best: TrainedTrial, data: TrialData) -> dict[str, tuple[Any, float]]:
    """Train the classical twin and the circuit alone as the best trial was, side by side."""
    import ray

    from quantum_rerank.similarity import build_head

    @ray.remote(num_cpus=1)
    def train(arm: str, shared: TrialData) -> tuple[dict[str, Any], float]:
        import torch

        torch.set_num_threads(1)
        trained = train_arm(best_config, arm, shared)
        return trained.head.state_dict(), trained.validation.fusion_weight

    best_config = best.config
    reference = ray.put(data)
    waiting = {arm: train.remote(arm, reference) for arm in ("mlp_twin", "quantum_only")}
    heads: dict[str, tuple[Any, float]] = {}
    for arm, result in waiting.items():
        weights, fusion_weight = ray.get(result)
        arguments = best_config.head_arguments() | {"arm": arm}
        head = build_head(embedding_dim=data.embedding_dim, **arguments)
        head.load_state_dict(weights)
        heads[arm] = (head, fusion_weight)
    return heads


@contextmanager
def ray_cluster(address: str | None) -> Iterator[list[Node]]:
    """Join a running Ray cluster, or start one on this machine and stop it afterwards."""
    quiet = {
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_DEDUP_LOGS": "0",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    import ray

    local = address is None
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level="ERROR",
            **({"num_cpus": this_machine().cpus} if local else {}),
        )
    except ConnectionError as error:
        raise ConfigError(
            f"No Ray cluster answers at `{address}`: {error} "
            "Start one with `ray start --head`, or leave --address out."
        ) from None
    try:
        yield [this_machine()] if local else cluster_nodes()
    finally:
        ray.shutdown()


def this_machine() -> Node:
    """Cores that this process may use, and memory that is free."""
    import psutil

    return Node(len(os.sched_getaffinity(0)), psutil.virtual_memory().available / GB)


def cluster_nodes() -> list[Node]:
    """The live machines of the cluster that was joined, as Ray counts them."""
    import ray

    return [
        Node(int(node["Resources"].get("CPU", 0)), node["Resources"].get("memory", 0.0) / GB)
        for node in ray.nodes()
        if node["Alive"]
    ]


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

    from tuning.best_trial import load_study

    study = load_study(folder)
    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    for trial in running:
        study._storage.set_trial_user_attr(
            trial._trial_id, FAILURE, f"interrupted: {ending() or 'stopped'}"
        )
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def write_record(space: Space, prepared: PreparedData, folder: Path) -> None:
    """Write down what is searched on which data, before it starts."""
    record: Mapping[str, Any] = {
        "space": space.header.model_dump(mode="json"),
        "parameters": {
            name: parameter.model_dump(mode="json") for name, parameter in space.parameters.items()
        },
        "base": space.base.model_dump(mode="json"),
        "data_fingerprint": prepared.fingerprint,
        "splits": prepared.splits,
    }
    (folder / "run.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def print_plan(space: Space, concurrency: Concurrency, folder: Path, console: Console) -> None:
    """What will run where, for how long, over which parameters."""
    from rich.table import Table

    header, budget = space.header, space.header.budget
    rows = {
        "objective": f"{header.objective.mode} {header.objective.metric} on validation",
        "seen": ", ".join(space.base.data.seen),
        "unseen": f"validation {', '.join(space.base.data.unseen_validation) or 'none'}; "
        f"test {', '.join(space.base.data.unseen_test) or 'none'}",
        "budget": f"{budget.trials} trials of at most {budget.epochs} epochs and "
        f"{concurrency.trial_memory_gb:g} GB, {budget.hours:g} h in all",
        "at once": f"{concurrency.trials} trials ({concurrency.reason})",
        "sampler": f"{header.sampler.name}, seed {header.sampler.seed}",
        "scheduler": f"{header.scheduler.name}, from epoch {header.scheduler.grace_epochs}, "
        f"1 in {header.scheduler.reduction_factor:g} goes on"
        if header.scheduler.name == "asha"
        else "none",
        "first trials": f"{len(header.start_from)} given",
        "output": str(folder),
    }
    plan = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        plan.add_row(name, value)
    console.print(f"[bold]{header.name}[/bold]")
    console.print(plan)
    table = Table("parameter", "range", "when", box=None, padding=(0, 2))
    for name, parameter in space.parameters.items():
        bounds = parameter.model_dump(exclude={"type", "when"}, exclude_defaults=True)
        shown = ", ".join(f"{key} {value}" for key, value in bounds.items())
        when = ", ".join(f"{key} in {values}" for key, values in parameter.when.items())
        table.add_row(name, shown, when)
    console.print(table)


def print_data(prepared: PreparedData, console: Console) -> None:
    """How many documents and queries each domain has, and what was left out."""
    for row in prepared.statistics():
        console.print("  ".join(f"{key} {value}" for key, value in row.items() if value))
    for domain, reasons in prepared.skipped.items():
        for reason, count in reasons.items():
            console.print(f"{domain}: left out {count} {reason}")


if __name__ == "__main__":
    run(app)
