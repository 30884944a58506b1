"""The tables of the page, made from the summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from experiments.plan import DEFAULT, FAR, FIXED, ICD10, SEEN, TUNED, TUNED_TWIN, UNSEEN
from experiments.summary import Difference, Mean, Summary, TargetCounts, Training

DIFFERENCE_COLUMNS = ("seeds", "difference", "relative", "95 % interval", "p", "p, Holm", "result")


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table in Markdown below its title, numbers aligned right."""
        lines = [self.columns, (":--", *("--:" for _ in self.columns[1:])), *self.rows]
        body = [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
        ]
        return "\n".join([f"**{self.title}**", "", *body])


def configuration_table(summary: Summary) -> Table:
    """Return the keys in which a tuned row differs from `default`."""
    names = [DEFAULT, *(name for name in (TUNED, TUNED_TWIN) if name in summary.rows)]
    rows = tuple(
        (key, *(str(values[name]) for name in names))
        for key, values in summary.configuration.items()
    )
    return Table("Configuration keys that differ", ("key", *names), rows)


def scores_table(summary: Summary, names: Sequence[str]) -> Table:
    """Return the NDCG@10 of some models, one row per collection."""
    rows = tuple(
        (
            collection,
            str(summary.n_queries[collection]),
            *(_score(summary, collection, name) for name in names),
        )
        for collection in summary.scores.rows
    )
    columns = ("collection", "test queries, all seeds", *names)
    return Table("NDCG@10 by collection", columns, rows)


def models_table(summary: Summary) -> Table:
    """Return the NDCG@10 of every model, one row per model."""
    collections = summary.scores.rows
    rows = tuple(
        (name, *(_score(summary, collection, name) for collection in collections))
        for name in summary.scores.columns
    )
    return Table("NDCG@10 by model", ("model", *collections), rows)


def gains_table(summary: Summary) -> Table:
    """Return the relative gain over cosine on ICD-10, one row per model."""
    far = [name for name in FAR.values() if name in summary.gains.columns]
    rows = tuple(
        (name, *(_gain(summary, name, collection) for collection in (SEEN, UNSEEN, *far)))
        for name in summary.gains.rows
    )
    columns = (
        "model",
        f"held-out queries, {len(ICD10.seen)} chapters",
        f"{len(ICD10.unseen_test) - len(FAR)} unseen chapters",
        *far,
    )
    return Table("Gain in NDCG@10 over cosine", columns, rows)


def pair_table(summary: Summary, pair: str) -> Table:
    """Return the differences of a pair of models, one row per collection."""
    rows = tuple(
        (collection, *difference_cells(difference))
        for collection, difference in summary.differences.row(pair).items()
    )
    return Table(pair, ("collection", *DIFFERENCE_COLUMNS), rows)


def targets_table(summary: Summary, name: str) -> Table:
    """Return the outcomes of every target for one model, one column per data set."""
    grid = summary.targets[name]
    rows = tuple(
        (
            target,
            summary.rules[target],
            *(_outcomes(grid.cells[target, dataset]) for dataset in grid.columns),
        )
        for target in grid.rows
    )
    return Table(f"Targets of {name}", ("target", "threshold", *grid.columns), rows)


def trainings_tables(summary: Summary, names: Sequence[str]) -> Iterator[Table]:
    """Yield tables of epochs, fusion weights and times, one row per model.

    Args:
        summary: The summary.
        names: The rows, in their order.
    """
    texts: dict[str, Callable[[Training], str]] = {
        "Best epoch of all epochs, mean over seeds": lambda x: f"{x.best_epoch} of {x.epochs}",
        "Fusion weight, mean over seeds": lambda x: f"{x.fusion_weight:.2f}",
        "Processor seconds of a training, mean over seeds": lambda x: f"{x.processor_seconds}",
    }
    grid = summary.trainings
    for title, text_of in texts.items():
        rows = tuple(
            (
                name,
                *(
                    _marked(text_of(cell), name, cell.n_seeds, summary)
                    if (cell := grid.cells.get((name, dataset)))
                    else "-"
                    for dataset in grid.columns
                ),
            )
            for name in names
        )
        yield Table(title, ("model", *grid.columns), rows)


def _score(summary: Summary, collection: str, name: str) -> str:
    cell = summary.scores.cells.get((collection, name))
    if cell is None:
        return "-"
    return _marked(with_spread(cell, "{:.4f}"), name, cell.n_seeds, summary)


def _gain(summary: Summary, name: str, collection: str) -> str:
    cell = summary.gains.cells.get((name, collection))
    if cell is None:
        return "-"
    sd = None if cell.sd is None else 100.0 * cell.sd
    percent = Mean(100.0 * cell.mean, sd, cell.n_seeds)
    return _marked(with_spread(percent, "{:+.1f}", " %"), name, cell.n_seeds, summary)


def with_spread(cell: Mean, form: str, unit: str = "") -> str:
    """Return a mean with its standard deviation, or the mean alone for a single seed.

    >>> with_spread(Mean(0.6, 0.1414, n_seeds=2), "{:.2f}")
    '0.60 ± 0.14'
    """
    mean = form.format(cell.mean)
    if cell.sd is None:
        return mean + unit
    return f"{mean} ± {form.replace('+', '').format(cell.sd)}{unit}"


def _marked(text: str, name: str, n_seeds: int, summary: Summary) -> str:
    """Add the number of seeds where it is below the planned one.

    Rows without randomness need only one seed.
    """
    planned = len(summary.seeds)
    return text if n_seeds >= planned or name in FIXED else f"{text} ({n_seeds} of {planned} seeds)"


def difference_cells(difference: Difference) -> tuple[str, ...]:
    """Return a difference as the cells of DIFFERENCE_COLUMNS."""
    relative = difference.relative
    return (
        str(difference.n_seeds),
        f"{difference.difference:+.4f}",
        "-" if relative is None else f"{relative:+.1%}",
        f"{difference.low:+.4f} to {difference.high:+.4f}",
        f"{difference.p_value:.4f}",
        f"{difference.p_holm:.4f}",
        difference.sign,
    )


def _outcomes(counts: TargetCounts) -> str:
    """Return the range of values and the number of each outcome.

    >>> _outcomes(TargetCounts(passed=4, failed=1, unknown=0, low=0.8, high=0.9125))
    '0.8 to 0.9125: 4 pass, 1 fail'
    """
    numbers = {"pass": counts.passed, "fail": counts.failed, "unknown": counts.unknown}
    text = ", ".join(f"{number} {word}" for word, number in numbers.items() if number)
    if counts.low is None or counts.high is None:
        return text
    ends = dict.fromkeys(f"{value:.10g}" for value in (counts.low, counts.high))
    return f"{' to '.join(ends)}: {text}"
