"""A finished search as tables: the leaderboard, `trials.csv`, `summary.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from quantum_rerank.atomic import write_whole
from quantum_rerank.evaluation import COSINE, Scores, difference_table, leaderboard
from quantum_rerank.training.target_table import verdict_table
from quantum_rerank.training.targets import as_record, from_record
from tuning.conclusion.confirmation import Confirmed
from tuning.conclusion.outcome import Outcome, Tested
from tuning.conclusion.targets import search_verdicts
from tuning.records import CHECKPOINT, COST, FAILURE, PEAK_RSS_MB, SECONDS
from tuning.study.attributes import WARM_START
from tuning.study.history import curve, superseded
from tuning.study.ranking import cost, front, ranking_key
from tuning.study.warm_start import STATES as PRIOR_STATES
from tuning.study.warm_start import TakenOver
from tuning.workers.cost import UNITS

if TYPE_CHECKING:
    import optuna

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def summarise(outcome: Outcome, wall_seconds: float, fingerprint: str) -> dict[str, Any]:
    """The content of `summary.json`."""
    states, continued = dict.fromkeys(STATES.values(), 0), superseded(outcome.trials)
    for trial in outcome.trials:
        if trial.state.name in STATES and trial.number not in continued:
            states[STATES[trial.state.name]] += 1
    failures = {
        str(t.number): t.user_attrs[FAILURE] for t in outcome.trials if FAILURE in t.user_attrs
    }
    peaks = [t.user_attrs[PEAK_RSS_MB] for t in outcome.trials if PEAK_RSS_MB in t.user_attrs]
    tested = [_tested_record(one) for one in outcome.tested]
    objective = outcome.space.header.objective
    return {
        "name": outcome.space.header.name,
        "objective": {
            "metric": f"val_{objective.metric}",
            "mode": objective.mode,
            "cost": objective.cost,
        },
        "n_trials": sum(states.values()),
        "states": states,
        "ended_early": outcome.ended,
        "baseline": {"name": COSINE, **_metrics(outcome.baselines[COSINE])},
        "baselines": {name: _metrics(roles) for name, roles in outcome.baselines.items()},
        "best": tested[0] if tested else None,
        "default_config": _tested_record(outcome.default) if outcome.default else None,
        "confirmed": [
            {
                "number": c.trial.number,
                "mean": c.mean,
                "std": c.spread,
                "values": list(c.objectives),
            }
            for c in outcome.confirmed
            if c.objectives
        ],
        "tested": tested,
        "pareto_front": [_front_record(trial) for trial in front(outcome.trials)],
        "failures": failures,
        "warm_start": [one.summary() for one in outcome.taken_over],
        "data_fingerprint": fingerprint,
        "wall_seconds": round(wall_seconds, 1),
        "peak_trial_rss_mb": max(peaks, default=None),
        "verdicts": as_record(search_verdicts(outcome.judged, wall_seconds, peaks)),
    }


def write_trials(trials: list[optuna.trial.FrozenTrial], path: Path) -> None:
    """Write a row per trial: state, epochs, objective, cost, reason, and every parameter.

    `from` names the run and number of a trial that came in from another search.
    """
    import pandas as pd

    rows = [
        {
            "number": trial.number,
            "from": trial.user_attrs.get(WARM_START, ""),
            "state": STATES.get(trial.state.name, trial.state.name.lower()),
            "epochs": max(curve(trial), default=0),
            "objective": max(curve(trial).values(), default=None),
            **({COST: cost(trial)} if cost(trial) is not None else {}),
            "seconds": trial.user_attrs.get(SECONDS),
            "peak_rss_mb": trial.user_attrs.get(PEAK_RSS_MB),
            "reason": trial.user_attrs.get(FAILURE, ""),
            CHECKPOINT: trial.user_attrs.get(CHECKPOINT, ""),
            **trial.params,
        }
        for trial in trials
    ]
    write_whole(path, pd.DataFrame(rows).to_csv(index=False))


def print_verdicts(summary: Mapping[str, Any], console: Console) -> None:
    """Print the targets of a summary: nothing where no trial could be held against them."""
    if found := from_record(summary["verdicts"]):
        console.print(verdict_table("Targets of the task, by the best trial", found))


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print how each trial went, then the test queries' leaderboard with every difference."""
    console.print(_trial_table(outcome.trials))
    if against := outcome.space.header.objective.cost:
        console.print(_front_table(front(outcome.trials), against))
    print_confirmed(outcome.confirmed, console)
    for role in ("test", "unseen_test"):
        systems = _systems(outcome, role)
        if COSINE not in systems:
            continue
        console.print(leaderboard(f"{role}: queries that nothing was chosen on", systems))
        if outcome.tested:
            best = outcome.tested[0].scores[role]
            others = {name: scores for name, scores in systems.items() if scores is not best}
            console.print(difference_table("best", best, others))
    for note in outcome.notes:
        console.print(note)


