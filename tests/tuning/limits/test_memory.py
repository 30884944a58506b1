from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.similarity import MODELS, build_head
from quantum_rerank.training.trial_data import TrialData
from tuning.limits.memory import (
    BARE_WORKER,
    MemoryWarnings,
    TrialMemory,
    descendants,
    give_back,
    kill_descendants,
    least_bytes,
    ranked_documents,
)
from tuning.records import PEAK_RSS_MB

MB = 2**20


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs some code, says a line, and is ended with the test."""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_what_a_process_takes_and_gives_back_is_seen() -> None:
    memory = TrialMemory()
    before = memory()
    # Straight from the system: an allocator may have as much of its own.
    with mmap.mmap(-1, 64 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as taken:
        taken.write(b"1" * len(taken))
        during = memory()
    assert during - before == pytest.approx(64 * MB, rel=0.1)
    assert memory() - before < 8 * MB


def test_what_is_free_within_the_process_is_given_back() -> None:
    memory = TrialMemory()
    before = memory()
    # Small pieces between pieces that stay: freed, they stay with the process by themselves.
    taken = [bytes(2000) for _ in range(40_000)]
    del taken[:-1]
    give_back()
    assert memory() - before < 20 * MB


def test_a_process_that_was_started_counts_until_it_ends() -> None:
    memory = TrialMemory()
    before = memory()
    code = "taken = b'1' * 100_000_000; print('taken', flush=True); input()"
    with child(code) as process:
        assert process.pid in descendants(os.getpid())
        assert memory() - before > 95 * 10**6
    assert memory() - before < 20 * 10**6


def test_what_was_started_is_ended_with_all_that_it_started() -> None:
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'input()'])\n"
        "print('started', flush=True); input()"
    )
    with child(code) as process:
        (grandchild,) = descendants(process.pid)
        kill_descendants(os.getpid())
        assert process.wait() < 0
        while _runs(grandchild):
            time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    "more",
    [
        {"circuit.n_qubits": 8},
        {"mlp.hidden_layers": [4096, 4096]},
        {"model": "hybrid_amplitude", "circuit.n_qubits": 4},
    ],
)
def test_a_larger_model_needs_more(
    small_config: Callable[..., ExperimentConfig], more: dict[str, object]
) -> None:
    assert least_bytes(small_config(more), 384, 1000) > least_bytes(small_config(), 384, 1000)


def test_states_of_the_documents_count_where_there_is_a_circuit(
    small_config: Callable[..., ExperimentConfig],
) -> None:
    twin, hybrid = (small_config({"model": model}) for model in ("mlp_twin", "hybrid"))
    assert least_bytes(twin, 384, 10**6) == least_bytes(twin, 384, 0)
    states = least_bytes(hybrid, 384, 10**6) - least_bytes(hybrid, 384, 0)
    assert states == 10**6 * 2**hybrid.circuit.n_qubits * 16


@pytest.mark.parametrize("model", MODELS)
def test_outputs_count_in_the_models_that_have_as_many(
    small_config: Callable[..., ExperimentConfig], model: str
) -> None:
    few, many = (small_config({"model": model, "mlp.outputs": n}) for n in (8, 1000))
    weights = [build_head(one, 384).n_trained for one in (few, many)]
    more = least_bytes(many, 384, 0) - least_bytes(few, 384, 0)
    assert (more > 0) == (weights[1] > weights[0])
    assert more <= 16 * (weights[1] - weights[0])


@pytest.mark.parametrize("model", MODELS)
def test_no_model_is_said_to_need_more_than_its_weights_and_states(
    small_config: Callable[..., ExperimentConfig], model: str
) -> None:
    config = small_config({"model": model, "circuit.n_qubits": 6, "mlp.hidden_layers": [512]})
    head = build_head(config, 384)
    needed = 16 * head.n_trained + head.represent(torch.ones(10, 384)).nbytes
    assert least_bytes(config, 384, 10) - BARE_WORKER <= needed


def test_the_documents_of_the_largest_collection_are_counted(trial_data: TrialData) -> None:
    sizes = [len(np.unique(one.candidates)) for one in trial_data.validation]
    assert ranked_documents(trial_data) == max(sizes)


def test_a_trial_is_warned_of_once_and_from_four_fifths_on() -> None:
    said: list[str] = []
    warnings = MemoryWarnings(2.0, said.append)
    for epoch, (number, gb) in enumerate([(1, 1.5), (1, 1.6), (1, 1.9), (2, 0.1), (2, 1.7)]):
        warnings.trial_reported(number, epoch, {PEAK_RSS_MB: gb * 1024})
    assert said == [
        "Trial 1 has used 1.60 of its 2 GiB; above them it is ended.",
        "Trial 2 has used 1.70 of its 2 GiB; above them it is ended.",
    ]
