"""The study's tables: scores, gains, differences, targets, trainings and the tuned numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from experiments.analysis import Difference, Measured, averaged, gains, means, spread
from experiments.plan import DEFAULT, FIXED, ICD10, SEEN, UNSEEN
from experiments.results import Result, by_name
from quantum_rerank.config import ExperimentConfig, config_keys
from quantum_rerank.evaluation import Scores
from quantum_rerank.reports.tables import outcome_counts as outcomes
from quantum_rerank.reports.tables import value_range as ends
from quantum_rerank.reports.tabular import Tabular
from quantum_rerank.training.target_table import number
from quantum_rerank.training.targets import TargetResult


def scores_table(found: Measured, names: Sequence[str], n_seeds: int) -> Tabular:
    """A row per collection, with how many queries were tested in all seeds together."""
    rows = tuple(
        (
            collection,
            str(n_queries(rows)),
            *(_score(name, rows.get(name, {}), n_seeds) for name in names),
        )
        for collection, rows in found.items()
    )
    columns = ("collection", "queries tested, all seeds", *names)
    return Tabular("NDCG@10 by collection", columns, rows)


def n_queries(rows: Mapping[str, Mapping[int, Scores]]) -> int:
    """How many queries some seed has tested on."""
    return max(len(averaged(by_seed).domains) for by_seed in rows.values())


def models_table(found: Measured, n_seeds: int) -> Tabular:
    """A row per model, in the order in which they were trained."""
    names = dict.fromkeys(name for rows in found.values() for name in rows)
    rows = tuple(
        (name, *(_score(name, rows.get(name, {}), n_seeds) for rows in found.values()))
        for name in names
    )
    return Tabular("NDCG@10 by model", ("model", *found), rows)


def gains_table(found: Measured, n_seeds: int) -> Tabular:
    """Both gains of each model over the cosine, with their spread over seeds."""
    rows = tuple(
        (name, *(_gain(name, gains(found, one, name), n_seeds) for one in (SEEN, UNSEEN)))
        for name in found[SEEN]
    )
    columns = (
        "model",
        f"held-out queries, {len(ICD10.seen)} chapters",
        f"{len(ICD10.unseen_test)} chapters never seen",
    )
    return Tabular("Gain in NDCG@10 over the cosine", columns, rows)


def pair_table(name: str, other: str, found: Sequence[Difference]) -> Tabular:
    """A row per collection."""
    rows = tuple(
        (
            one.collection,
            str(one.n_seeds),
            f"{one.found.difference:+.4f}",
            f"{one.found.relative:+.1%}",
            f"{one.found.low:+.4f} to {one.found.high:+.4f}",
            f"{one.found.p_value:.4f}",
            f"{one.holm:.4f}",
            one.sign,
        )
        for one in found
    )
    measured = ("difference", "relative", "95 % interval", "p", "p, Holm", "it is")
    return Tabular(f"{name} minus {other}", ("collection", "seeds", *measured), rows)


def verdicts_table(name: str, found: Mapping[str, Mapping[str, Sequence[TargetResult]]]) -> Tabular:
    """A row per target, a column per data set."""
    by_name = {one: of[0] for by in found.values() for one, of in by.items()}
    rows = tuple(
        (
            target,
            f"{first.rule} {number(first.target)}",
            *(_verdicts(by_target[target]) for by_target in found.values()),
        )
        for target, first in by_name.items()
    )
    return Tabular(f"Targets of {name}", ("target", "asked for", *found), rows)


def _verdicts(found: Sequence[TargetResult]) -> str:
    values = ends(found)
    return outcomes(found) if values == "-" else f"{values}: {outcomes(found)}"


def trainings_tables(
    results: Sequence[Result], names: Sequence[str], n_seeds: int
) -> Iterator[Tabular]:
    """What the trainings of each of these models came to, a column per data set."""
    found = by_name(results)
    for title, told_of in (
        ("Epochs, best of all, mean over seeds", _epochs),
        ("Fusion weight, mean over seeds", _weight),
        ("Processor seconds of a training, mean over seeds", _seconds),
    ):
        rows = tuple(
            (
                name,
                *(
                    _marked(told_of(of[name]), name, len(of[name]), n_seeds) if name in of else "-"
                    for of in found.values()
                ),
            )
            for name in names
        )
        yield Tabular(title, ("model", *found), rows)


def _epochs(by_seed: Sequence[Result]) -> str:
    best, last = (fmean(one.record[key] for one in by_seed) for key in ("best_epoch", "epochs"))
    return f"{best:.0f} of {last:.0f}"


def _weight(by_seed: Sequence[Result]) -> str:
    return f"{fmean(one.record['fusion_weight'] for one in by_seed):.2f}"


def _seconds(by_seed: Sequence[Result]) -> str:
    return f"{fmean(one.record['processor_seconds'] for one in by_seed):.0f}"


def numbers_table(untuned: ExperimentConfig, tuned: Mapping[str, ExperimentConfig]) -> Tabular:
    """A row per key in which tuned numbers are not the default ones, data and seed apart.

    tuned: row of the study -> its numbers, a column each.
    """
    keys = [key for key in config_keys() if key.split(".")[0] not in ("data", "seed")]
    columns = {DEFAULT: untuned, **tuned}
    by_key = {key: [str(_value(config, key)) for config in columns.values()] for key in keys}
    rows = tuple((key, *values) for key, values in by_key.items() if len(set(values)) > 1)
    return Tabular("Where the tuned numbers differ", ("key", *columns), rows)


def _value(config: ExperimentConfig, key: str) -> Any:  # a bool, number, text or list
    value: Any = config.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    return value


def _score(name: str, by_seed: Mapping[int, Scores], n_seeds: int) -> str:
    if not by_seed:
        return "-"
    return _marked(_with_spread(means(by_seed), "{:.4f}"), name, len(by_seed), n_seeds)


def _gain(name: str, values: Sequence[float], n_seeds: int) -> str:
    if not values:
        return "-"
    percent = [100.0 * value for value in values]
    return _marked(_with_spread(percent, "{:+.1f}", " %"), name, len(values), n_seeds)


def _with_spread(values: Sequence[float], form: str, unit: str = "") -> str:
    """
    >>> _with_spread([0.5, 0.7], "{:.2f}")
    '0.60 ± 0.14'
    """
    sd = spread(values)
    mean = form.format(fmean(values))
    return mean + unit if sd is None else f"{mean} ± {form.replace('+', '').format(sd)}{unit}"


def _marked(text: str, name: str, n: int, n_seeds: int) -> str:
    """A mean of fewer seeds than were asked for says so, unless it needs only one.

    >>> _marked("0.60", "tuned", 4, 5), _marked("0.50", "cosine", 1, 5)
    ('0.60 (4 of 5 seeds)', '0.50')
    """
    return text if n >= n_seeds or name in FIXED else f"{text} ({n} of {n_seeds} seeds)"


def markdown(table: Tabular) -> str:
    """A table below its title, numbers to the right."""
    lines = [table.columns, (":--", *("--:" for _ in table.columns[1:])), *table.rows]
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([f"**{table.title}**", "", *body])
