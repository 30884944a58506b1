"""The summary of finished experiments, computed from their plan and their results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from experiments.analysis import (
    Measured,
    PairedDifference,
    all_pairs,
    averaged,
    gains,
    means,
    measured,
    spread,
    targets,
)
from experiments.grid import Grid
from experiments.plan import (
    DEFAULT,
    FAR,
    FIXED,
    SEEN,
    TUNED,
    TUNED_TWIN,
    TWIN,
    UNSEEN,
    Dataset,
    Setup,
)
from experiments.results import Result, by_name
from experiments.summary import (
    Difference,
    Failure,
    Mean,
    Row,
    Summary,
    TargetCounts,
    Training,
    pair_name,
)
from quantum_rerank.config import ExperimentConfig, config_keys
from quantum_rerank.evaluation.targets import TargetResult

DRAWN = (TUNED, DEFAULT, TUNED_TWIN, TWIN)
"""The rows with a table of targets and a learning curve."""


@dataclass(frozen=True)
class Experiments:
    """The plan of the experiments and the results of its trainings.

    Attributes:
        command: The command that runs them.
        seeds: The seeds that were asked for.
        rows: Name -> the model and configuration of a row.
        searched: The tuned rows whose configurations are from the project's own searches.
        datasets: The data sets that were used.
        left_out: Data set -> the reason why it is missing.
        skipped: Sentences on input that was not used as given.
        results: One result for each training.
    """

    command: str
    seeds: Sequence[int]
    rows: Mapping[str, Setup]
    searched: frozenset[str]
    datasets: Sequence[Dataset]
    left_out: Mapping[str, str]
    skipped: Sequence[str]
    results: Sequence[Result]


def summarise(experiments: Experiments) -> Summary:
    """Compute everything that the page shows."""
    results = experiments.results
    scores = measured(results)
    pairs = {pair_name(*pair): by_collection for pair, by_collection in all_pairs(scores).items()}
    by_row = {name: targets(results, name) for name in DRAWN}
    of_targets = {name: by_dataset for name, by_dataset in by_row.items() if by_dataset}
    return Summary(
        command=experiments.command,
        seeds=tuple(experiments.seeds),
        machines=tuple(sorted({result.machine for result in results} - {""})),
        datasets={dataset.name: dataset.splits_by_seed for dataset in experiments.datasets},
        rows={name: _row(setup) for name, setup in experiments.rows.items()},
        searched=tuple(sorted(experiments.searched)),
        configuration=_configuration(experiments.rows),
        n_queries={collection: _n_queries(rows) for collection, rows in scores.items()},
        scores=_scores(scores),
        gains=_gains(scores),
        differences=Grid.of(
            {
                (pair, paired.collection): difference_of(paired)
                for pair, by_collection in pairs.items()
                for paired in by_collection
            }
        ),
        mean_differences={
            pair: round(fmean(paired.comparison.difference for paired in by_collection), 4)
            for pair, by_collection in pairs.items()
        },
        rules=_rules(of_targets),
        targets={name: _target_counts(by_dataset) for name, by_dataset in of_targets.items()},
        trainings=_trainings(results),
        curves=_curves(results),
        failed=tuple(
            Failure(result.dataset, result.name, result.seed, result.failed)
            for result in results
            if result.failed
        ),
        skipped=tuple(experiments.skipped),
        left_out=experiments.left_out,
    )


def _row(setup: Setup) -> Row:
    training = setup.config.training
    return Row(setup.model, training.max_epochs, training.early_stopping_patience)


def _configuration(rows: Mapping[str, Setup]) -> dict[str, dict[str, Any]]:
    """Return key -> row -> value for the keys in which a tuned row differs from `default`.

    The keys of the data and the seed are left out. Without a row `default`, the values are those
    that a configuration starts from.
    """
    tuned = {name: rows[name].config for name in (TUNED, TUNED_TWIN) if name in rows}
    if not tuned:
        return {}
    untuned = rows[DEFAULT].config if DEFAULT in rows else ExperimentConfig()
    configs = {DEFAULT: untuned, **tuned}
    by_key = {
        key: {name: _value(config, key) for name, config in configs.items()}
        for key in config_keys()
        if key.split(".")[0] not in ("data", "seed")
    }
    return {
        key: values for key, values in by_key.items() if len(set(map(str, values.values()))) > 1
    }


def _value(config: ExperimentConfig, key: str) -> Any:  # a bool, number, text or list
    value: Any = config.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    return value


def _n_queries(rows: Mapping[str, Mapping[int, Any]]) -> int:
    """Return the number of queries that at least one seed tested on."""
    return max(len(averaged(by_seed).domains) for by_seed in rows.values())


def _scores(scores: Measured) -> Grid[Mean]:
    return Grid.of(
        {
            (collection, name): mean_of(means(by_seed), digits=4)
            for collection, rows in scores.items()
            for name, by_seed in rows.items()
        }
    )


def _gains(scores: Measured) -> Grid[Mean]:
    return Grid.of(
        {
            (name, collection): mean_of(of_seeds, digits=5)
            for name in scores.get(SEEN, {})
            for collection in (SEEN, UNSEEN, *FAR.values())
            if (of_seeds := gains(scores, collection, name))
        }
    )


def mean_of(values: Sequence[float], digits: int) -> Mean:
    """Return the mean of the values of all seeds, rounded."""
    sd = spread(values)
    return Mean(
        round(fmean(values), digits), None if sd is None else round(sd, digits), len(values)
    )


def difference_of(paired: PairedDifference) -> Difference:
    """Return a difference with the digits of the page."""
    comparison = paired.comparison
    relative = None if math.isnan(comparison.relative) else round(comparison.relative, 3)
    return Difference(
        difference=round(comparison.difference, 4),
        relative=relative,
        low=round(comparison.low, 4),
        high=round(comparison.high, 4),
        p_value=round(comparison.p_value, 4),
        p_holm=round(paired.p_holm, 4),
        n_seeds=paired.n_seeds,
    )


Targets = Mapping[str, Mapping[str, Sequence[TargetResult]]]
"""Data set -> target -> the outcome of each seed."""


def _rules(of_rows: Mapping[str, Targets]) -> dict[str, str]:
    first = (
        outcomes[0]
        for of_datasets in of_rows.values()
        for by_target in of_datasets.values()
        for outcomes in by_target.values()
    )
    return {outcome.name: f"{outcome.rule} {outcome.target:g}" for outcome in first}


def _target_counts(of_datasets: Targets) -> Grid[TargetCounts]:
    return Grid.of(
        {
            (target, dataset): _counts(outcomes)
            for dataset, by_target in of_datasets.items()
            for target, outcomes in by_target.items()
        }
    )


def _counts(outcomes: Sequence[TargetResult]) -> TargetCounts:
    passed = [outcome.passed for outcome in outcomes]
    values = [round(outcome.value, 4) for outcome in outcomes if outcome.value is not None]
    return TargetCounts(
        passed=passed.count(True),
        failed=passed.count(False),
        unknown=passed.count(None),
        low=min(values, default=None),
        high=max(values, default=None),
    )


def _trainings(results: Sequence[Result]) -> Grid[Training]:
    return Grid.of(
        {
            (name, dataset): training_of(by_seed)
            for dataset, rows in by_name(results).items()
            for name, by_seed in rows.items()
            if name not in FIXED
        }
    )


def training_of(by_seed: Sequence[Result]) -> Training:
    def mean(key: str) -> float:
        return fmean(result.record[key] for result in by_seed)

    return Training(
        best_epoch=round(mean("best_epoch")),
        epochs=round(mean("epochs")),
        fusion_weight=round(mean("fusion_weight"), 2),
        processor_seconds=round(mean("processor_seconds")),
        n_seeds=len(by_seed),
    )


def _curves(results: Sequence[Result]) -> dict[str, dict[str, list[float]]]:
    """Return the learning curves of the first data set that has them."""
    for dataset, rows in by_name(results).items():
        if drawn := [name for name in DRAWN if name in rows]:
            return {dataset: {name: list(_mean_curve(rows[name])) for name in drawn}}
    return {}


def _mean_curve(by_seed: Sequence[Result]) -> Iterator[float]:
    """Yield the best validation objective of each epoch, averaged over seeds."""
    curves = [[epoch["objective"] for epoch in result.record["history"]] for result in by_seed]
    for epoch in range(max(map(len, curves))):
        yield round(fmean(curve[min(epoch, len(curve) - 1)] for curve in curves), 4)
