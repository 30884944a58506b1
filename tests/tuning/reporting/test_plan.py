from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from quantum_rerank.training.data_description import describe
from quantum_rerank.training.trial_data import PreparedData
from tuning.limits.concurrency import Concurrency, Node, fit_cluster
from tuning.reporting.plan import print_plan
from tuning.space import SchedulerConfig, Space

AT_ONCE = Concurrency(2, 2.0, "2 cores, 9.0 GiB free: bounded by cores")


def plan(space: Space, at_once: Concurrency = AT_ONCE) -> list[list[str]]:
    """The printed plan as words, line by line."""
    console = Console(file=(file := StringIO()), width=200)
    print_plan(space, at_once, Path("runs/tiny"), console)
    return [line.split() for line in file.getvalue().splitlines()]


def row(rows: list[list[str]], name: str) -> str:
    words = name.split()
    (found,) = (line for line in rows if line[: len(words)] == words)
    return " ".join(found[len(words) :])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("at once", "2 trials (2 cores, 9.0 GiB free: bounded by cores)"),
        ("budget", "6 trials of at most 3 epochs and 2 GiB, 1 h in all"),
        ("objective", "max ndcg@10 on validation"),
        ("sampler", "tpe, seed 0"),
        ("scheduler", "asha, from epoch 1, 1 in 2 goes on"),
        ("first trials", "1 given"),
        ("output", "runs/tiny"),
        ("seen", "icd10:5, icd10:9"),
        ("unseen", "validation icd10:7, icd10:8; test icd10:3"),
    ],
)
def test_the_plan_says_what_will_run(tiny_space: Space, name: str, content: str) -> None:
    assert row(plan(tiny_space), name) == content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("loss.name", "choices ['triplet', 'infonce']"),
        ("loss.margin", "low 0.1, high 0.8 loss.name in ['triplet']"),
        ("optimizer.mlp_lr", "low 0.0001, high 0.01, log True"),
        ("circuit.n_qubits", "low 2, high 3"),
    ],
)
def test_the_plan_names_every_parameter_with_its_range_and_condition(
    tiny_space: Space, name: str, content: str
) -> None:
    assert row(plan(tiny_space), name) == content


@pytest.mark.parametrize(
    ("values", "content"),
    [
        ({"name": "none"}, "none"),
        ({"name": "median", "grace_period": 2}, "median, from epoch 2"),
        (
            {"name": "hyperband", "grace_period": 2, "brackets": 4},
            "hyperband, from epoch 2, 1 in 3 goes on, 4 brackets",
        ),
        (
            {"name": "pbt", "population": 6, "interval_epochs": 2},
            "pbt, 6 members, compared after every 2 epochs, "
            "clones of the highest 25% replace the lowest",
        ),
    ],
)
def test_a_plan_names_its_scheduler(
    tiny_space: Space, values: dict[str, Any], content: str
) -> None:
    header = tiny_space.header.model_copy(update={"scheduler": SchedulerConfig(**values)})
    rows = plan(Space(header, tiny_space.base, tiny_space.parameters))
    assert row(rows, "scheduler") == content


def test_the_plan_of_a_cluster_names_its_nodes_and_what_fits_each(tiny_space: Space) -> None:
    rows = plan(tiny_space, fit_cluster([Node(2, 9.0, "large"), Node(4, 1.5, "small")], 2.0, 1.0))
    assert row(rows, "at once") == (
        "3 trials (6 cores of 2 nodes, 1.0 GiB expected of a trial: bounded by memory)"
    )
    assert row(rows, "nodes") == "large: 2 cores, 9.0 GiB, 2 at once"
    assert row(rows, "small:") == "4 cores, 1.5 GiB, 1 at once"


def test_the_plan_of_a_large_cluster_stays_short(tiny_space: Space) -> None:
    rows = plan(tiny_space, fit_cluster([Node(2, 9.0, f"n{i}") for i in range(100)], 2.0, 1.0))
    assert ["and", "88", "more"] in rows
    assert not any("n12:" in words for words in rows)


def test_the_plan_of_this_machine_names_no_nodes(tiny_space: Space) -> None:
    assert not any(words[:1] == ["nodes"] for words in plan(tiny_space))


def test_the_data_is_printed_with_a_line_per_domain(prepared: PreparedData) -> None:
    console = Console(file=(file := StringIO()), width=200)
    console.print(*describe(prepared), sep="\n")
    lines = [line for line in file.getvalue().splitlines() if line.startswith("domain ")]
    assert [line.split()[1] for line in lines] == [
        f"beir:{name}" for name in ("park", "forest", "garden", "orchard")
    ]
    assert all("documents 24" in line for line in lines)
    assert "test" not in lines[2]
    assert lines[3].endswith("test 16")
