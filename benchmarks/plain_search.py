"""A plain search, written as in the documentation of Ray Tune, OptunaSearch, ASHA and W&B.

    python -m benchmarks.plain_search SPACE FOLDER

It is the baseline of `benchmarks.search`. The trial is the project's trainer with the same data
and parameters, and with states by a broadcast `default.qubit` QNode. Everything else is the code
of the libraries.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import typer

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.machine import cores
from tuning.space import CategoricalParameter
from tuning.space.file import load_space


def trial(params: dict[str, Any], base: ExperimentConfig, data: Any) -> None:
    """Train a suggested configuration and report its epochs."""
    import torch
    from ray import tune

    from quantum_rerank.training.hybrid_trainer import make_trainer

    torch.set_num_threads(1)
    spent, started = 0.0, time.monotonic()
    for report in make_trainer(override(base, params), data).epochs():
        spent += time.monotonic() - started
        metrics = {
            "objective": report.metrics["objective"],
            "train_loss": report.metrics["train_loss"],
        }
        tune.report({"epoch": report.epoch, "training_seconds": spent, **metrics})
        started = time.monotonic()


def main(space: Path, folder: Path) -> None:
    """Run the search and write its times to FOLDER/took.json."""
    import ray
    from ray import tune
    from ray.air.integrations.wandb import WandbLoggerCallback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from quantum_rerank.embeddings import embedding_source
    from quantum_rerank.training.data_manager import prepare

    os.environ["WANDB_MODE"] = "offline"
    os.environ["WANDB_DIR"] = str(folder)
    loaded = load_space(space, {})
    base = override(loaded.base, {"circuit.engine": "qnode"})
    prepared = prepare(base.data, embedding_source(base.data.encoder))
    distributions = {
        name: (tune.loguniform if parameter.log else tune.uniform)(parameter.low, parameter.high)
        for name, parameter in loaded.parameters.items()
        if not isinstance(parameter, CategoricalParameter)
    }
    ray.init(num_cpus=cores(), include_dashboard=False, log_to_driver=False)
    started = time.time()
    results = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(trial, base=base, data=prepared.trial), {"cpu": 1}
        ),
        param_space=distributions,
        tune_config=tune.TuneConfig(
            metric="objective",
            mode="max",
            search_alg=OptunaSearch(),
            scheduler=ASHAScheduler(
                max_t=loaded.header.budget.epochs,
                grace_period=loaded.header.scheduler.grace_period,
                reduction_factor=loaded.header.scheduler.reduction_factor,
            ),
            num_samples=loaded.header.budget.trials,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            verbose=0,
            callbacks=[WandbLoggerCallback(project="plain", dir=str(folder))],
        ),
    ).fit()
    took = {
        "trials": len(results),
        "epochs": sum(int(result.metrics["training_iteration"]) for result in results),
        "training_seconds": sum(float(result.metrics["training_seconds"]) for result in results),
        "trials_phase_seconds": time.time() - started,
        "ended": time.time(),
    }
    (folder / "took.json").write_text(json.dumps(took))


if __name__ == "__main__":
    typer.run(main)
