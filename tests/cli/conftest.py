"""A small training that has ended, for the commands that read one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from quantum_rerank.cli.train import app

DIM = 16
KINDS = ("oak", "elm", "ash", "fir", "yew", "fig", "bay", "box")
PARTS = ("leaf", "bark", "root")
DOMAINS = ("trees", "shrubs", "herbs")


@dataclass(frozen=True)
class Setting:
    """Three BEIR folders with vectors beside them, and how to train on them in a second."""

    root: Path

    @property
    def encoder(self) -> str:
        return f"npy:{self.root / 'vectors'}"

    def data(self, domain: str) -> str:
        return f"beir:{self.root / domain}"

    def train(self, output: Path, overrides: Mapping[str, object] | None = None) -> Path:
        """Train on trees; shrubs are chosen on, herbs are neither. Returns `output`."""
        settings = {
            "data.seen": [self.data("trees")],
            "data.unseen_validation": [self.data("shrubs")],
            "data.unseen_test": [self.data("herbs")],
            "data.encoder": self.encoder,
            "circuit.n_qubits": 2,
            "circuit.n_layers": 2,
            "mlp.hidden_layers": [8],
            "warmup.steps": 2,
            "training.batch_size": 4,
            "training.max_epochs": 3,
            **(overrides or {}),
        }
        sets = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
        CliRunner().invoke(
            app, ["--config", "default", "--output", str(output), *sets], catch_exceptions=False
        )
        return output


@pytest.fixture(scope="session")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    root = tmp_path_factory.mktemp("cli")
    for seed, domain in enumerate(DOMAINS):
        write_domain(root, domain, np.random.default_rng(seed))
    return Setting(root)


@pytest.fixture(scope="session")
def ended_training(setting: Setting) -> Path:
    """The folder of a training; whoever changes it copies it first."""
    return setting.train(setting.root / "run")


@pytest.fixture(scope="session")
def ended_gated_training(setting: Setting) -> Path:
    """The same with a fusion weight that falls with the distance."""
    gate = {"fusion.gate": "nearest"}
    return setting.train(setting.root / "gated-run", gate)


@pytest.fixture(scope="session")
def changed_vectors(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training, of whose vectors some were computed anew since."""
    root = tmp_path_factory.mktemp("changed")
    shutil.copytree(setting.root / "vectors", root / "vectors")
    run = setting.train(root / "run", {"data.encoder": f"npy:{root / 'vectors'}"})
    path = root / "vectors" / "beir-herbs" / "corpus.npy"
    np.save(path, np.random.default_rng(7).normal(size=np.load(path).shape))
    return run


def write_domain(root: Path, domain: str, rng: np.random.Generator) -> None:
    """24 documents and 16 judged queries, each query's vector near that of its best document."""
    corpus = {f"{kind}-{part}": f"The {part} of the {kind}." for kind in KINDS for part in PARTS}
    qrels = {
        f"{kind}?{part}": {f"{kind}-{part}": 2, f"{kind}-root": 1}
        for kind in KINDS
        for part in PARTS[:2]
    }
    queries = {query: f"what is {query} like" for query in qrels}
    (root / domain / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", corpus), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (root / domain / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = [f"{q}\t{d}\t{grade}" for q, judged in qrels.items() for d, grade in judged.items()]
    text = "\n".join(["query-id\tcorpus-id\tscore", *rows])
    (root / domain / "qrels" / "test.tsv").write_text(text, encoding="utf-8")
    documents = rng.normal(size=(len(corpus), DIM))
    best = [list(corpus).index(next(iter(judged))) for judged in qrels.values()]
    folder = root / "vectors" / f"beir-{domain}"
    folder.mkdir(parents=True)
    np.save(folder / "corpus.npy", documents)
    np.save(folder / "queries.npy", documents[best] + rng.normal(size=(len(best), DIM)))


Ended = Callable[..., tuple[int, str]]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ended:
    """Run a command as a shell would: its exit code, and what it printed as errors."""
    from typer import Typer

    from quantum_rerank.console import run

    def call(command: Typer, *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["command", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run(command)
        code = end.value.code
        return (code if isinstance(code, int) else 0), capsys.readouterr().err

    return call
