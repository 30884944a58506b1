"""Real searches on a real Ray cluster over small collections."""

from __future__ import annotations

import io
import json
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
from optuna.trial import FrozenTrial

from quantum_rerank.console import run as run_command
from tests.speed import PATIENT
from tuning.study.run_folder import load_study

WORDS = ("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heath", "iris", "kelp")
N_DOCUMENTS, N_QUERIES, DIM = 300, 90, 32
WIDTHS = "16, 24, 32"
TOO_WIDE = 8192  # two such layers exceed a memory budget of a gigabyte


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command that ended."""

    code: int
    text: str


@dataclass(frozen=True)
class FinishedSearch:
    """A search that ended: its run folder and the result of its command."""

    folder: Path
    command: CommandResult

    @property
    def summary(self) -> dict:
        return json.loads((self.folder / "summary.json").read_text())

    @property
    def trials(self) -> list[FrozenTrial]:
        return load_study(self.folder).trials


def write_domain(folder: Path, name: str, seed: int, times: float = 1) -> None:
    """Write a BEIR folder and vectors, in which a query lies near its document.

    Args:
        folder: Parent folder of the domain and of the vectors.
        name: Name of the domain.
        seed: Seed of texts and vectors.
        times: Multiple of the size of a small domain.
    """
    rng = np.random.default_rng(seed)
    n_documents, n_queries = int(times * N_DOCUMENTS), int(times * N_QUERIES)
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


def write_domains(folder: Path, times: float = 1) -> None:
    """Write the domains of `write_space`, a multiple of the size of the small ones."""
    for seed, name in enumerate(("seen", "near", "far")):
        write_domain(folder, name, seed, times)


@pytest.fixture(scope="session")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three small domains, `seen`, `near` and `far`, and return their folder."""
    folder = tmp_path_factory.mktemp("domains")
    write_domains(folder)
    return folder


def write_space(
    folder: Path, domains: Path, budget: str, widths: str = WIDTHS, **header: str
) -> Path:
    """Write a search space over the small domains.

    Args:
        folder: Folder of the space and of its base configuration.
        domains: Folder of `write_domains`.
        budget: Budget of the search, as YAML.
        widths: Choices for the layers of the MLP.
        header: Further values of the space's header, as YAML, or other ones than the defaults.
    """
    config = folder / "config.yaml"
    config.write_text(
        f"mlp: {{hidden_layers: [32]}}\n"
        f"warmup: {{steps: 20, batch_size: 32, seed: 0, dropout: 0.1}}\n"
        f"data: {{encoder: 'npy:{domains / 'vectors'}'}}\n"
    )
    values = {
        "sampler": "{name: random, seed: 3}",
        "scheduler": "{name: asha, grace_period: 1, reduction_factor: 2}",
        "top_k": "2",
        "confirm_seeds": "1",
        **header,
    }
    space = folder / "space.yaml"
    space.write_text(
        f"""name: small
base: config.yaml
data:
  seen: ["beir:{domains / "seen"}"]
  unseen_validation: ["beir:{domains / "near"}"]
  unseen_test: ["beir:{domains / "far"}"]
budget: {budget}
{"".join(f"{key}: {value}{chr(10)}" for key, value in values.items())}
parameters:
  optimizer.mlp_lr: {{type: float, low: 0.0001, high: 0.01, log: true}}
  circuit.n_qubits: {{type: int, low: 2, high: 4}}
  loss.name: {{type: categorical, choices: [triplet, infonce]}}
  loss.margin: {{type: float, low: 0.1, high: 0.8, when: {{loss.name: [triplet]}}}}
  mlp.hidden_layers.0: {{type: categorical, choices: [{widths}]}}
  mlp.hidden_layers.length: {{type: int, low: 1, high: 2}}
  mlp.hidden_layers.1:
    {{type: categorical, choices: [{widths}], when: {{mlp.hidden_layers.length: [2]}}}}
"""
    )
    return space


def command(*arguments: str | Path) -> list[str]:
    """Return the command line of `python -m ...`."""
    return [sys.executable, "-m", *(str(argument) for argument in arguments)]


def environment() -> dict[str, str]:
    """Return the environment variables of a command that a test starts."""
    variables = {"WANDB_MODE": "offline", "COLUMNS": "160", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **PATIENT, **variables}


