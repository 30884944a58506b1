"""The page of the map in Markdown with its pictures, made from its summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from experiments.map.pictures import draw
from experiments.map.plan import (
    CLASSICAL,
    COMPLEX,
    FUSED,
    HYBRID,
    PRODUCT,
    QUANTUM,
    REAL,
    SCORES,
    Cell,
)
from experiments.map.summary import CellDifference, MapSummary
from experiments.plan import ALONE
from experiments.report import joined, listed
from experiments.summary import compact_json, pair_name
from experiments.tables import Table
from quantum_rerank.atomic import output_errors, write_text

PAGE, SUMMARY = "map.md", "map.json"

_FLAT = 0.1

_TITLES = {FUSED: "Fused score", ALONE: "Model alone"}
_READING = (
    "Each cell has the mean difference in NDCG@10, its 95 % bootstrap interval over test queries, "
    "the p-value after Holm's correction over all cells of the table, and the number of seeds in "
    "which the first model is above. A `*` marks a corrected p-value below 0.05. Each query has "
    "its mean over the seeds of both models. Interval and test are over queries and do not cover "
    "further seeds. The correction is not made over the number of tables."
)


def write_summary(folder: Path, summary: MapSummary) -> None:
    """Write the summary.

    Raises:
        OutputError: The file cannot be written.
    """
    with output_errors(folder / SUMMARY):
        write_text(folder / SUMMARY, compact_json(summary.as_json()) + "\n")


def write_page(folder: Path, summary: MapSummary) -> None:
    """Draw the pictures and write the page.

    Raises:
        MissingPackage: matplotlib is not installed.
        OutputError: A file cannot be written.
    """
    with output_errors(folder):
        drawn = draw(folder, summary)
    pictures = {score: file.relative_to(folder).as_posix() for score, file in drawn.items()}
    with output_errors(folder / PAGE):
        write_text(folder / PAGE, document(summary, pictures))


def document(summary: MapSummary, pictures: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        summary: The summary of the map.
        pictures: FUSED or ALONE -> file, relative to the page.
    """
    return "\n\n".join(_parts(summary, pictures)) + "\n"


def sentences(summary: MapSummary) -> list[str]:
    """Return the main results in one sentence each."""
    return [f"{_TITLES[score]}: {text}" for score in SCORES for text in _verdicts(summary, score)]


def _parts(summary: MapSummary, pictures: Mapping[str, str]) -> Iterator[str]:
    yield "# Map of circuits against classical models"
    yield from _head(summary)
    for score in SCORES:
        yield f"## {_TITLES[score]}"
        yield "\n".join(f"- {text}" for text in _verdicts(summary, score))
        if score in pictures:
            yield f"![{_TITLES[score]}: differences in each cell]({pictures[score]})"
        yield _signs(summary, score).markdown()
    yield "## Differences"
    yield _READING
    for score in SCORES:
        yield from (
            _differences(summary, score, pair).markdown()
            for pair in summary.differences[score].rows
        )
    yield "## NDCG@10"
    yield "Means over seeds, with the standard deviation over seeds after ±."
    for score in SCORES:
        yield from (_scores(summary, score, number).markdown() for number in summary.outputs)
    yield "## Trainings"
    yield from _trainings(summary)


def _head(summary: MapSummary) -> Iterator[str]:
    measured = ", measured on:" if summary.machines else "."
    yield f"Printed by `{summary.command}`{measured}"
    if summary.machines:
        yield "\n>\n".join(f"> {machine}" for machine in summary.machines)
    outputs, queries = (joined([*map(str, x)]) for x in (summary.outputs, summary.queries))
    yield (
        "Every cell of the map is a number of outputs and a number of training queries. All models "
        f"of a cell have the same number of outputs, {outputs}: the angles of a circuit, the real "
        "numbers that make the amplitudes of a state, or the outputs of a classical model. The "
        "trained ones have the same MLP, linear path from the discriminant, BM25, gate and loss, "
        f"and the same hyperparameters, those of {_origin(summary)}, except the epochs: "
        f"{_epochs(summary)}. The search chose these hyperparameters for the hybrids, and no model "
        "was tuned for a cell. A circuit also has a trained scale and shift of each angle."
    )
    yield (
        f"Data: {joined([f'`{name}`' for name in summary.collections])}. {queries} training "
        "queries are drawn by each seed, the fewer among the more, with validation queries in "
        "proportion. The epoch and the weights of the fusion are chosen on these. All cells have "
        f"the same {summary.n_test} test queries, which are scored once."
    )
    yield from listed("The models:", list(_models(summary)))
    yield _sizes(summary).markdown()
    yield from listed("Input that was not used as given, at most in any split:", summary.skipped)
    yield from listed(
        "Trainings that ended without a model:",
        [f"{x.dataset}, {x.row}, seed {x.seed}: {x.reason}" for x in summary.failed],
    )


