"""What a search is going to do, shown before it starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

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
    """What will run where, for how long, over which parameters, after which earlier runs."""
    from rich.table import Table
    from rich.text import Text

    header, budget = space.header, space.header.budget
    rows = {
        "objective": f"{header.objective.mode} {header.objective.metric} on validation"
        + (f", against {header.objective.cost}" if header.objective.cost else ""),
        "seen": ", ".join(space.base.data.seen),
        "unseen": f"validation {', '.join(space.base.data.unseen_validation) or 'none'}; "
        f"test {', '.join(space.base.data.unseen_test) or 'none'}",
        "budget": f"{budget.trials} trials of at most {budget.epochs} epochs and "
        f"{concurrency.trial_memory_gb:g} GB, {budget.hours:g} h in all"
        + (f", {budget.core_hours:g} core-hours" if budget.core_hours else ""),
        "at once": f"{concurrency.trials} trials ({concurrency.reason})",
        **({"nodes": "\n".join(_nodes(concurrency))} if concurrency.nodes else {}),
        "sampler": f"{header.sampler.name}, seed {header.sampler.seed}",
        "scheduler": ", ".join(_rules(header.scheduler)),
        "first trials": f"{len(header.start_from)} given",
        "warm start": ", ".join(map(str, warm_start)),
        "output": str(folder),
    }
    plan = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        if value:
            plan.add_row(name, value)
    console.print(Text(header.name, style="bold"))
    console.print(plan)
    table = Table(box=None, padding=(0, 2))
    table.add_column("parameter", no_wrap=True)
    table.add_column("range")
    table.add_column("when")
    for name, parameter in space.parameters.items():
        bounds = parameter.model_dump(exclude={"type", "when"}, exclude_defaults=True)
        shown = ", ".join(f"{key} {value}" for key, value in bounds.items())
        when = ", ".join(f"{key} in {values}" for key, values in parameter.when.items())
        table.add_row(name, shown, when)
    console.print(table)


def _nodes(concurrency: Concurrency) -> Iterator[str]:
    """A line per node: what it hands out, and how many trials Ray places on it."""
    for node in concurrency.nodes[:_NODES_SHOWN]:
        room = node.room(concurrency.trial_memory_gb)
        yield f"{node.name}: {node.cpus} cores, {node.free_gb:.1f} GB, {room} at once"
    if len(concurrency.nodes) > _NODES_SHOWN:
        yield f"and {len(concurrency.nodes) - _NODES_SHOWN} more"


def _rules(scheduler: SchedulerConfig) -> Iterator[str]:
    """The scheduler's name, and the numbers that its rule goes by."""
    yield scheduler.name
    if scheduler.name == "none":
        return
    if scheduler.name == "pbt":
        every = scheduler.interval_epochs
        yield f"{scheduler.population} members, compared after every {every} epochs"
        yield f"the lowest {scheduler.quantile:.0%} give way to clones of the highest"
        return
    yield f"from epoch {scheduler.grace_period}"
    if scheduler.name == "median":
        return
    yield f"1 in {scheduler.reduction_factor:g} goes on"
    if scheduler.name == "hyperband":
        yield f"{scheduler.brackets} brackets"