def run(*arguments: str | Path, **variables: str) -> CommandResult:
    """Run `python -m ...` in a process until it ends, with further environment variables."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env={**environment(), **variables},
        check=False,
    )
    return CommandResult(done.returncode, done.stdout + done.stderr)


def call(app: typer.Typer, *arguments: str | Path) -> CommandResult:
    """Run a command in this process, which has imported its modules already."""
    line = [str(argument) for argument in arguments]
    with pytest.MonkeyPatch.context() as patch, redirected() as printed:
        patch.setenv("COLUMNS", "160")
        patch.setattr("sys.argv", ["command", *line])
        with pytest.raises(SystemExit) as end:
            run_command(app)
    code = end.value.code
    return CommandResult(code if isinstance(code, int) else 0, printed.getvalue())


@contextmanager
def redirected() -> Iterator[io.StringIO]:
    """Collect standard output and standard error."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        yield printed


class WatchedProcess:
    """Process of `python -m ...` that a test observes, stops and kills."""

    def __init__(self, *arguments: str | Path, **variables: str) -> None:
        # Not in the run folder, whose disk may be full; `end` closes it.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command(*arguments),
            stdout=self._output,
            stderr=self._output,
            env={**environment(), "PYTHONUNBUFFERED": "1", **variables},
        )

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds; fail if the process ends first."""
        while not condition():
            if self.process.poll() is not None:
                pytest.fail(f"the process ended too early: {self.end().text}")
            time.sleep(0.02)

    @contextmanager
    def stopped_when(self, condition: Callable[[], object]) -> Iterator[None]:
        """Stop the process (SIGSTOP) while a condition holds, and continue it afterwards.

        The condition is checked again once the process is stopped, so that it still holds
        however long this test waits for a processor.
        """
        while True:
            self.wait_for(condition)
            self.process.send_signal(signal.SIGSTOP)
            if condition():
                break
            self.process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def end(self) -> CommandResult:
        """Wait until the process ends."""
        try:
            return CommandResult(self.process.wait(), self.text())
        finally:
            self.process.kill()
            self.process.wait()
            self._output.close()

    def text(self) -> str:
        """Return the output so far."""
        output = self._output.fileno()  # its position is that of the process, too
        return os.pread(output, os.fstat(output).st_size, 0).decode()


@pytest.fixture
def watch() -> Iterator[Callable[..., WatchedProcess]]:
    """Return a function that starts `python -m ...`; kill what still runs after the test."""
    processes = []

    def start(*arguments: str | Path, **variables: str) -> WatchedProcess:
        processes.append(WatchedProcess(*arguments, **variables))
        return processes[-1]

    yield start
    for watched in processes:
        watched.process.kill()
        watched.process.wait()


@pytest.fixture(scope="session")
def make_space(domains: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a search space, see `write_space`."""
    return lambda *arguments, **keywords: write_space(
        tmp_path_factory.mktemp("space"), domains, *arguments, **keywords
    )


# A folder whose name has a meaning for URLs, globs, markup, shells and YAML.
FOLDER_NAME = '50%20 [b] it\'s "\u6a39" {x} #1 lr=1?mode=ro&a'
# Two layers whose weights, gradients and moments take over a gigabyte.
GLUTTON = (
    f"{{mlp.hidden_layers.length: 2, mlp.hidden_layers.0: {TOO_WIDE}, "
    f"mlp.hidden_layers.1: {TOO_WIDE}}}"
)
TRIALS, EPOCHS = 6, 3


@pytest.fixture(scope="session")
def finished_search(
    make_space: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> FinishedSearch:
    """Run a search once for all tests that only inspect its results.

    Its folder has an unusual name, its second trial exceeds the memory budget, and a variable
    of W&B in its environment would give all trials the same run.
    """
    budget = f"{{trials: {TRIALS}, epochs: {EPOCHS}, trial_memory_gb: 1.4}}"
    start_from = f"[{{}}, {GLUTTON}]"
    space = make_space(budget, f"{WIDTHS}, {TOO_WIDE}", start_from=start_from)
    folder = tmp_path_factory.mktemp("runs") / FOLDER_NAME
    arguments = ("--space", space, "--output", folder)
    return FinishedSearch(folder, run("tuning.search", *arguments, WANDB_RUN_ID="fixed"))