def _origin(summary: MapSummary) -> str:
    return (
        "the file of `--tuned`" if "--tuned" in summary.command else "`configs/tuned_config.yaml`"
    )


def _epochs(summary: MapSummary) -> str:
    """Return the number of epochs for each number of training queries."""
    return joined([f"{epochs} for {queries} queries" for queries, epochs in summary.epochs.items()])


def _models(summary: MapSummary) -> Iterator[str]:
    texts = {
        "hybrid": "fidelity of states by a circuit with trained weights and CNOTs",
        "product_circuit": "the same circuit without CNOTs",
        "amplitude_real": "fidelity of states with real amplitudes, which is the squared cosine of "
        "the outputs",
        "amplitude_complex": "fidelity of states with complex amplitudes, of which a half of the "
        "outputs is the real and a half the imaginary part",
        "mlp_twin": "cosine of the outputs",
        "rbf": "Gaussian kernel of the outputs' distance, with a trained bandwidth",
        "discriminant": "squared cosine after the linear discriminant, which is not trained",
        "first_stage": "BM25 and cosine without a model, which the fused score has too",
    }
    for name, n_seeds in summary.seeds.items():
        yield f"`{name}` ({n_seeds} seeds): {texts[name]}"


def _sizes(summary: MapSummary) -> Table:
    rows = []
    for number in summary.outputs:
        n_qubits, n_layers = summary.circuits[number]
        of_real, of_complex = summary.qubits[number]
        rows.append((str(number), f"{n_qubits}, {n_layers}", str(of_real), str(of_complex)))
    columns = ("outputs", "circuit: qubits, layers", "real: qubits", "complex: qubits")
    return Table("Sizes", columns, tuple(rows))


def _verdicts(summary: MapSummary, score: str) -> Iterator[str]:
    """Yield a sentence on the cells in which a model is above or below others, significantly."""
    for model in QUANTUM:
        yield from _verdict(summary, score, model, CLASSICAL)
    yield from _verdict(summary, score, HYBRID, (PRODUCT,))
    yield from _verdict(summary, score, COMPLEX, (REAL,))


def _verdict(summary: MapSummary, score: str, model: str, others: Sequence[str]) -> Iterator[str]:
    grid = summary.differences[score]
    pairs = [pair_name(model, other) for other in others]
    signs = {
        cell: [grid.cells[pair, cell.name] for pair in pairs]
        for cell in _cells(summary)
        if all((pair, cell.name) in grid.cells for pair in pairs)
    }
    if not signs:
        return
    above = [
        c for c, all_ in signs.items() if all(d.significant and d.difference > 0 for d in all_)
    ]
    below = [
        c for c, all_ in signs.items() if any(d.significant and d.difference < 0 for d in all_)
    ]
    names = joined([f"`{other}`" for other in others])
    every, some = (f"each of {names}", "at least one of them") if others[1:] else (names, "it")
    yield (
        f"`{model}` is significantly above {every} in {len(above)} of {len(signs)} "
        f"cells{_listed(above)}, and significantly below {some} in {len(below)}{_listed(below)}."
    )


def _listed(cells: Sequence[Cell]) -> str:
    """Return the sizes of cells in brackets.

    >>> _listed([Cell(8, 50), Cell(64, 500)]), _listed([])
    (' (8 outputs with 50 queries, 64 with 500)', '')
    """
    first, *others = [f"{cell.outputs} with {cell.n_queries}" for cell in cells] or [""]
    named = first.replace(" with", " outputs with") + " queries"
    return f" ({', '.join([named, *others])})" if cells else ""


