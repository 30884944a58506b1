"""Real searches on a real Ray cluster, over a collection small enough to wait for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

WORDS = ("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heath", "iris", "kelp")
N_DOCUMENTS, N_QUERIES, DIM = 300, 90, 32


@dataclass(frozen=True)
class Finished:
    """A command that ended: its exit code, and all that it printed."""

    code: int
    text: str


def write_domain(folder: Path, name: str, seed: int, times: int = 1) -> None:
    """A BEIR folder with vectors beside it; a query lies near its document.

    times: as many queries and documents as the small domains have.
    """
    rng = np.random.default_rng(seed)
    n_documents, n_queries = times * N_DOCUMENTS, times * N_QUERIES
    (folder / name / "qrels").mkdir(parents=True)
    documents = rng.normal(size=(n_documents, DIM)).astype(np.float32)
    answers = rng.choice(n_documents, n_queries, replace=False)
    queries = documents[answers] + rng.normal(scale=1.2, size=(n_queries, DIM)).astype(np.float32)
    text = [" ".join(rng.choice(WORDS, 4)) for _ in range(n_documents)]
    write = (folder / name / "corpus.jsonl").write_text
    write("".join(f'{{"_id": "d{i}", "text": "{text[i]}"}}\n' for i in range(n_documents)))
    write = (folder / name / "queries.jsonl").write_text
    write("".join(f'{{"_id": "q{i}", "text": "{text[a]}"}}\n' for i, a in enumerate(answers)))
    rows = "".join(f"q{i}\td{a}\t1\n" for i, a in enumerate(answers))
    (folder / name / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    vectors = folder / "vectors" / f"beir-{name}"
    vectors.mkdir(parents=True)
    np.save(vectors / "corpus.npy", documents)
    np.save(vectors / "queries.npy", queries)


def write_domains(folder: Path, times: int = 1) -> None:
    """The domains of `write_space`, as many times as large as the small ones."""
    for seed, name in enumerate(("seen", "near", "far")):
        write_domain(folder, name, seed, times)


@pytest.fixture(scope="session")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small domains: `seen`, `near` and `far`."""
    folder = tmp_path_factory.mktemp("domains")
    write_domains(folder)
    return folder


def write_space(folder: Path, domains: Path, budget: str, extra: str = "") -> Path:
    """A space over the small domains, in which a trial can be far too large for its memory."""
    config = folder / "config.yaml"
    config.write_text(
        f"mlp: {{hidden_layers: [32]}}\nwarmup: {{steps: 20, batch_size: 32}}\n"
        f"data: {{encoder: 'npy:{domains / 'vectors'}'}}\n"
    )
    space = folder / "space.yaml"
    space.write_text(
        f"""name: small
base: config.yaml
data:
  seen: ["beir:{domains / "seen"}"]
  unseen_validation: ["beir:{domains / "near"}"]
  unseen_test: ["beir:{domains / "far"}"]
budget: {budget}
sampler: {{name: random, seed: 3}}
scheduler: {{name: asha, grace_epochs: 1, reduction_factor: 2}}
top_k: 2
confirm_seeds: 1
{extra}
parameters:
  optimizer.mlp_lr: {{type: float, low: 0.0001, high: 0.01, log: true}}
  circuit.n_qubits: {{type: int, low: 2, high: 4}}
  loss.name: {{type: categorical, choices: [triplet, infonce]}}
  loss.margin: {{type: float, low: 0.1, high: 0.8, when: {{loss.name: [triplet]}}}}
  mlp.hidden_layers.0: {{type: categorical, choices: [16, 24, 32, 8192]}}
  mlp.hidden_layers.length: {{type: int, low: 1, high: 2}}
  mlp.hidden_layers.1:
    {{type: categorical, choices: [8, 16, 8192], when: {{mlp.hidden_layers.length: [2]}}}}
"""
    )
    return space


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", *(str(argument) for argument in arguments)]


def environment() -> dict[str, str]:
    own = {"WANDB_MODE": "offline", "COLUMNS": "160", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own}


def run(*arguments: str | Path) -> Finished:
    """Run `python -m ...` to its end."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=240,
    )
    return Finished(done.returncode, done.stdout + done.stderr)


def run_and_interrupt(seen: str, times: int, *arguments: str | Path) -> Finished:
    """Run `python -m ...`, and press Ctrl-C when its output first contains `seen`."""
    lines = []
    with subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment(), "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if times and seen in line:
                process.send_signal(signal.SIGINT)
                times -= 1
                seen = "Ctrl-C again stops now"
    return Finished(process.returncode, "".join(lines))


def run_and_kill(is_time: Callable[[], bool], *arguments: str | Path) -> None:
    """Run `python -m ...`, and kill it with SIGKILL as soon as it is time."""
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(
            command(*arguments), stdout=output, stderr=output, env=environment()
        ) as process,
    ):
        try:
            while not is_time():
                if process.poll() is not None:
                    output.seek(0)
                    pytest.fail(f"it ended before it was time: {output.read().decode()}")
                time.sleep(0.02)
        finally:
            process.kill()


@pytest.fixture(scope="session")
def make_space(
    domains: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    """Write a space with a budget and more lines."""
    return lambda budget, extra="": write_space(
        tmp_path_factory.mktemp("space"), domains, budget, extra
    )
