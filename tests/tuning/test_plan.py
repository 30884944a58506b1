from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from quantum_rerank.training.data_manager import PreparedData
from tuning.budgets import Concurrency
from tuning.plan import print_plan, write_record
from tuning.space import SchedulerConfig, Space

AT_ONCE = Concurrency(2, 2.0, "2 cores, 9.0 GB free: bounded by cores")


def plan(space: Space) -> list[list[str]]:
    """The printed plan as words, line by line."""
    console = Console(file=(file := StringIO()), width=200)
    print_plan(space, AT_ONCE, Path("runs/tiny"), console)
    return [line.split() for line in file.getvalue().splitlines()]


def row(rows: list[list[str]], name: str) -> str:
    words = name.split()
    (found,) = (line for line in rows if line[: len(words)] == words)
    return " ".join(found[len(words) :])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("at once", "2 trials (2 cores, 9.0 GB free: bounded by cores)"),
        ("budget", "6 trials of at most 3 epochs and 2 GB, 1 h in all"),
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


def test_a_plan_without_a_scheduler_says_so(tiny_space: Space) -> None:
    header = tiny_space.header.model_copy(update={"scheduler": SchedulerConfig(name="none")})
    assert row(plan(Space(header, tiny_space.base, tiny_space.parameters)), "scheduler") == "none"


def test_the_record_tells_what_is_searched_on_which_data(
    tiny_space: Space, prepared: PreparedData, tmp_path: Path
) -> None:
    write_record(tiny_space, prepared, tmp_path)
    record = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert record["space"]["budget"]["trials"] == 6
    assert list(record["parameters"]) == list(tiny_space.parameters)
    assert record["parameters"]["loss.margin"]["when"] == {"loss.name": ["triplet"]}
    assert record["base"]["circuit"]["n_qubits"] == 2
    assert record["data_fingerprint"] == prepared.fingerprint
    assert record["splits"]["beir:park"]["test"] == list(prepared.splits["beir:park"]["test"])


def test_the_data_is_printed_with_a_line_per_domain(prepared: PreparedData) -> None:
    console = Console(file=(file := StringIO()), width=200)
    console.print(*prepared.description(), sep="\n")
    lines = file.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == [
        f"beir:{name}" for name in ("park", "forest", "garden", "orchard")
    ]
    assert all("documents 24" in line for line in lines)
    assert "test" not in lines[2]
    assert lines[3].endswith("test 16")