def _signs(summary: MapSummary, score: str) -> Table:
    """Return the mean of each pair over the cells, and the number of cells with each sign."""
    rows = []
    for pair in summary.differences[score].rows:
        cells = list(summary.differences[score].row(pair).values())
        above = [cell for cell in cells if cell.difference > 0.0]
        below = [cell for cell in cells if cell.difference < 0.0]
        mean = f"{summary.mean_differences[score][pair]:+.4f}"
        rows.append((pair, str(len(cells)), mean, _counted(above), _counted(below)))
    columns = ("pair", "cells", "mean", "above (significantly)", "below (significantly)")
    return Table(f"Differences over all cells, {_TITLES[score].lower()}", columns, tuple(rows))


def _counted(cells: Sequence[CellDifference]) -> str:
    return f"{len(cells)} ({sum(cell.significant for cell in cells)})"


def _cells(summary: MapSummary) -> list[Cell]:
    return [Cell(number, n) for number in summary.outputs for n in summary.queries]


def _differences(summary: MapSummary, score: str, pair: str) -> Table:
    cells = summary.differences[score].row(pair)
    return _by_size(
        summary, f"{pair}, {_TITLES[score].lower()}", lambda name: _cell(cells.get(name))
    )


def _cell(difference: CellDifference | None) -> str:
    if difference is None:
        return "-"
    mark = "*" if difference.significant else ""
    return (
        f"{difference.difference:+.4f}{mark} ({difference.low:+.4f} to {difference.high:+.4f}), "
        f"p {difference.p_holm:.4f}, {difference.n_above} of {difference.n_seeds}"
    )


def _by_size(summary: MapSummary, title: str, text_of: Callable[[str], str]) -> Table:
    """Return a table of cells, rows by outputs and columns by training queries."""
    rows = tuple(
        (str(number), *(text_of(Cell(number, n).name) for n in summary.queries))
        for number in summary.outputs
    )
    return Table(title, ("outputs", *(f"{n} queries" for n in summary.queries)), rows)


def _scores(summary: MapSummary, score: str, outputs: int) -> Table:
    grid = summary.scores[score]
    rows = tuple(
        (name, *(_mean(summary, score, name, Cell(outputs, n)) for n in summary.queries))
        for name in grid.rows
    )
    title = f"{outputs} outputs, {_TITLES[score].lower()}"
    return Table(title, ("model", *(f"{n} queries" for n in summary.queries)), rows)


def _mean(summary: MapSummary, score: str, name: str, cell: Cell) -> str:
    mean = summary.scores[score].cells.get((name, cell.name))
    if mean is None:
        return "-"
    return f"{mean.mean:.4f}" + ("" if mean.sd is None else f" ± {mean.sd:.4f}")


def _trainings(summary: MapSummary) -> Iterator[str]:
    if summary.losses.cells:
        yield _flatness(summary)
    for name in summary.losses.rows:
        curves, trainings = summary.losses.row(name), summary.trainings.row(name)
        yield _by_size(
            summary,
            f"{name}: share of the fall of the loss in the last quarter; best epoch; fusion "
            "weight; processor seconds",
            lambda cell, c=curves, t=trainings: (  # type: ignore[misc]
                f"{c[cell].share:.0%}; {t[cell].best_epoch}; {t[cell].fusion_weight:.2f}; "
                f"{t[cell].processor_seconds}"
                if cell in c
                else "-"
            ),
        ).markdown()


def _flatness(summary: MapSummary) -> str:
    """Return a sentence on the trainings whose loss still falls at their end."""
    shares = {key: curve.share for key, curve in summary.losses.cells.items()}
    steep = [key for key, share in shares.items() if share > _FLAT]
    counts = [f"`{model}` {sum(m == model for m, _ in steep)}" for model in summary.losses.rows]
    return (
        "A training loss counts as flat if its mean over the last quarter of the epochs is below "
        f"that of the quarter before by at most {_FLAT:.0%} of its fall since the first epoch. "
        f"It is flat in {len(shares) - len(steep)} of {len(shares)} pairs of model and cell. The "
        f"others by model: {joined(counts)}. The largest share is {max(shares.values()):.0%}."
    )
