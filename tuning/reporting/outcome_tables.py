"""Tables of a finished search: trials, confirmation, leaderboard, targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from quantum_rerank.evaluation import COSINE, difference_table, leaderboard
from quantum_rerank.evaluation.target_table import target_table
from quantum_rerank.evaluation.targets import read_target_records
from tuning.conclusion.outcome import Outcome
from tuning.conclusion.race import Confirmed
from tuning.reporting.descriptions import describe_trial
from tuning.reporting.summary import systems_of
from tuning.study import attributes
from tuning.study.ranking import front, ranking_key
from tuning.study.trials import STATE_NAMES, highest, last_epoch
from tuning.study.warm_start import STATES as PRIOR_STATES
from tuning.study.warm_start import TakenOver
from tuning.workers.cost import UNITS

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from tuning.space import Space


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print every trial, then the leaderboard on test queries with every difference.

    Args:
        outcome: Outcome of the search.
        console: Console to print to.
    """
    console.print(_trial_table(outcome))
    if cost := outcome.space.header.objective.cost:
        console.print(_front_table(front(outcome.trials), outcome.space, cost))
    print_confirmed(outcome.confirmed, console)
    winner = f"best (trial {outcome.tested[0].trial.number})" if outcome.tested else ""
    for role in ("test", "unseen_test"):
        systems = systems_of(outcome, role, winner)
        if COSINE not in systems:
            continue
        console.print(leaderboard(role, systems))
        if outcome.tested:
            best = outcome.tested[0].scores[role]
            rivals = {name: scores for name, scores in systems.items() if scores is not best}
            console.print(difference_table("best", best, rivals))
    for note in outcome.notes:
        console.print(note)


def print_targets(summary: Mapping[str, Any], console: Console) -> None:
    """Print the targets of a summary; nothing where the search has no best trial.

    Args:
        summary: Content of `summary.json`.
        console: Console to print to.
    """
    if results := read_target_records(summary["targets"]):
        console.print(target_table("Targets, by the best trial", results))


def print_confirmed(confirmed: Sequence[Confirmed], console: Console) -> None:
    """Print the objectives of the best trials on fresh seeds.

    Args:
        confirmed: Best trials; those without objectives are left out.
        console: Console to print to.
    """
    trials = [trial for trial in confirmed if trial.objectives]
    if not trials:
        return
    table = Table(
        title="Validation objective of the best trials on fresh seeds and divisions",
        title_justify="left",
        box=None,
    )
    for name in (
        "trial",
        "seeds",
        "in the search",
        "mean",
        "standard deviation",
        "lowest",
        "highest",
    ):
        table.add_column(name, justify="right")
    for trial in trials:
        values = (trial.trial.validation.objective, trial.mean, trial.spread)
        ends = (min(trial.objectives), max(trial.objectives))
        counts = (str(trial.trial.number), str(len(trial.objectives)))
        table.add_row(*counts, *(f"{value:.4f}" for value in (*values, *ends)))
    console.print(table)


def taken_over_table(taken: Sequence[TakenOver]) -> Table:
    """Return a row per earlier run: trials that were taken over, and those left out by reason."""
    table = Table(title="Warm start", title_justify="left", box=None)
    for name in (*PRIOR_STATES, "queued", "left out"):
        table.add_column(name, justify="right")
    for name in ("run", "reasons"):
        table.add_column(name, overflow="fold")
    for run in taken:
        numbers = (*map(run.count, PRIOR_STATES), len(run.proposals), sum(run.left_out.values()))
        reasons = "; ".join(f"{reason}: {count}" for reason, count in run.left_out.items())
        table.add_row(*map(str, numbers), Text(run.run), Text(reasons))
    return table


def _trial_table(outcome: Outcome) -> Table:
    """Return every trial, best first, failed ones last."""
    table = Table(title="Trials by validation objective", title_justify="left", box=None)
    for name in ("trial", "state", "epochs", "objective", "s", "MiB"):
        table.add_column(name, justify="left" if name == "state" else "right")
    table.add_column("configuration or failure", overflow="fold")
    for trial in sorted(
        outcome.trials, key=lambda t: (t.state.name != "FAIL", ranking_key(t)), reverse=True
    ):
        value, failure = highest(trial), attributes.failure(trial)
        table.add_row(
            str(trial.number),
            STATE_NAMES[trial.state],
            str(last_epoch(trial)),
            "-" if value is None else f"{value:.4f}",
            f"{attributes.seconds(trial) or 0:.0f}",
            f"{attributes.peak_rss_mb(trial) or 0:.0f}",
            Text(str(failure) if failure else describe_trial(trial, outcome.space)),
        )
    return table


def _front_table(trials: Sequence[FrozenTrial], space: Space, cost: str) -> Table:
    """Return the trials of the Pareto front, the cheapest first."""
    title = f"Pareto front: validation objective against {UNITS[cost]}"
    table = Table(title=title, title_justify="left", box=None, min_width=len(title))
    for name in ("trial", "objective", cost):
        table.add_column(name, justify="right")
    table.add_column("configuration", overflow="fold")
    for trial in trials:
        value, trial_cost = trial.values
        shown = f"{trial_cost:.0f}" if cost == "parameters" else f"{trial_cost:.3f}"
        table.add_row(str(trial.number), f"{value:.4f}", shown, describe_trial(trial, space))
    return table
