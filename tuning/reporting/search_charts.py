"""Charts of a search: what it found, how trials learned, which parameters mattered.

Trials that a rule has stopped count with their best value so far: charts of complete trials alone
would leave most of them out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from quantum_rerank.evaluation import Comparison
from quantum_rerank.plural import counted
from quantum_rerank.reports.charts import differences
from quantum_rerank.reports.page import COLORS, Chart, new_figure, plain
from tuning.reporting.descriptions import describe_trial
from tuning.space import CategoricalParameter, IntParameter, Space
from tuning.study import attributes
from tuning.study.trials import STATE_NAMES, curve, highest, last_epoch, parameters

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_STATE_COLORS = {"complete": COLORS[0], "pruned": COLORS[6], "failed": COLORS[1]}
_SYMBOLS = {"complete": "circle", "pruned": "x", "failed": "diamond"}
_INACTIVE = -0.12  # height of an inactive parameter in the parallel coordinates
_LEAST_FOR_IMPORTANCE = 10  # trials: of fewer it would be chance
_FEW = 2  # trials below which a chart says nothing


def search_charts(trials: Sequence[FrozenTrial], space: Space) -> Iterator[Chart]:
    """Yield the charts of a search's trials, those that have something to show.

    Args:
        trials: Trials of the search, in the order of their numbers.
        space: Space of the search.
    """
    valued = [trial for trial in trials if highest(trial) is not None]
    if len(valued) < _FEW:
        return
    yield best_so_far(valued, space)
    yield learning_curves(valued, space)
    if len(rung_counts(valued, space)) > 1:
        yield rungs(valued, space)
    yield parallel_coordinates(valued, space)
    if shown := importances(valued, space):
        yield importance_chart(shown, len(valued))
    yield slices(valued, space)
    timed = [trial for trial in trials if trial.datetime_start and trial.datetime_complete]
    if timed:
        yield timeline(timed, space)


def best_so_far(trials: Sequence[FrozenTrial], space: Space) -> Chart:
    """Return every trial's best objective, and the best of all so far, by its number."""
    metric = space.header.objective.metric
    figure = new_figure("Best objective so far", "trial", f"{metric} on validation")
    for state, of_state in _by_state(trials).items():
        figure.add_scatter(
            x=[trial.number for trial in of_state],
            y=[highest(trial) for trial in of_state],
            text=[plain(_hover(trial, space)) for trial in of_state],
            hovertemplate="%{text}<br>%{y:.4f}<extra></extra>",
            mode="markers",
            marker={"color": _STATE_COLORS[state], "symbol": _SYMBOLS[state], "size": 8},
            name=state,
        )
    figure.add_scatter(
        x=[trial.number for trial in trials],
        y=list(accumulate((highest(trial) or 0.0 for trial in trials), max)),
        mode="lines",
        line={"shape": "hv", "color": COLORS[2]},
        name="best so far",
    )
    return Chart(
        figure,
        "Each trial's best validation objective, and the best of all trials so far. A cross is a "
        "trial that was stopped early.",
    )


def learning_curves(trials: Sequence[FrozenTrial], space: Space) -> Chart:
    """Return the objective of every trial by epoch, with the rungs at which trials stop."""
    metric = space.header.objective.metric
    figure = new_figure("Learning curves", "epoch", f"{metric} on validation", showlegend=False)
    figure.update_xaxes(tickformat="d")
    for trial in trials:
        values = dict(sorted(curve(trial).items()))
        state = STATE_NAMES[trial.state]
        figure.add_scatter(
            x=list(values),
            y=list(values.values()),
            mode="lines+markers" if len(values) == 1 else "lines",
            line={"color": _STATE_COLORS.get(state, COLORS[4]), "width": 1.5},
            opacity=0.5 if state == "pruned" else 0.9,
            name=f"trial {trial.number}",
            hovertext=plain(_hover(trial, space)),
        )
    for rung in rung_counts(trials, space):
        figure.add_vline(x=rung, line_dash="dot", line_width=1)
    return Chart(
        figure,
        "Validation objective of every trial by epoch. Grey trials were stopped; dotted lines are "
        "the rungs at which the scheduler decides.",
    )


def rung_counts(trials: Sequence[FrozenTrial], space: Space) -> dict[int, int]:
    """Return epoch of a rung, and the last epoch -> number of trials that have reached it."""
    scheduler, most = space.header.scheduler, space.header.budget.epochs
    if scheduler.name not in ("asha", "hyperband"):
        return {}
    epochs = dict.fromkeys([*scheduler.rungs(most), most])
    return {epoch: sum(last_epoch(trial) >= epoch for trial in trials) for epoch in epochs}


