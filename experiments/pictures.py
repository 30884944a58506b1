"""The study's pictures, as SVG files that are the same whenever the figures are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.analysis import Measured, Pairs, gains
from experiments.plan import (
    DEFAULT,
    FIXED,
    ICD10,
    SEEN,
    TUNED,
    TUNED_TWIN,
    TWIN,
    UNSEEN,
)
from experiments.results import Result
from quantum_rerank.errors import MissingPackage
from quantum_rerank.evaluation import COSINE

_COLOURS = {TUNED: "C0", DEFAULT: "C1", TUNED_TWIN: "C3", TWIN: "C2"}
"""Of the rows that are drawn."""

_SETTINGS = {"svg.hashsalt": "study", "svg.fonttype": "none", "font.size": 9.0}


def require_matplotlib() -> None:
    """Raise MissingPackage where nothing can be drawn, so that hours of training are not first."""
    if find_spec("matplotlib") is None:
        raise MissingPackage("matplotlib", "experiments", "The pictures")


def draw(folder: Path, results: Sequence[Result], found: Measured, pairs: Pairs) -> dict[str, Path]:
    """Draw every picture for which there are figures: title -> file.

    Raises: MissingPackage without matplotlib.
    """
    require_matplotlib()
    against = [pair for name in _COLOURS if (pair := (name, COSINE)) in pairs]
    others = [pair for name in _COLOURS if (pair := (TUNED, name)) in pairs]
    curves = [one for one in results if one.name in _COLOURS and not one.failed]
    wanted: dict[str, tuple[str, bool, Callable[[Any], None]]] = {
        "Differences to the cosine": (
            "cosine.svg",
            bool(against),
            lambda axes: _intervals(axes, {pair: pairs[pair] for pair in against}),
        ),
        "Tuned minus default, tuned minus the MLP twins": (
            "controls.svg",
            bool(others),
            lambda axes: _intervals(axes, {pair: pairs[pair] for pair in others}),
        ),
        "ICD-10: gain on chapters trained on and on chapters never seen, a point per seed": (
            "icd10.svg",
            SEEN in found and UNSEEN in found,
            lambda axes: _seen_and_unseen(axes, found),
        ),
        "Best validation objective by epoch, a line per seed": (
            "curves.svg",
            bool(curves),
            lambda axes: _curves(axes, curves),
        ),
    }
    return {
        title: _saved(folder / file, plot) for title, (file, there, plot) in wanted.items() if there
    }


def _saved(path: Path, plot: Callable[[Any], None]) -> Path:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(_SETTINGS):
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        plot(figure.add_subplot())
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def _intervals(axes: Any, pairs: Pairs) -> None:
    """A row per collection: the difference of each pair, with its 95 % interval."""
    collections = list(dict.fromkeys(one.collection for found in pairs.values() for one in found))
    for number, ((name, other), found) in enumerate(pairs.items()):
        offset = _offset(number, len(pairs))
        at = [collections.index(one.collection) + offset for one in found]
        middle = [one.found.difference for one in found]
        below = [max(one.found.difference - one.found.low, 0.0) for one in found]
        above = [max(one.found.high - one.found.difference, 0.0) for one in found]
        label = f"{name} minus {other}"
        axes.errorbar(middle, at, xerr=[below, above], fmt="o", ms=4, lw=1, label=label)
    axes.axvline(0.0, color="grey", lw=0.8)
    axes.set_yticks(range(len(collections)), collections)
    axes.invert_yaxis()
    axes.set_xlabel("difference in NDCG@10, 95 % interval over queries")
    axes.legend()


def _offset(number: int, count: int) -> float:
    """Where the one of several pairs is drawn in a row of height 1, all of them around its middle.

    >>> [_offset(number, 3) for number in range(3)], [_offset(number, 2) for number in range(2)]
    ([-0.2, 0.0, 0.2], [-0.1, 0.1])
    """
    return min(0.2, 0.8 / count) * (number - (count - 1) / 2.0)


def _seen_and_unseen(axes: Any, found: Measured) -> None:
    for name in found[SEEN]:
        seen, unseen = gains(found, SEEN, name), gains(found, UNSEEN, name)
        if name != COSINE and len(seen) == len(unseen):
            marker = "D" if name in (DEFAULT, TUNED, TUNED_TWIN) else "s" if name in FIXED else "o"
            axes.plot(_percent(seen), _percent(unseen), marker, ms=5, alpha=0.8, label=name)
    axes.axhline(0.0, color="grey", lw=0.8)
    axes.axvline(0.0, color="grey", lw=0.8)
    axes.set_xlabel(f"gain over cosine, held-out queries of {len(ICD10.seen)} chapters, %")
    axes.set_ylabel(f"gain over cosine, {len(ICD10.unseen_test)} chapters never seen, %")
    axes.legend(fontsize=7)


def _percent(values: Sequence[float]) -> list[float]:
    return [100.0 * value for value in values]


def _curves(axes: Any, results: Sequence[Result]) -> None:
    """Every training of the first data set that has them."""
    first = results[0].dataset
    labelled = set[str]()
    for one in results:
        if one.dataset != first:
            continue
        history = one.record["history"]
        label = "_" if one.name in labelled else one.name
        labelled.add(one.name)
        axes.plot(
            [epoch["epoch"] for epoch in history],
            [epoch["objective"] for epoch in history],
            color=_COLOURS[one.name],
            lw=1,
            alpha=0.7,
            label=label,
        )
    axes.set_title(first)
    axes.set_xlabel("epoch")
    axes.set_ylabel("best validation objective so far")
    axes.legend()
