"""Plan of a search, shown before it starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from quantum_rerank.plural import counted
from tuning.limits.concurrency import Concurrency
from tuning.space import SchedulerConfig, Space

_NODES_SHOWN = 12


def print_plan(
    space: Space,
    concurrency: Concurrency,
    folder: Path,
    console: Console,
    warm_start: Sequence[Path] = (),
) -> None:
    """Print where a search runs, for how long, and over which parameters.

    Args:
        space: Space of the search.
        concurrency: Trials at once.
        folder: Folder of the run.
        console: Console to print to.
        warm_start: Folders of earlier runs whose results are taken over.
    """
    console.print(Text(space.header.name, style="bold"))
    plan = Table.grid(padding=(0, 2))
    rows = {
        **_searched(space),
        **_limits(space, concurrency),
        "warm start": ", ".join(map(str, warm_start)),
        "output": str(folder),
    }
    for name, value in rows.items():
        if value:
            plan.add_row(name, value)
    console.print(plan)
    console.print(_parameter_table(space))


def _searched(space: Space) -> dict[str, str]:
    """Return the rows on objective, data and algorithms."""
    header, data = space.header, space.base.data
    cost = f", against {header.objective.cost}" if header.objective.cost else ""
    return {
        "objective": f"{header.objective.mode} {header.objective.metric} on validation{cost}",
        "seen": ", ".join(data.seen),
        "unseen": f"validation {', '.join(data.unseen_validation) or 'none'}; "
        f"test {', '.join(data.unseen_test) or 'none'}",
        "sampler": f"{header.sampler.name}, seed {header.sampler.seed}",
        "scheduler": ", ".join(_rule(header.scheduler)),
        "first trials": f"{len(header.start_from)} given",
    }


def _limits(space: Space, concurrency: Concurrency) -> dict[str, str]:
    """Return the rows on budgets and machines."""
    budget = space.header.budget
    epochs = counted(budget.epochs, "epoch")
    core_hours = f", {budget.core_hours:g} core-hours" if budget.core_hours else ""
    return {
        "budget": f"{counted(budget.trials, 'trial')} of at most {epochs} and "
        f"{concurrency.trial_memory_gb:g} GiB, {budget.hours:g} h in all{core_hours}",
        "early end": "when the trials left are expected to add too little to be told apart"
        if budget.early_end
        else "",
        "at once": f"{counted(concurrency.trials, 'trial')} ({concurrency.reason})",
        "nodes": "\n".join(_nodes(concurrency)),
    }


def _parameter_table(space: Space) -> Table:
    table = Table(box=None, padding=(0, 2))
    table.add_column("parameter", no_wrap=True)
    table.add_column("range")
    table.add_column("when")
    for name, parameter in space.parameters.items():
        bounds = parameter.model_dump(exclude={"type", "when"}, exclude_defaults=True)
        shown = ", ".join(f"{key} {value}" for key, value in bounds.items())
        when = ", ".join(f"{key} in {values}" for key, values in parameter.when.items())
        table.add_row(name, shown, when)
    return table


def _nodes(concurrency: Concurrency) -> Iterator[str]:
    """Yield a line per node: its cores and memory, and the trials that Ray places on it."""
    for node in concurrency.nodes[:_NODES_SHOWN]:
        room = node.room(concurrency.expected_gib or concurrency.trial_memory_gb)
        yield f"{node.name}: {counted(node.cpus, 'core')}, {node.free_gib:.1f} GiB, {room} at once"
    if len(concurrency.nodes) > _NODES_SHOWN:
        yield f"and {len(concurrency.nodes) - _NODES_SHOWN} more"


def _rule(scheduler: SchedulerConfig) -> Iterator[str]:
    """Yield the name of a scheduler, and the numbers that its rule needs."""
    yield scheduler.name
    if scheduler.name == "pbt":
        every = scheduler.interval_epochs
        yield f"{scheduler.population} members, compared after every {counted(every, 'epoch')}"
        yield f"clones of the highest {scheduler.quantile:.0%} replace the lowest"
    if scheduler.name in ("asha", "hyperband", "median"):
        yield f"from epoch {scheduler.grace_period}"
    if scheduler.name in ("asha", "hyperband"):
        yield f"1 in {scheduler.reduction_factor:g} goes on"
    if scheduler.name == "hyperband":
        yield f"{scheduler.brackets} brackets"
