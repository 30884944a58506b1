"""The pictures of the map: a heat map of each pair of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.map.plan import CLASSICAL, PRODUCT, QUANTUM, SCORES, Cell
from experiments.map.summary import MapSummary
from experiments.pictures import require_matplotlib, saved
from experiments.summary import pair_name

COLOURS = "PuOr"  # orange is below, purple above: told apart by colour-blind readers too
_DARK = 0.6  # of the largest difference, from which on white text is legible


def draw(folder: Path, summary: MapSummary) -> dict[str, Path]:
    """Draw the differences of each score that the summary has.

    Args:
        folder: The folder of the pictures.
        summary: The summary of the map.

    Returns:
        FUSED or ALONE -> file.

    Raises:
        MissingPackage: matplotlib is not installed.
    """
    require_matplotlib()
    return {
        score: saved(
            folder / f"map_{score}.svg",
            lambda figure, score=score: _heat_maps(figure, summary, score),  # type: ignore[misc]
            size=(9.0, 6.5),
        )
        for score in SCORES
        if summary.differences[score].cells
    }


def _heat_maps(figure: Any, summary: MapSummary, score: str) -> None:
    """Draw a panel for each pair, models below each other and their controls side by side."""
    grid = summary.differences[score]
    others = (*CLASSICAL, PRODUCT)
    models = [name for name in QUANTUM if any(pair_name(name, o) in grid.rows for o in others)]
    panels = figure.subplots(len(models), len(others), squeeze=False, sharex=True, sharey=True)
    largest = max(abs(cell.difference) for cell in grid.cells.values()) or 1.0
    for line, name in zip(panels, models, strict=True):
        for axes, other in zip(line, others, strict=True):
            image = _heat_map(axes, summary, score, pair_name(name, other), largest)
    for axes in panels[-1]:
        axes.set_xlabel("training queries")
    for line, name in zip(panels, models, strict=True):
        line[0].set_ylabel(f"{name}\noutputs")
    for axes, other in zip(panels[0], others, strict=True):
        axes.set_title(f"minus {other}", fontsize=9)
    figure.colorbar(image, ax=panels, shrink=0.6, label="difference in NDCG@10")
    figure.suptitle("* p < 0.05 after Holm's correction over the cells of a panel", fontsize=9)


def _heat_map(axes: Any, summary: MapSummary, score: str, pair: str, largest: float) -> Any:
    cells = summary.differences[score].row(pair)
    values = [
        [
            cells[name].difference if (name := Cell(number, n).name) in cells else float("nan")
            for n in summary.queries
        ]
        for number in summary.outputs
    ]
    image = axes.imshow(values, cmap=COLOURS, vmin=-largest, vmax=largest, aspect="auto")
    for row, number in enumerate(summary.outputs):
        for column, n in enumerate(summary.queries):
            if (cell := cells.get(Cell(number, n).name)) is not None:
                is_dark = abs(cell.difference) > _DARK * largest
                axes.text(
                    column,
                    row,
                    f"{cell.difference:+.3f}{'*' if cell.significant else ''}",
                    color="white" if is_dark else "black",
                    ha="center",
                    va="center",
                    fontsize=6.5,
                )
    axes.set_xticks(range(len(summary.queries)), list(map(str, summary.queries)))
    axes.set_yticks(range(len(summary.outputs)), list(map(str, summary.outputs)))
    return image
