"""The summary of a finished map, computed from its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from experiments.analysis import Measured, averaged, differences, means, measured
from experiments.grid import Grid
from experiments.map.plan import MODELS, PAIRS, SCORES, Cell, amplitude_qubits, circuit_size
from experiments.map.summary import CellDifference, LossCurve, MapSummary
from experiments.plan import Setup
from experiments.results import Result, by_name
from experiments.summarising import difference_of, mean_of, training_of
from experiments.summary import Failure, Mean, pair_name
from quantum_rerank.datasets import domain_of
from quantum_rerank.evaluation import NDCG, Scores


@dataclass(frozen=True)
class Map:
    """The plan of a map and the results of its trainings.

    Attributes:
        command: The command that prints it.
        collections: The collections.
        rows: Cell -> the models of the cell.
        results: One result for each training.
        skipped: Sentences on input that was not used as given.
    """

    command: str
    collections: tuple[str, ...]
    rows: Mapping[Cell, Mapping[str, Setup]]
    results: Sequence[Result]
    skipped: Sequence[str]


def summarise(finished: Map) -> MapSummary:
    """Compute everything that the page shows."""
    results, cells = finished.results, finished.rows
    scores = {score: _of_score(measured(results), score, list(cells)) for score in SCORES}
    compared = {score: _differences(of_cells) for score, of_cells in scores.items()}
    outputs = tuple(sorted({cell.outputs for cell in cells}))
    trained = {name: setup for rows in cells.values() for name, setup in rows.items()}
    by_cell = by_name(results)
    return MapSummary(
        command=finished.command,
        machines=tuple(sorted({result.machine for result in results} - {""})),
        collections=tuple(map(domain_of, finished.collections)),
        n_test=_n_test(scores),
        outputs=outputs,
        queries=tuple(sorted({cell.n_queries for cell in cells})),
        circuits={number: circuit_size(number) for number in outputs},
        qubits={number: amplitude_qubits(number) for number in outputs},
        seeds={
            name: max(result.seed for result in results if result.name == name) for name in trained
        },
        epochs={
            cell.n_queries: setup.config.training.max_epochs
            for cell, rows in cells.items()
            for name, setup in rows.items()
            if name in MODELS
        },
        scores={score: _means(of_cells) for score, of_cells in scores.items()},
        differences={score: Grid.of(grid) for score, grid in compared.items()},
        mean_differences={score: _mean_differences(grid) for score, grid in compared.items()},
        trainings=Grid.of(
            {
                (name, cell): training_of(by_seed)
                for cell, rows in by_cell.items()
                for name, by_seed in rows.items()
                if name in MODELS
            }
        ),
        losses=Grid.of(
            {
                (name, cell): _losses(by_seed)
                for cell, rows in by_cell.items()
                for name, by_seed in rows.items()
                if by_seed[0].record["epochs"] > 1
            }
        ),
        failed=tuple(
            Failure(result.dataset, result.name, result.seed, result.failed)
            for result in results
            if result.failed
        ),
        skipped=tuple(finished.skipped),
    )


def _of_score(scores: Measured, score: str, cells: Sequence[Cell]) -> Measured:
    """Return cell -> model -> seed -> scores."""
    names = {cell.name: cell.collection(score) for cell in cells}
    return {cell: scores[name] for cell, name in names.items() if name in scores}


def _n_test(scores: Mapping[str, Measured]) -> int:
    every = (rows for of_cells in scores.values() for rows in of_cells.values())
    return max(len(averaged(by_seed).domains) for rows in every for by_seed in rows.values())


def _means(scores: Measured) -> Grid[Mean]:
    return Grid.of(
        {
            (name, cell): mean_of(means(by_seed), digits=4)
            for cell, rows in scores.items()
            for name, by_seed in rows.items()
        }
    )


def _differences(scores: Measured) -> dict[tuple[str, str], CellDifference]:
    """Return (pair, cell) -> difference, with Holm's correction over all cells of a pair."""
    return {
        (pair_name(*pair), paired.collection): CellDifference(
            **asdict(difference_of(paired)), n_above=_n_above(scores[paired.collection], *pair)
        )
        for pair in PAIRS
        for paired in differences(scores, *pair)
    }


def _n_above(rows: Mapping[str, Mapping[int, Scores]], name: str, other: str) -> int:
    shared = rows[name].keys() & rows[other].keys()
    return sum(rows[name][s].metrics[NDCG] > rows[other][s].metrics[NDCG] for s in shared)


def _mean_differences(grid: Mapping[tuple[str, str], CellDifference]) -> dict[str, float]:
    by_pair: dict[str, list[float]] = {}
    for (pair, _), difference in grid.items():
        by_pair.setdefault(pair, []).append(difference.difference)
    return {pair: round(fmean(values), 4) for pair, values in by_pair.items()}


def _losses(by_seed: Sequence[Result]) -> LossCurve:
    curves = [[epoch["train_loss"] for epoch in result.record["history"]] for result in by_seed]
    curve = [fmean(losses) for losses in zip(*curves, strict=False)]
    quarter = max(len(curve) // 4, 1)
    return LossCurve(
        first=round(curve[0], 4),
        third_quarter=round(fmean(curve[-2 * quarter : -quarter]), 4),
        last_quarter=round(fmean(curve[-quarter:]), 4),
    )
