"""The command `tuning.search` with trials that train nothing and report at once.

    python -m tests.integration.quick_search --space SPACE --output RUN

All else is real: the data, Ray, the study, the display and the conclusion. Settings in the
environment, which Ray's workers have too:

    QUICK_EPOCHS           epochs of each trial (1)
    QUICK_SECONDS          of an epoch (0)
    QUICK_LAST_EPOCH_FILE  a file without which a trial does not end its last epoch
    QUICK_FULL_FILE        a file with which the machine has no free memory

Each time that its driver is stopped and continued, an hour passes on its clock.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import tuning.search
from quantum_rerank.console import run
from tests.integration.conftest import DIM
from tuning.commands import running
from tuning.records import StopReason, metadata_of
from tuning.session.search import search
from tuning.session.search_state import SearchOptions
from tuning.space import Space
from tuning.workers.cluster import free_memory

N_TEXTS = 24


class SuspendedClock:
    """The clock of a driver that is stopped for an hour, however long it was."""

    def __init__(self) -> None:
        self._missed = 0.0
        signal.signal(signal.SIGCONT, self._continued)

    def __call__(self) -> float:
        return time.monotonic() + self._missed

    def _continued(self, *_: object) -> None:
        self._missed += 3600.0


def quick(params: dict[str, Any], **_: Any) -> None:
    """Report an objective that follows from the trial's number, epoch by epoch."""
    from ray import tune

    n_epochs = int(os.environ.get("QUICK_EPOCHS", "1"))
    file = os.environ.get("QUICK_LAST_EPOCH_FILE")
    for epoch in range(1, n_epochs + 1):
        time.sleep(float(os.environ.get("QUICK_SECONDS", "0")))
        while file and epoch == n_epochs and not Path(file).exists():
            time.sleep(0.05)
        objective = 0.5 + 0.1 * math.sin(metadata_of(params).number + epoch)
        tune.report(
            {
                "epoch": epoch,
                "final": epoch == n_epochs,
                "objective": objective,
                "seconds": 1.0,
                "best_epoch": 0,
            }
        )


def write_quick_space(folder: Path, budget: str, name: str = "tiny", encoder: str = "") -> Path:
    """Write a space over a table of a few texts.

    Args:
        folder: Where everything is written.
        budget: Of the space, as YAML.
        name: Of the table's file.
        encoder: What embeds the texts; without it vectors lie beside them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"what is thing {n},It is the thing that has the number {n}.,1" for n in range(N_TEXTS)]
    table = folder / f"{name}.csv"  # a name with `/` in it is one of a folder
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("\n".join(["query,document,label", *rows]) + "\n", encoding="utf-8")
    rng = np.random.default_rng(0)
    vectors = folder / "vectors"
    vectors.mkdir(exist_ok=True)
    for role in ("corpus", "queries"):
        np.save(vectors / f"{role}.npy", rng.normal(size=(N_TEXTS, DIM)).astype(np.float32))
    (folder / "config.yaml").write_text("mlp: {hidden_layers: [8]}\n", encoding="utf-8")
    space = folder / "space.yaml"
    space.write_text(
        f"""name: quick
base: config.yaml
data:
  seen: [{json.dumps(f"csv:{table}")}]
  unseen_validation: []
  unseen_test: []
  encoder: {json.dumps(encoder or f"npy:{vectors}")}
budget: {budget}
fixed: {{warmup.steps: 0, model: mlp_twin}}
sampler: {{name: random, seed: 7}}
scheduler: {{name: none}}
top_k: 1
confirm_seeds: 0
parameters:
  optimizer.mlp_lr: {{type: float, low: 0.0003, high: 0.003, log: true}}
""",
        encoding="utf-8",
    )
    return space


NO_MODEL = 3
"""Exit code of a whole search whose trials leave no weights, as those here."""


def quick_search(
    space: Space, folder: Path, console: Console, options: SearchOptions
) -> StopReason | None:
    """Run a search whose trials do not train."""
    full = Path(os.environ.get("QUICK_FULL_FILE", "/nowhere"))

    def free() -> float:
        return 0.0 if full.exists() else free_memory()

    quick_options = replace(options, train=quick, clock=SuspendedClock(), free_memory=free)
    return search(space, folder, console, quick_options)


if __name__ == "__main__":
    running.search = quick_search
    run(tuning.search.app)