def rungs(trials: Sequence[FrozenTrial], space: Space) -> Chart:
    """Return how many trials have reached each rung."""
    counts = rung_counts(trials, space)
    figure = new_figure("Trials by rung", "trials", height=120 + 45 * len(counts))
    figure.add_bar(
        y=[f"epoch {epoch}" for epoch in counts],
        x=list(counts.values()),
        text=list(counts.values()),
        orientation="h",
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    return Chart(figure, "How many trials have reached each rung of the scheduler.")


def parallel_coordinates(trials: Sequence[FrozenTrial], space: Space) -> Chart:
    """Return a line per trial over all parameters, the best trials in the strongest colour."""
    names = list(space.parameters)
    figure = new_figure(
        "Parameters of the trials",
        showlegend=False,
        height=480,
        yaxis={"visible": False, "range": [_INACTIVE - 0.05, 1.08]},
        xaxis={
            "tickvals": list(range(len(names))),
            "ticktext": [plain(name) for name in names],
            "tickangle": -35,
            "automargin": True,
        },
    )
    ranked = sorted(trials, key=lambda trial: highest(trial) or 0.0)
    for place, trial in enumerate(ranked):
        share = place / max(len(ranked) - 1, 1)
        figure.add_scatter(
            x=list(range(len(names))),
            y=[_height(space, name, parameters(trial).get(name)) for name in names],
            mode="lines",
            line={"color": COLORS[0] if share >= 0.9 else COLORS[6], "width": 1 + 2 * share**4},
            opacity=0.15 + 0.85 * share**3,
            hovertext=plain(_hover(trial, space)),
            hoverinfo="text",
        )
    for position, name in enumerate(names):
        for height, label in _scale(space, name):
            figure.add_annotation(
                x=position,
                y=height,
                text=plain(label),
                showarrow=False,
                xanchor="right" if position == len(names) - 1 else "left",
                xshift=-4 if position == len(names) - 1 else 4,
            )
    return Chart(
        figure,
        "A line for each trial through its parameters; the best tenth in blue. Below the axis "
        "are parameters that the trial did not have.",
    )


def importances(trials: Sequence[FrozenTrial], space: Space) -> dict[str, float]:
    """Return parameter -> share of the objective's variance that it explains.

    It is fANOVA of Optuna over all trials, stopped ones with their best value; parameters that
    not every trial has are left out.
    """
    if len(trials) < _LEAST_FOR_IMPORTANCE:
        return {}
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    study = in_memory_study(trials, space)
    with_all = set[str].intersection(*(set(trial.params) for trial in study.trials))
    varied = [name for name in with_all if len({repr(t.params[name]) for t in study.trials}) > 1]
    if not varied:
        return {}
    try:
        return get_param_importances(
            study, params=sorted(varied), evaluator=FanovaImportanceEvaluator(n_trees=32, seed=0)
        )
    except (RuntimeError, ValueError, optuna.exceptions.OptunaError):  # all values are equal
        return {}


def in_memory_study(trials: Sequence[FrozenTrial], space: Space) -> Any:
    """Return a study in which every trial is complete, with its best value so far.

    Args:
        trials: Trials that have a value.
        space: Space of the search.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        drawn = {name: d for name, d in trial.distributions.items() if name in space.parameters}
        study.add_trial(
            optuna.trial.create_trial(
                value=highest(trial),
                params={name: trial.params[name] for name in drawn},
                distributions=drawn,
            )
        )
    return study


def importance_chart(shares: Mapping[str, float], n_trials: int) -> Chart:
    """Return the importances of parameters as bars."""
    names = sorted(shares, key=lambda name: shares[name])
    height = 140 + 28 * len(names)
    figure = new_figure("Importance of the parameters", "share of the variance", height=height)
    figure.add_bar(
        x=[shares[name] for name in names], y=[plain(name) for name in names], orientation="h"
    )
    figure.update_yaxes(automargin=True)
    caution = " With so few trials it is no more than a hint." if n_trials < 50 else ""
    return Chart(
        figure,
        f"fANOVA over {counted(n_trials, 'trial')}, for the parameters that every trial has."
        f"{caution}",
    )


def slices(trials: Sequence[FrozenTrial], space: Space) -> Chart:
    """Return the objective over each parameter, a small chart each."""
    from plotly.subplots import make_subplots

    names = list(space.parameters)
    n_columns = min(3, len(names))
    n_rows = math.ceil(len(names) / n_columns)
    figure = new_figure("Objective by parameter", height=120 + 210 * n_rows, showlegend=False)
    grid = make_subplots(
        rows=n_rows,
        cols=n_columns,
        subplot_titles=[plain(name) for name in names],
        figure=figure,
        vertical_spacing=0.5 / n_rows,
    )
    for position, name in enumerate(names):
        place = {"row": position // n_columns + 1, "col": position % n_columns + 1}
        parameter = space.parameters[name]
        for state, of_state in _by_state(trials).items():
            having = [trial for trial in of_state if name in parameters(trial)]
            is_choice = isinstance(parameter, CategoricalParameter)
            values = [parameters(trial)[name] for trial in having]
            grid.add_scatter(
                x=[plain(value) for value in values] if is_choice else values,
                y=[highest(trial) for trial in having],
                text=[f"trial {trial.number}" for trial in having],
                mode="markers",
                marker={"color": _STATE_COLORS[state], "symbol": _SYMBOLS[state], "size": 6},
                **place,
            )
        if getattr(parameter, "log", False):
            grid.update_xaxes(type="log", exponentformat="e", **place)
        if isinstance(parameter, IntParameter):
            grid.update_xaxes(tickformat="d", **place)
        if isinstance(parameter, CategoricalParameter):
            choices = [plain(choice) for choice in parameter.choices]
            order: dict[str, Any] = {"categoryorder": "array", "categoryarray": choices}
            grid.update_xaxes(type="category", **order, **place)
    figure.update_layout(margin_t=90)
    return Chart(grid, "Best validation objective of each trial over each of its parameters.")


def timeline(trials: Sequence[FrozenTrial], space: Space) -> Chart:
    """Return when each trial ran, from the start of the search."""
    start = min(trial.datetime_start for trial in trials if trial.datetime_start)
    figure = new_figure(
        "Timeline", "seconds", "trial", barmode="overlay", height=160 + 14 * len(trials)
    )
    for state, of_state in _by_state(trials).items():
        figure.add_bar(
            orientation="h",
            y=[trial.number for trial in of_state],
            base=[_seconds(trial.datetime_start, start) for trial in of_state],
            x=[_seconds(trial.datetime_complete, trial.datetime_start) for trial in of_state],
            text=[plain(_cost(trial)) for trial in of_state],
            hovertext=[plain(f"{_hover(trial, space)}, {_cost(trial)}") for trial in of_state],
            hoverinfo="text",
            textposition="none",
            marker={"color": _STATE_COLORS.get(state, COLORS[4])},
            name=state,
        )
    figure.update_yaxes(autorange="reversed")
    return Chart(figure, "When each trial ran. The pointer shows its time and its peak memory.")


def quality(comparisons: Mapping[str, Mapping[str, Comparison]]) -> Chart:
    """Return the winner minus every other system on test queries, with intervals.

    Args:
        comparisons: Role of test queries -> system -> winner minus system.
    """
    most = max(map(len, comparisons.values()))
    figure = differences("Winner minus others", comparisons)
    figure.update_layout(height=160 + 40 * most)
    figure.update_yaxes(autorange="reversed")
    return Chart(
        figure,
        "Differences in NDCG@10 on the same test queries; right of 0 the winner is better.",
    )


def _by_state(trials: Sequence[FrozenTrial]) -> dict[str, list[FrozenTrial]]:
    by_state: dict[str, list[FrozenTrial]] = {}
    for trial in trials:
        state = STATE_NAMES[trial.state]
        by_state.setdefault(state if state in _STATE_COLORS else "complete", []).append(trial)
    return by_state


def _hover(trial: FrozenTrial, space: Space) -> str:
    return f"trial {trial.number}: {describe_trial(trial, space)}"


def _seconds(time: datetime | None, since: datetime | None) -> float:
    return 0.0 if time is None or since is None else (time - since).total_seconds()


def _cost(trial: FrozenTrial) -> str:
    seconds, peak = attributes.seconds(trial) or 0.0, attributes.peak_rss_mb(trial) or 0.0
    return f"{seconds:.0f} s, {peak:.0f} MiB"


def _height(space: Space, name: str, value: Any) -> float:
    """Return a parameter's value from 0 to 1 within its range, and below it if it is inactive."""
    parameter = space.parameters[name]
    if value is None:
        return _INACTIVE
    if isinstance(parameter, CategoricalParameter):
        choices = list(parameter.choices)
        return choices.index(value) / max(len(choices) - 1, 1)
    low, high, at = float(parameter.low), float(parameter.high), float(value)
    if getattr(parameter, "log", False):
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low) if high > low else 0.5


def _scale(space: Space, name: str) -> list[tuple[float, str]]:
    """Return heights and labels of a parameter's axis."""
    parameter = space.parameters[name]
    if isinstance(parameter, CategoricalParameter):
        return [(_height(space, name, choice), str(choice)) for choice in parameter.choices]
    return [(1.05, f"{parameter.high:g}"), (-0.05, f"{parameter.low:g}")]
