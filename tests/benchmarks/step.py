"""One training step by each engine beside the MLP alone, in one run.

    python -m tests.benchmarks.step --repeats 30 --json

A step is 32 triplets: 96 texts through MLP and circuit, fidelities, triplet
loss, backward and Adam, on one thread. `mlp_only` is the same step with the
classical twin: no circuit, a cosine in its place.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from quantum_rerank.similarity import build_head
from quantum_rerank.training.loss_functions import pairwise_hinge

TRIPLETS, EMBEDDING_DIM = 32, 384


def make_step(arm: str, engine: str, n_qubits: int, n_layers: int) -> Callable[[], None]:
    """Build a training step of an arm on random unit vectors."""
    torch.manual_seed(0)
    head = build_head(
        arm=arm,
        embedding_dim=EMBEDDING_DIM,
        hidden_layers=(256, 128),
        dropout=0.1,
        n_qubits=n_qubits,
        n_layers=n_layers,
        entangler="cnot_chain",
        engine=engine,
    )
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    texts = torch.nn.functional.normalize(torch.randn(3 * TRIPLETS, EMBEDDING_DIM), dim=1)
    positive = torch.cat([torch.eye(TRIPLETS), torch.zeros(TRIPLETS, TRIPLETS)], dim=1).bool()
    negative = positive.roll(TRIPLETS, dims=1)

    def step() -> None:
        states = head.represent(texts)
        affinity = head.compare(states[:TRIPLETS], states[TRIPLETS:]).float()
        loss = pairwise_hinge(affinity, positive, negative, margin=0.5)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def milliseconds(steps: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Time the steps in turn, so that a noisy moment hits them all."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(repeats):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            taken[name].append(1e3 * (time.perf_counter() - started))
    return taken


def main(
    n_qubits: int = 4,
    n_layers: int = 3,
    repeats: int = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """Print milliseconds per step: median, and the middle half of the runs."""
    torch.set_num_threads(1)
    arms = {"qnode_broadcast_states": "qnode", "lightning": "lightning.qubit"}
    steps = {name: make_step("hybrid", engine, n_qubits, n_layers) for name, engine in arms.items()}
    steps["mlp_only"] = make_step("mlp_twin", "lightning.qubit", n_qubits, n_layers)
    taken = milliseconds(steps, repeats)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    if as_json:
        print(json.dumps({"ms": medians, "n_qubits": n_qubits, "n_layers": n_layers}))
        return
    table = Table(title=f"a step of 32 triplets, {n_qubits} qubits, {n_layers} layers")
    for column in ("engine", "ms", "middle half", "times the MLP"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for name, values in taken.items():
        low, _, high = statistics.quantiles(values, n=4)
        ratio = medians[name] / medians["mlp_only"]
        table.add_row(name, f"{medians[name]:.2f}", f"{low:.2f} to {high:.2f}", f"{ratio:.1f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
