"""Commands that read what comes from outside, as functions of a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import typer

import quantum_rerank.cli.evaluate
import quantum_rerank.cli.report
import quantum_rerank.cli.train
import tuning.best_trial
import tuning.search
import tuning.session.search
import tuning.status
from quantum_rerank.console import run
from quantum_rerank.datasets import load_collection
from quantum_rerank.embeddings.arrays import ArraySource
from quantum_rerank.errors import QuantumRerankError
from quantum_rerank.export.trained_model import load_model
from quantum_rerank.reranker import Reranker
from quantum_rerank.training.trainer import Trainer
from tests.fuzz.subjects import DOMAINS, RUN, SPACE
from tuning.study.run_folder import BEST
from tuning.study.trial_files import BEST_EPOCH

# Commands import these themselves, which would take its time after each fork.
for _module in (
    "psutil",
    "quantum_rerank.cli.training_display",
    "quantum_rerank.datasets.csv_table",
    "quantum_rerank.datasets.parquet_table",
    "quantum_rerank.reports.charts",
    "quantum_rerank.reports.report",
    "quantum_rerank.workflows.evaluate",
    "scipy.stats",
):
    import_module(_module)

Command = Callable[[Path], None]
QUERY = np.ones(32, dtype=np.float32)


class NotFiniteError(Exception):
    """Scores that are NaN or infinite."""


def cli(app: typer.Typer, *arguments: object) -> None:
    """Run a command as a console script does; it ends with SystemExit."""
    sys.argv = ["fuzz", *map(str, arguments)]
    run(app)


def status(folder: Path) -> None:
    cli(tuning.status.app, folder)


def status_json(folder: Path) -> None:
    cli(tuning.status.app, folder, "--json")


def export(folder: Path) -> None:
    cli(tuning.best_trial.app, folder, "--output", folder.parent / "exported")


def rerun(folder: Path) -> None:
    cli(tuning.search.app, "--rerun", folder, "--trial", 1)


def plan_resume(folder: Path) -> None:
    cli(tuning.search.app, "--resume", folder, "--dry-run", "--trials", "+1")


def resume(folder: Path) -> None:
    """Resume a search as far as Ray's start."""

    def stop(address: str | None) -> Any:
        raise SystemExit(0)

    tuning.session.search.ray_cluster = stop  # type: ignore[assignment]
    cli(tuning.search.app, "--resume", folder, "--trials", "+1", "--wandb", "disabled")


def warm_start(folder: Path) -> None:
    space = folder.parent / SPACE / "space.yaml"
    output = folder.parent / "warm"
    options = ("--warm-start", folder, "--output", output, "--dry-run", "--wandb", "disabled")
    cli(tuning.search.app, "--space", space, *options)


def plan(folder: Path) -> None:
    space, output = folder / "space.yaml", folder.parent / "planned"
    options = ("--output", output, "--dry-run", "--wandb", "disabled")
    cli(tuning.search.app, "--space", space, *options)


def evaluate(folder: Path) -> None:
    cli(quantum_rerank.cli.evaluate.app, folder)


def report(folder: Path) -> None:
    cli(quantum_rerank.cli.report.app, folder, "--html", folder.parent / "page.html")


def resume_training(folder: Path) -> None:
    """Resume a training for two epochs at most: a changed file may ask for any number."""
    epochs = Trainer.epochs
    Trainer.epochs = lambda trainer: islice(epochs(trainer), 2)  # type: ignore[method-assign]
    Trainer._run_warm_up = lambda trainer: None  # type: ignore[method-assign]
    cli(quantum_rerank.cli.train.app, "--resume", "--output", folder)


def score_bundle(folder: Path) -> None:
    documents = np.eye(32, dtype=np.float32)[:4]
    _require_finite(Reranker.load(folder).scores_of_embeddings(QUERY, documents))


def score_index(folder: Path) -> None:
    reranker = Reranker.load(folder.parent / RUN / BEST)
    index = reranker.open_index(folder)
    _require_finite(reranker.scores_of_indexed(QUERY, index))
    _require_finite(reranker.scores_of_indexed(QUERY, index, [0, len(index) - 1]))


def load_best_epoch(folder: Path) -> None:
    load_model(folder / "trials" / "00000" / BEST_EPOCH)


def load_data(folder: Path) -> None:
    specs = [f"beir:{folder / 'seen'}"]
    specs += [f"{kind}:{folder / f'table.{kind}'}" for kind in ("csv", "parquet")]
    errors = []
    for spec in specs:
        try:
            load_collection(spec)
        except QuantumRerankError as error:
            errors.append(str(error))
    if errors:
        raise QuantumRerankError(errors[0])


def load_vectors(folder: Path) -> None:
    original = folder.parent
    source = ArraySource(folder)
    for name in DOMAINS:
        collection = load_collection(f"beir:{original / name}")
        for rows in source.embed(collection):
            _require_finite(rows)
    print(source.fingerprint)


def _require_finite(scores: Any) -> None:
    if not np.isfinite(scores).all():
        raise NotFiniteError


COMMANDS: Mapping[str, tuple[Command, ...]] = {
    "run": (status, status_json, export, rerun, plan_resume, resume, warm_start, report),
    "best epoch": (load_best_epoch, export),
    "training": (evaluate, report),
    "checkpoints": (resume_training,),
    "bundle": (score_bundle, evaluate),
    "index": (score_index,),
    "space": (plan,),
    "vectors": (load_vectors,),
    "data": (load_data,),
}
"""Reader -> its commands."""
