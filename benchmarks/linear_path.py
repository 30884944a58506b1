"""Models that start as the linear discriminant, against the same models with a warm-up.

    python -m benchmarks.linear_path

Each model of configs/tuned_config.yaml is trained on the data of search_spaces/default.yaml in both
ways, on seeds that also divide the queries anew into train and validation. Test queries are scored
at the best epoch of each training. `seconds` is processor time, warm-up and all.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import torch
import typer

from benchmarks.measuring import AsJson, show, table
from benchmarks.warm_up import interval
from quantum_rerank.config import ExperimentConfig, load_config, override
from quantum_rerank.embeddings import source_of
from quantum_rerank.evaluation import NDCG
from quantum_rerank.evaluation.ranking import score_on
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.models import train_model
from tuning.space.file import load_space

_ROOT = Path(__file__).parents[1]
_PROCESSES = 2
MODELS = ("discriminant", "hybrid_amplitude", "hybrid", "mlp_twin", "rbf")
STARTS: dict[str, dict[str, Any]] = {
    "warm-up": {"mlp.linear_path": "none", "warmup.steps": 800, "warmup.weight": 0.0582},
    "linear path": {"mlp.linear_path": "discriminant"},
}

_WITHOUT_FIRST_STAGE: dict[str, Any] = {"data.lexical": "none", "fusion.gate": "none"}
_LONG: dict[str, Any] = {
    "optimizer.mlp_lr": 0.000832,  # found with a warm-up
    "training.max_epochs": 30,
    "training.early_stopping_patience": 30,
    "training.max_batch_documents": 1500,
}


@dataclass(frozen=True)
class Trained:
    """A training.

    Attributes:
        objective: Best validation objective.
        test: NDCG@10 on the test queries of the domains trained on.
        unseen: NDCG@10 on the test queries of other domains.
        epoch: Best epoch.
        seconds: Processor time.
    """

    objective: float
    test: float
    unseen: float
    epoch: int
    seconds: float


def train(config: ExperimentConfig, model: str) -> Trained:
    """Train a model, and score it on test queries."""
    torch.set_num_threads(1)
    prepared = prepare(config.data, source_of(config.data))
    began = time.process_time()
    trained = train_model(config, model, prepared.trial)
    seconds = time.process_time() - began
    weight = trained.validation.fusion_weight
    test, unseen = (
        score_on(trained.head, weight, sets).metrics[NDCG] for sets in prepared.test_roles.values()
    )
    return Trained(trained.validation.objective, test, unseen, trained.best_epoch, seconds)


def configured(seed: int, start: str) -> ExperimentConfig:
    """Return the tuned configuration with a start, a seed and the division of the seed."""
    tuned = load_config(_ROOT / "configs" / "tuned_config.yaml")
    data = load_space(_ROOT / "search_spaces" / "default.yaml", {}).base.data
    changes = {"seed": seed, "data.validation_seed": seed, "circuit.engine": "statevector"}
    tuned = tuned.model_copy(update={"data": data})
    return override(tuned, {**changes, **_WITHOUT_FIRST_STAGE, **_LONG, **STARTS[start]})


def main(
    seeds: Annotated[int, typer.Option(min=2, help="Number of seeds.")] = 5,
    model: Annotated[list[str] | None, typer.Option(help="Only this model. Repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print quality and time of both starts, and their paired differences."""
    keys = [
        (name, start)
        for name in model or MODELS
        for start in STARTS
        if (name, start) != ("discriminant", "warm-up")  # the same twice
    ]
    jobs = [(key, seed) for seed in range(1, seeds + 1) for key in keys]
    with ProcessPoolExecutor(_PROCESSES) as pool:
        configs = [configured(seed, start) for (_, start), seed in jobs]
        found = dict(zip(jobs, pool.map(train, configs, [m for (m, _), _ in jobs]), strict=True))
    results = {key: [found[key, seed] for seed in range(1, seeds + 1)] for key in keys}
    rows = [(*key, *_cells(results[key])) for key in keys]
    differences = [
        (name, *_differences(results[name, "linear path"], results[name, "warm-up"]))
        for name in model or MODELS
        if (name, "warm-up") in results
    ]
    values = ("validation", "test", "unseen test")
    tables = [
        table(
            f"{seeds} seeds and divisions",
            ("model", "start", *values, "best epoch", "seconds"),
            rows,
        ),
        table("linear path minus warm-up, 95 % interval", ("model", *values), differences),
    ]
    record = {"|".join(key): [asdict(one) for one in of] for key, of in results.items()}
    show(record, tables, as_json)


def _cells(trained: list[Trained]) -> tuple[str, ...]:
    return (
        f"{fmean(one.objective for one in trained):.4f}",
        f"{fmean(one.test for one in trained):.4f}",
        f"{fmean(one.unseen for one in trained):.4f}",
        f"{fmean(one.epoch for one in trained):.0f}",
        f"{fmean(one.seconds for one in trained):.1f}",
    )


def _differences(ours: list[Trained], others: list[Trained]) -> list[str]:
    cells = []
    for name in ("objective", "test", "unseen"):
        pairs = zip(ours, others, strict=True)
        mean, low, high = interval([getattr(a, name) - getattr(b, name) for a, b in pairs])
        cells.append(f"{mean:+.4f} ({low:+.4f} to {high:+.4f})")
    return cells


if __name__ == "__main__":
    typer.run(main)