def _systems(outcome: Outcome, role: str) -> dict[str, Scores]:
    """Baselines and tested trials by the names that they are shown under."""
    named = {f"trial {one.trial.number}": one for one in outcome.tested[1:]}
    if outcome.default:
        named.pop(f"trial {outcome.default.trial.number}", None)
        named[f"default (trial {outcome.default.trial.number})"] = outcome.default
    if outcome.tested:
        named = {f"best (trial {outcome.tested[0].trial.number})": outcome.tested[0], **named}
    systems = {name: roles[role] for name, roles in outcome.baselines.items() if role in roles}
    return systems | {name: one.scores[role] for name, one in named.items() if role in one.scores}


def _trial_table(trials: list[optuna.trial.FrozenTrial]) -> Table:
    """Every trial, best first, what failed last with its reason."""
    table = Table(title="Trials by validation objective", title_justify="left", box=None)
    for name in ("trial", "state", "epochs", "objective", "s", "MB"):
        table.add_column(name, justify="left" if name == "state" else "right")
    table.add_column("what it was, or why it failed", overflow="fold")
    for trial in sorted(
        trials, key=lambda t: (t.state.name != "FAIL", ranking_key(t)), reverse=True
    ):
        values = curve(trial)
        table.add_row(
            str(trial.number),
            STATES.get(trial.state.name, trial.state.name.lower()),
            str(max(values, default=0)),
            f"{max(values.values()):.4f}" if values else "-",
            f"{trial.user_attrs.get(SECONDS, 0):.0f}",
            f"{trial.user_attrs.get(PEAK_RSS_MB, 0):.0f}",
            Text(trial.user_attrs.get(FAILURE) or _what_it_was(trial)),
        )
    return table


def taken_over_table(taken: Sequence[TakenOver]) -> Table:
    """A row per earlier run: what came in of it, and what was left out for which reason."""
    table = Table(title="Warm start", title_justify="left", box=None)
    for name in (*PRIOR_STATES, "to train anew", "left out"):
        table.add_column(name, justify="right")
    for name in ("of the run", "left out for"):
        table.add_column(name, overflow="fold")
    for one in taken:
        numbers = (*map(one.count, PRIOR_STATES), len(one.proposals), sum(one.left_out.values()))
        why = "; ".join(f"{reason}: {count}" for reason, count in one.left_out.items())
        table.add_row(*map(str, numbers), Text(one.run), Text(why))
    return table


def _front_table(trials: Sequence[optuna.trial.FrozenTrial], against: str) -> Table:
    """The trials of the Pareto front, the cheapest first."""
    title = f"Pareto front: validation objective against {UNITS[against]}"
    table = Table(title=title, title_justify="left", box=None, min_width=len(title))
    for name in ("trial", "objective", against):
        table.add_column(name, justify="right")
    table.add_column("what it was", overflow="fold")
    for trial in trials:
        value, spent = trial.values
        shown = f"{spent:.0f}" if against == "parameters" else f"{spent:.3f}"
        table.add_row(str(trial.number), f"{value:.4f}", shown, _what_it_was(trial))
    return table


def _front_record(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    value, spent = trial.values
    return {"number": trial.number, "objective": value, COST: spent, "params": dict(trial.params)}


def _what_it_was(trial: optuna.trial.FrozenTrial) -> str:
    params = trial.params
    return ", ".join(form.format(params[key]) for key, form in _TELLING.items() if key in params)


_TELLING = {
    "model": "{}",
    "loss.name": "{}",
    "circuit.n_qubits": "{} qubits",
    "circuit.n_layers": "{} layers",
    "circuit.entangler": "{}",
}


def _tested_record(tested: Tested) -> dict[str, Any]:
    trial = tested.trial
    return {
        "number": trial.number,
        "state": trial.state,
        "epoch": trial.epoch,
        "objective": trial.validation.objective,
        "fusion_weight": trial.validation.fusion_weight,
        "params": trial.params,
        **_metrics(tested.scores),
    }


def _metrics(roles: Mapping[str, Scores]) -> dict[str, dict[str, float]]:
    return {role: dict(scores.metrics) for role, scores in roles.items()}


def print_confirmed(confirmed: Sequence[Confirmed], console: Console) -> None:
    """Print what each of the best trials came to on fresh seeds."""
    known = [one for one in confirmed if one.objectives]
    if not known:
        return
    n_seeds = len(known[0].objectives)
    table = Table(
        title=f"The best trials on {n_seeds} fresh seeds: validation objective",
        title_justify="left",
        box=None,
    )
    for name in ("trial", "in the search", "mean", "standard deviation", "lowest", "highest"):
        table.add_column(name, justify="right")
    for one in known:
        values = (one.trial.validation.objective, one.mean, one.spread)
        ends = (min(one.objectives), max(one.objectives))
        table.add_row(str(one.trial.number), *(f"{value:.4f}" for value in (*values, *ends)))
    console.print(table)
