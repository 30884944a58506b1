"""Files of a finished search: `summary.json`, `scores.json` and `trials.csv`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.atomic import write_text
from quantum_rerank.evaluation import COSINE, NDCG, Scores
from quantum_rerank.evaluation.targets import target_records
from quantum_rerank.plain_text import table_cell
from tuning.conclusion.outcome import Outcome, Tested
from tuning.conclusion.race import Confirmed
from tuning.conclusion.targets import target_results
from tuning.records import CHECKPOINT, COST, PEAK_RSS_MB, SECONDS, TrialOutcome
from tuning.study import attributes
from tuning.study.ranking import cost, front
from tuning.study.trials import STATE_NAMES, highest, last_epoch
from tuning.study.view import StudyView

SCORES = "scores.json"
WINNER = "winner"

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def summarise(outcome: Outcome, wall_seconds: float, fingerprint: str) -> dict[str, Any]:
    """Return the content of `summary.json`.

    Args:
        outcome: Outcome of the search.
        wall_seconds: Seconds of all its sessions.
        fingerprint: Fingerprint of its data.
    """
    states = _count_states(outcome.trials)
    failures = attributes.failures(outcome.trials)
    measured = [attributes.peak_rss_mb(trial) for trial in outcome.trials]
    peaks = [peak for peak in measured if peak is not None]
    tested = [_tested_record(trial) for trial in outcome.tested]
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
        "ended_early": str(outcome.stopped or ""),
        "baseline": {"name": COSINE, **_metrics(outcome.baselines[COSINE])},
        "baselines": {name: _metrics(roles) for name, roles in outcome.baselines.items()},
        "best": tested[0] if tested else None,
        "selection": outcome.selection.as_record() if outcome.selection else None,
        "default_config": _tested_record(outcome.default) if outcome.default else None,
        "confirmed": [_confirmed_record(c) for c in outcome.confirmed if c.objectives],
        "tested": tested,
        "pareto_front": [_front_record(trial) for trial in front(outcome.trials)],
        "notes": [str(note) for note in outcome.notes],
        "failures": {str(number): str(failure) for number, failure in failures.items()},
        "shared_warm_ups": _shared_warm_ups(outcome.trials),
        "warm_start": [run.summary() for run in outcome.taken_over],
        "data_fingerprint": fingerprint,
        "wall_seconds": round(wall_seconds, 1),
        "peak_trial_rss_mb": max(peaks, default=None),
        "targets": target_records(target_results(outcome.measures, wall_seconds, peaks)),
    }


def scores_record(outcome: Outcome) -> dict[str, Any]:
    """Return the content of `scores.json`: NDCG@10 of every test query by every system."""
    roles: dict[str, Any] = {}
    for role in ("test", "unseen_test"):
        systems = systems_of(outcome, role)
        if COSINE in systems:
            roles[role] = {
                "domains": dict(systems[COSINE].domains),
                "systems": {name: dict(s.per_query[NDCG]) for name, s in systems.items()},
            }
    return {"metric": NDCG, "winner": WINNER, "roles": roles}


def systems_of(outcome: Outcome, role: str, winner: str = WINNER) -> dict[str, Scores]:
    """Return the baselines and the tested trials by the names under which they are shown.

    Args:
        outcome: Outcome of the search.
        role: Role of the test queries.
        winner: Name of the winner.
    """
    tested = {f"trial {one.trial.number}": one for one in outcome.tested[1:]}
    if outcome.default:
        tested.pop(f"trial {outcome.default.trial.number}", None)
        tested[f"default (trial {outcome.default.trial.number})"] = outcome.default
    if outcome.tested:
        tested = {winner: outcome.tested[0], **tested}
    scores = dict(outcome.baselines) | {name: one.scores for name, one in tested.items()}
    return {name: roles[role] for name, roles in scores.items() if role in roles}


def write_trials(trials: Iterable[FrozenTrial], path: Path) -> None:
    """Write a row per trial: state, epochs, objective, cost, reason, and every parameter.

    Args:
        trials: Trials of a study. Those of earlier runs are named in the column `from`.
        path: File to write.
    """
    import pandas as pd

    rows = [
        {
            "number": trial.number,
            "from": trial.user_attrs.get(attributes.WARM_START, ""),
            "state": STATE_NAMES[trial.state],
            "epochs": last_epoch(trial),
            "objective": highest(trial),
            **({COST: cost(trial)} if cost(trial) is not None else {}),
            SECONDS: attributes.seconds(trial),
            PEAK_RSS_MB: attributes.peak_rss_mb(trial),
            "reason": str(attributes.failure(trial) or ""),
            CHECKPOINT: trial.user_attrs.get(CHECKPOINT, ""),
            **trial.params,
        }
        for trial in trials
    ]
    table = pd.DataFrame(rows).map(table_cell).rename(columns=table_cell)
    write_text(path, table.to_csv(index=False))


def _count_states(trials: list[FrozenTrial]) -> dict[str, int]:
    """Count trials by outcome; an attempt that another trial continues does not count."""
    counts = {str(outcome): 0 for outcome in TrialOutcome}
    continued = StudyView(trials).superseded()
    for trial in trials:
        name = STATE_NAMES[trial.state]
        if name in counts and trial.number not in continued:
            counts[name] += 1
    return counts


def _shared_warm_ups(trials: Iterable[FrozenTrial]) -> dict[str, float]:
    """Return the trials that started from a warm-up that was done before, and what it saved."""
    saved = attributes.warm_ups_saved(trials)
    return {"trials": len(saved), "saved_core_seconds": round(sum(saved), 1)}


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


def _confirmed_record(confirmed: Confirmed) -> dict[str, Any]:
    return {
        "number": confirmed.trial.number,
        "mean": confirmed.mean,
        "std": confirmed.spread,
        "values": list(confirmed.objectives),
        "gains": list(confirmed.gains),
    }


def _front_record(trial: FrozenTrial) -> dict[str, Any]:
    value, trial_cost = trial.values
    return {
        "number": trial.number,
        "objective": value,
        COST: trial_cost,
        "params": dict(trial.params),
    }


def _metrics(roles: Mapping[str, Scores]) -> dict[str, dict[str, float]]:
    return {role: dict(scores.metrics) for role, scores in roles.items()}
