"""The pictures of the page as SVG files. Equal summaries give equal files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.plan import DEFAULT, FIXED, ICD10, SEEN, TUNED, TUNED_TWIN, TWIN, UNSEEN
from experiments.summary import Summary, pair_name
from quantum_rerank.errors import MissingPackage
from quantum_rerank.evaluation import COSINE

_COLOURS = {TUNED: "C0", DEFAULT: "C1", TUNED_TWIN: "C3", TWIN: "C2"}
_SETTINGS = {"svg.hashsalt": "experiments", "svg.fonttype": "none", "font.size": 9.0}


def require_matplotlib() -> None:
    """Check that pictures can be drawn, before hours of training.

    Raises:
        MissingPackage: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingPackage("matplotlib", "experiments", "The pictures")


def draw(folder: Path, summary: Summary) -> dict[str, Path]:
    """Draw every picture that the summary has numbers for.

    Args:
        folder: The folder of the pictures.
        summary: The summary of the experiments.

    Returns:
        Title -> file.

    Raises:
        MissingPackage: matplotlib is not installed.
    """
    require_matplotlib()
    pairs = summary.differences.rows
    to_cosine = [pair for name in _COLOURS if (pair := pair_name(name, COSINE)) in pairs]
    to_controls = [pair for name in _COLOURS if (pair := pair_name(TUNED, name)) in pairs]
    pictures: dict[str, tuple[str, bool, Callable[[Any], None]]] = {
        "Differences to cosine": (
            "cosine.svg",
            bool(to_cosine),
            lambda axes: _intervals(axes, summary, to_cosine),
        ),
        "Tuned minus default, tuned minus the MLP twins": (
            "controls.svg",
            bool(to_controls),
            lambda axes: _intervals(axes, summary, to_controls),
        ),
        "ICD-10: gain on training chapters and on unseen chapters": (
            "icd10.svg",
            bool(summary.gains.rows),
            lambda axes: _gains(axes, summary),
        ),
        "Best validation objective by epoch": (
            "curves.svg",
            bool(summary.curves),
            lambda axes: _curves(axes, summary),
        ),
    }
    return {
        title: saved(folder / file, _on_axes(plot))
        for title, (file, has_numbers, plot) in pictures.items()
        if has_numbers
    }


def _on_axes(plot: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a plot that takes a figure from one that takes its only axes."""
    return lambda figure: plot(figure.add_subplot())


def saved(path: Path, plot: Callable[[Any], None], size: tuple[float, float] = (7.5, 4.5)) -> Path:
    """Draw a figure and save it.

    Args:
        path: The file, SVG.
        plot: Takes the empty figure.
        size: Width and height in inches.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(_SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        plot(figure)
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def _intervals(axes: Any, summary: Summary, pairs: Sequence[str]) -> None:
    """Draw the difference of each pair on each collection with its 95 % interval."""
    collections = [
        collection
        for collection in summary.differences.columns
        if any((pair, collection) in summary.differences.cells for pair in pairs)
    ]
    for number, pair in enumerate(pairs):
        cells = summary.differences.row(pair)
        at = [collections.index(name) + _offset(number, len(pairs)) for name in cells]
        middle = [cell.difference for cell in cells.values()]
        below = [max(cell.difference - cell.low, 0.0) for cell in cells.values()]
        above = [max(cell.high - cell.difference, 0.0) for cell in cells.values()]
        axes.errorbar(middle, at, xerr=[below, above], fmt="o", ms=4, lw=1, label=pair)
    axes.axvline(0.0, color="grey", lw=0.8)
    axes.set_yticks(range(len(collections)), collections)
    axes.invert_yaxis()
    axes.set_xlabel("difference in NDCG@10, 95 % interval over queries")
    axes.legend()


def _offset(number: int, count: int) -> float:
    """Return the offset of one of several pairs within a row of height 1.

    >>> [_offset(number, 3) for number in range(3)], [_offset(number, 2) for number in range(2)]
    ([-0.2, 0.0, 0.2], [-0.1, 0.1])
    """
    return min(0.2, 0.8 / count) * (number - (count - 1) / 2.0)


def _gains(axes: Any, summary: Summary) -> None:
    """Draw each model's mean gains, with their standard deviations over seeds as bars."""
    for name in summary.gains.rows:
        cells = summary.gains.row(name)
        if name == COSINE or not {SEEN, UNSEEN} <= cells.keys():
            continue
        seen, unseen = cells[SEEN], cells[UNSEEN]
        marker = "D" if name in (DEFAULT, TUNED, TUNED_TWIN) else "s" if name in FIXED else "o"
        axes.errorbar(
            [100.0 * seen.mean],
            [100.0 * unseen.mean],
            xerr=None if seen.sd is None else 100.0 * seen.sd,
            yerr=None if unseen.sd is None else 100.0 * unseen.sd,
            fmt=marker,
            ms=5,
            lw=0.8,
            alpha=0.8,
            label=name,
        )
    axes.axhline(0.0, color="grey", lw=0.8)
    axes.axvline(0.0, color="grey", lw=0.8)
    axes.set_xlabel(f"gain over cosine, held-out queries of {len(ICD10.seen)} chapters, %")
    axes.set_ylabel(f"gain over cosine, {len(ICD10.unseen_test)} unseen chapters, %")
    axes.set_title("mean and standard deviation over seeds")
    axes.legend(fontsize=7)


def _curves(axes: Any, summary: Summary) -> None:
    ((dataset, curves),) = summary.curves.items()
    for name, curve in curves.items():
        axes.plot(range(1, len(curve) + 1), curve, color=_COLOURS[name], lw=1, label=name)
    axes.set_title(f"{dataset}, mean over seeds")
    axes.set_xlabel("epoch")
    axes.set_ylabel("best validation objective so far")
    axes.legend()
