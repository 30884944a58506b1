"""Real searches on a real Ray cluster, over a collection small enough to wait for."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import typer

from quantum_rerank.console import run as run_command
from tests.speed import PATIENT

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
scheduler: {{name: asha, grace_period: 1, reduction_factor: 2}}
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
    ours = {"WANDB_MODE": "offline", "COLUMNS": "160", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **PATIENT, **ours}


def run(*arguments: str | Path) -> Finished:
    """Run `python -m ...` to its end."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment(), check=False
    )
    return Finished(done.returncode, done.stdout + done.stderr)


def call(app: typer.Typer, *arguments: str | Path) -> Finished:
    """Run a command in this process, which has imported already what it needs."""
    line = [str(argument) for argument in arguments]
    with pytest.MonkeyPatch.context() as patch, redirected() as printed:
        patch.setenv("COLUMNS", "160")
        patch.setattr("sys.argv", ["command", *line])
        with pytest.raises(SystemExit) as end:
            run_command(app)
    code = end.value.code
    return Finished(code if isinstance(code, int) else 0, printed.getvalue())


@contextmanager
def redirected() -> Iterator[io.StringIO]:
    """What is printed meanwhile, to standard output and standard error."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        yield printed


class Watched:
    """`python -m ...` in a process of its own, which a test watches and strikes."""

    def __init__(self, *arguments: str | Path, **variables: str) -> None:
        # Not beside the run, whose disk may be full; `end` closes it.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command(*arguments),
            stdout=self._output,
            stderr=self._output,
            env={**environment(), "PYTHONUNBUFFERED": "1", **variables},
        )

    def wait_for(self, is_time: Callable[[], object]) -> None:
        """Return as soon as it is time; the process must not end before."""
        while not is_time():
            if self.process.poll() is not None:
                pytest.fail(f"it ended before it was time: {self.end().text}")
            time.sleep(0.02)

    @contextmanager
    def stopped_when(self, is_time: Callable[[], object]) -> Iterator[None]:
        """Let the process stand still from a moment on at which it is time.

        However long this test then has to wait for its turn, it is still time.
        """
        while True:
            self.wait_for(is_time)
            self.process.send_signal(signal.SIGSTOP)
            if is_time():
                break
            self.process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def end(self) -> Finished:
        """Wait for the end of the process."""
        try:
            return Finished(self.process.wait(), self.text())
        finally:
            self.process.kill()
            self.process.wait()
            self._output.close()

    def text(self) -> str:
        """All that it has printed so far."""
        output = self._output.fileno()  # whose position is the process's, too
        return os.pread(output, os.fstat(output).st_size, 0).decode()


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    """Start `python -m ...`; what still runs at the end of the test is killed."""
    processes = []

    def start(*arguments: str | Path, **variables: str) -> Watched:
        processes.append(Watched(*arguments, **variables))
        return processes[-1]

    yield start
    for watched in processes:
        watched.process.kill()
        watched.process.wait()


@pytest.fixture(scope="session")
def make_space(
    domains: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    """Write a space with a budget and more lines."""
    return lambda budget, extra="": write_space(
        tmp_path_factory.mktemp("space"), domains, budget, extra
    )
