"""Checks of the nodes of a cluster before the first trial starts."""

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
"""Packages that a trial imports. The packages of this project are shipped by Ray."""

_WAY_OUT = (
    "Share the folder among all nodes under the same path, install the dependencies on each "
    "(clusters/Dockerfile), or leave the node out (docs/clusters.md); then go on with "
    "--resume."
)
UNSEEN = "does not see the folder of trials"


def refuse_unfit_nodes(root: str, seconds: float = 60.0) -> None:
    """Check on every node that trials can run there: packages, and the folder of their files.

    All nodes are checked at the same time, beside other work on them.

    Args:
        root: Root of the files of trials; a URI is not checked.
        seconds: Time to wait for an answer.

    Raises:
        ConfigError: Nodes that cannot run trials, with the reasons and the way out.
    """
    import ray
    from ray.exceptions import NodeDiedError, TaskUnschedulableError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    marker = None if "://" in root else Path(root) / f".seen-{uuid4().hex}"
    if marker is not None:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    task = ray.remote(num_cpus=0, max_retries=0)(what_is_missing)
    names = {
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(marker and str(marker)): node["NodeName"]
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
            except Exception as error:  # a node that cannot check is itself the fault
                problems.setdefault(names[answer], []).append(_last_line(error))
        for answer in silent:
            ray.cancel(answer, force=True)
            problems[names[answer]] = [f"did not answer within {seconds:g} s"]
    finally:
        if marker is not None:
            marker.unlink()
    if any(problems.values()):
        raise ConfigError([*_by_problem(problems, root), _WAY_OUT])


def what_is_missing(marker: str | None) -> list[str]:
    """Return the reasons for which this node cannot run trials; empty if it can.

    Args:
        marker: File that the driver has created in the folder of trials; None for no check.
    """
    problems = [f"lacks the package `{name}`" for name in PACKAGES if not _is_installed(name)]
    if marker is None:
        return problems
    shared = Path(marker)
    if not shared.is_file():
        return [*problems, UNSEEN]
    probe = shared.with_name(f"{shared.name}-{uuid4().hex}")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        problems.append(f"cannot write into the folder of trials: {error.strerror}")
    return problems


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


def _by_problem(problems: Mapping[str, list[str]], root: str) -> list[str]:
    """Return a line per problem, with the nodes that have it."""
    nodes = defaultdict(list)
    for name, of_node in problems.items():
        for problem in of_node:
            nodes[problem].append(f"`{name}`")
    return [
        f"Node {', '.join(dict.fromkeys(names))} {problem}"
        + (f" `{root}`." if problem == UNSEEN else ".")
        for problem, names in nodes.items()
    ]


def _last_line(error: Exception) -> str:
    return f"cannot run a task: {(str(error).splitlines() or [type(error).__name__])[-1]}"
