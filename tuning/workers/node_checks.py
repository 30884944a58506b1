"""Whether the nodes of a cluster can run trials, asked of each before the first one starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

from quantum_rerank.errors import ConfigError

# Nothing but the standard library and our errors: this is imported where the rest may be missing.

PACKAGES = (
    "filelock", "numba", "numpy", "pennylane", "pennylane_lightning", "pyarrow", "pydantic",
    "safetensors", "torch",
)  # fmt: skip
"""What a trial imports; our own packages are shipped."""

UNSEEN = "does not see the run's folder"


def refuse_unfit_nodes(folder: Path, seconds: float = 60.0) -> None:
    """Ask every node that can run trials for the run's folder and for what a trial imports.

    All nodes look at the same time, beside whatever else runs on them.

    Raises: ConfigError that names the nodes that are not fit, and the way out.
    """
    import ray
    from ray.exceptions import NodeDiedError, TaskUnschedulableError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    marker = folder / f".seen-{uuid4().hex}"  # of a new name: no node can have it from before
    marker.touch()
    task = ray.remote(num_cpus=0, max_retries=0)(what_is_missing)
    names = {
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(str(marker)): node["NodeName"]
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    }
    problems: dict[str, list[str]] = {}
    try:
        answered, silent = ray.wait(list(names), num_returns=len(names), timeout=seconds)
        for answer in answered:
            try:
                problems.setdefault(names[answer], []).extend(ray.get(answer))
            except (NodeDiedError, TaskUnschedulableError):
                continue  # nodes may go
            except Exception as error:  # whatever keeps a node from looking is what is wrong
                problems.setdefault(names[answer], []).append(_last_line(error))
        for answer in silent:
            ray.cancel(answer, force=True)
            problems[names[answer]] = [f"did not answer within {seconds:g} s"]
    finally:
        marker.unlink()
    if any(problems.values()):
        raise ConfigError([*_by_problem(problems, folder), _way_out(folder)])


def what_is_missing(marker: str) -> list[str]:
    """What keeps the node that this runs on from running trials; nothing if it is fit."""
    found = [f"lacks the package `{name}`" for name in PACKAGES if not _is_installed(name)]
    seen = Path(marker)
    if not seen.is_file():
        return [*found, UNSEEN]
    own = seen.with_name(f"{seen.name}-{uuid4().hex}")
    try:
        own.touch()
        own.unlink()
    except OSError as error:
        found.append(f"cannot write into the run's folder: {error.strerror}")
    return found


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


def _by_problem(problems: Mapping[str, list[str]], folder: Path) -> list[str]:
    """A line per problem, with the nodes that have it."""
    nodes = defaultdict(list)
    for name, found in problems.items():
        for problem in found:
            nodes[problem].append(f"`{name}`")
    return [
        f"Node {', '.join(dict.fromkeys(names))} {problem}"
        + (f" `{folder}`." if problem == UNSEEN else ".")
        for problem, names in nodes.items()
    ]


def _way_out(folder: Path) -> str:
    return (
        "Share the folder among all nodes under the same path, install the dependencies on each "
        "(clusters/Dockerfile), or leave the node out (README, Several machines); then go on "
        f"with --resume {folder}."
    )


def _last_line(error: Exception) -> str:
    return f"cannot run a task: {(str(error).splitlines() or [type(error).__name__])[-1]}"
