"""Kill workers and nodes of a search repeatedly and check that every trial is finished.

    python -m tests.chaos.workers --rounds 20

The search runs on a Ray cluster of several nodes on this machine. In every round, some epochs
after the last, a random worker is killed with SIGKILL, or a node is removed and another joins.
The cluster must outlive the search.
"""

from __future__ import annotations

import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console

from benchmarks.measuring import AsJson, show, table
from tests.chaos.driver import (
    LAYERS,
    broken_at_the_end,
    read_events,
    trained_epochs,
    write_search,
)
from tests.integration.conftest import command, environment
from tuning.study import attributes
from tuning.study.run_folder import load_study
from tuning.study.trials import is_cut_short

NODES, TRIALS_TO_RUN = 2, 120
EPOCHS_BETWEEN = (1, 25)  # between two kills, of all trials together


def main(
    rounds: Annotated[int, typer.Option(help="Number of kills.")] = 20,
    trials: Annotated[int, typer.Option(help="Number of trials.")] = TRIALS_TO_RUN,
    node_every: Annotated[int, typer.Option(help="Kill a node in every n-th round.")] = 4,
    layers: Annotated[int, typer.Option(help="Layers of each circuit: fewer are faster.")] = LAYERS,
    seed: Annotated[int, typer.Option(help="Seed of the kills.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print the kills of each round and the ends of the trials; fail if anything was lost."""
    from ray.cluster_utils import Cluster

    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        root = Path(name)
        folder, space = root / "run", write_search(root, trials, layers=layers, confirm_seeds=0)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        nodes = [cluster.add_node(num_cpus=1) for _ in range(NODES)]
        try:
            process = start(space, folder, cluster.address, root / "output.txt")
            takes_node = [number % node_every == node_every - 1 for number in range(rounds)]
            rows = kill_until_the_end(process, cluster, nodes, folder, takes_node, rng)
            code = process.wait()
            outlived = cluster.head_node.any_processes_alive()
        finally:
            cluster.shutdown()
        broken = [] if code == 0 else [f"exit code {code}: {(root / 'output.txt').read_text()}"]
        broken += [] if outlived else ["the cluster ended with the search"]
        broken += broken_at_the_end(folder, trials)
        attempts = load_study(folder).get_trials(deepcopy=False)
        lost = [t.number for t in attempts if is_cut_short(t)]
        failures = {n: str(failure) for n, failure in attributes.failures(attempts).items()}
    kills = sum(row[1] != "nothing" for row in rows)
    record = {"kills": kills, "trials": len(attempts), "failures": failures, "broken": broken}
    title = f"{kills} kills: {len(attempts)} attempts, {len(lost)} of them lost and continued"
    show(record, [table(title, ("round", "killed", "after s", "ended by then"), rows)], as_json)
    for line in broken:
        Console(stderr=True).print(f"BROKEN: {line}", markup=False)
    raise typer.Exit(1 if broken else 0)


def start(space: Path, folder: Path, address: str, output: Path) -> subprocess.Popen[bytes]:
    """Start the search on the cluster; its output goes into a file."""
    arguments = ("--space", space, "--output", folder, "--address", address, "--wandb", "offline")
    with output.open("wb") as file:
        return subprocess.Popen(
            command("tuning.search", *arguments),
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(),
        )


def kill_until_the_end(
    process: subprocess.Popen[bytes],
    cluster: Any,
    nodes: list[Any],
    folder: Path,
    takes_node: Sequence[bool],
    rng: random.Random,
) -> list[tuple[str, ...]]:
    """Kill a worker or a node after every few epochs; return table rows."""
    rows = []
    started, n_epochs = time.monotonic(), 0
    for number, is_node in enumerate(takes_node):
        n_epochs += rng.randint(*EPOCHS_BETWEEN)
        while process.poll() is None and trained_epochs(folder) < n_epochs:
            time.sleep(0.02)
        if process.poll() is not None:
            break
        n_epochs = trained_epochs(folder)
        killed = kill_node(cluster, nodes, rng) if is_node else kill_worker(cluster, rng)
        ended = sum(event["event"] == "ended" for event in read_events(folder))
        rows.append((str(number), killed, f"{time.monotonic() - started:.1f}", str(ended)))
        Console(stderr=True).print("  ".join(rows[-1]), markup=False)
    return rows


def kill_worker(cluster: Any, rng: random.Random) -> str:
    """Kill a random worker that runs a trial."""
    workers = [p for p in psutil.process_iter(["cmdline"]) if _trains(p, cluster.address)]
    if not workers:
        return "nothing"
    worker = rng.choice(workers)
    try:
        worker.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return "nothing"
    return f"worker {worker.pid}"


def kill_node(cluster: Any, nodes: list[Any], rng: random.Random) -> str:
    """Remove a random node with all its workers and add another."""
    node = nodes.pop(rng.randrange(len(nodes)))
    cluster.remove_node(node, allow_graceful=False)
    nodes.append(cluster.add_node(num_cpus=1))
    return f"node {node.node_id[:8]}"


def _trains(process: psutil.Process, address: str) -> bool:
    """Return True if a process runs trials for the cluster at an address."""
    if not (process.info["cmdline"] or [""])[0].startswith("ray::ImplicitFunc"):
        return False
    try:
        return any(address in argument for argument in process.parent().cmdline())
    except (psutil.NoSuchProcess, AttributeError):
        return False


if __name__ == "__main__":
    typer.run(main)
