"""Parts from outside the package: registered by a call or an entry point, used by name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from quantum_rerank.circuits import ENGINES, Engine, Weights
from quantum_rerank.circuits.engines.pure_torch import TorchEngine
from quantum_rerank.config import DataConfig, ExperimentConfig, LossConfig, OptimizerConfig
from quantum_rerank.errors import ConfigError
from quantum_rerank.export.bundle import Manifest, read_bundle, write_bundle
from quantum_rerank.similarity import MODELS, Head, ModelConfig
from quantum_rerank.training.config import LOSSES, OPTIMIZERS, SCHEDULES
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.loss_functions import Loss
from quantum_rerank.training.models import train_model
from quantum_rerank.training.schedule import RateSchedule
from quantum_rerank.training.trial_data import TrialData

SmallConfig = Callable[..., ExperimentConfig]


class HammingHead(Head):
    """A toy model: the share of equal signs after a linear map, smoothed by tanh."""

    description = "soft share of equal signs after a linear map"
    components = frozenset({"linear"})

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__(config, embedding_dim)
        self.projection = nn.Linear(embedding_dim, config.linear.rank)

    def represent(self, embeddings: Tensor) -> Tensor:
        return torch.tanh(self.projection(embeddings))

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return queries @ documents.mT / queries.shape[-1]


class CountingEngine(Engine):
    """A toy engine: that of torch, which counts its batches."""

    n_batches = 0

    def __init__(self, ansatz: object, precision: str, threads: int) -> None:
        self._engine = TorchEngine(ansatz, precision, threads)  # type: ignore[arg-type]

    def states(self, angles: Tensor, weights: Weights | None = None) -> Tensor:
        CountingEngine.n_batches += 1
        return self._engine.states(angles, weights)


def softplus_loss(config: LossConfig) -> Loss:
    """Build a toy loss: the logistic loss of every score."""

    def compute(scores: Tensor, grades: Tensor) -> Tensor:
        signs = torch.where(grades > 0, -1.0, 1.0)
        losses = nn.functional.softplus(signs * scores / config.temperature)
        return losses[grades >= 0].mean()

    return Loss(compute, sampling="in_batch")


class Halving(RateSchedule):
    """A toy schedule: half the rate after every epoch."""

    def factor(self, step: int) -> float:
        return float(0.5 ** (step // self.steps.per_epoch))


def final_rate(config: ExperimentConfig, data: TrialData) -> float:
    reports = list(make_trainer(config, data).epochs())
    return reports[-1].metrics["learning_rate"]


def test_a_model_from_outside_trains_by_its_name_and_comes_back_from_a_bundle(
    trial_data: TrialData,
    small_config: SmallConfig,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(MODELS, "hamming", HammingHead)
    trained = train_model(small_config({"linear.rank": 6}), "hamming", trial_data)
    assert isinstance(trained.head, HammingHead)
    assert trained.epochs == 3
    manifest = Manifest(
        config=trained.config,
        embedding_dim=trial_data.embedding_dim,
        fusion_weight=0.5,
        encoder_fingerprint="",
        data_fingerprint="",
        metrics={},
    )
    write_bundle(tmp_path / "bundle", trained.head.state_dict(), manifest)
    head, _ = read_bundle(tmp_path / "bundle")
    assert isinstance(head, HammingHead)
    assert HammingHead.description in (tmp_path / "bundle" / "README.md").read_text()


def test_an_engine_from_outside_runs_by_its_name(
    trial_data: TrialData, small_config: SmallConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "counting", CountingEngine)
    losses = {}
    for engine in ("counting", "torch"):
        config = small_config({"circuit.engine": engine, "training.max_epochs": 1})
        losses[engine] = next(make_trainer(config, trial_data).epochs()).metrics["train_loss"]
    assert CountingEngine.n_batches > 1
    assert losses["counting"] == losses["torch"]
    with pytest.raises(ConfigError, match="counting, which runs on one thread"):
        small_config({"circuit.engine": "counting", "circuit.threads": 2})


def test_a_loss_from_outside_is_minimised_by_its_name(
    trial_data: TrialData, small_config: SmallConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOSSES, "softplus", softplus_loss)
    settings = {"loss.name": "softplus", "loss.temperature": 0.5, "mlp.dropout": 0.0}
    reports = list(make_trainer(small_config(settings), trial_data).epochs())
    assert reports[-1].metrics["train_loss"] < reports[0].metrics["train_loss"]


def test_a_schedule_from_outside_sets_the_rates_by_its_name(
    trial_data: TrialData, small_config: SmallConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCHEDULES, "halving", Halving)
    config = small_config({"optimizer.schedule": "halving"})
    assert final_rate(config, trial_data) == pytest.approx(0.001 / 8)


def test_an_optimizer_from_outside_takes_steps_by_its_name(
    trial_data: TrialData, small_config: SmallConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OPTIMIZERS, "nadam", torch.optim.NAdam)
    assert OptimizerConfig(name="nadam").name == "nadam"
    config = small_config({"optimizer.name": "nadam"})
    trainer = make_trainer(config, trial_data)
    start = [weights.clone() for weights in trainer.model.head.parameters()]
    next(trainer.epochs())
    assert not all(map(torch.equal, start, trainer.model.head.parameters()))


def test_the_schema_refuses_a_name_that_is_not_registered_and_suggests_the_nearest(
    small_config: SmallConfig,
) -> None:
    with pytest.raises(ConfigError) as caught:
        small_config({"loss.name": "tripet"})
    (problem,) = caught.value.problems
    assert problem.startswith("`loss.name` is 'tripet', but must be one of 'triplet', ")
    assert all(f"'{name}'" in problem for name in LOSSES)
    assert problem.endswith("Did you mean `triplet`?")


_PACKAGE = """
import torch
from quantum_rerank.training.loss_functions import Loss

def quadratic(config):
    def compute(scores, grades):
        return ((scores - (grades > 0).float()) ** 2)[grades >= 0].mean()
    return Loss(compute, sampling="sampled")
"""

_SCRIPT = """
import sys
from quantum_rerank.config import DataConfig, ExperimentConfig, override
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.hybrid_trainer import make_trainer

data = DataConfig.model_validate_json(sys.argv[1])
small = {"model": "mlp_twin", "mlp.hidden_layers": [8], "warmup.steps": 0, "training.max_epochs": 1}
config = override(ExperimentConfig(data=data), {**small, "loss.name": "quadratic"})
trial_data = prepare(data, embedding_source(data.encoder)).trial
print(next(make_trainer(config, trial_data).epochs()).metrics["train_loss"])
"""


@pytest.mark.extended
def test_a_loss_of_an_installed_package_is_found_by_its_entry_point(
    data_config: DataConfig, tmp_path: Path
) -> None:
    packages = tmp_path / "packages"
    info = packages / "toy_losses-1.0.dist-info"
    info.mkdir(parents=True)
    (packages / "toy_losses.py").write_text(_PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-losses\nVersion: 1.0\n")
    entries = "[quantum_rerank.losses]\nquadratic = toy_losses:quadratic\n"
    (info / "entry_points.txt").write_text(entries)
    result = subprocess.run(
        [sys.executable, "-c", _SCRIPT, data_config.model_dump_json()],
        env=os.environ | {"PYTHONPATH": f"{packages}{os.pathsep}{Path(__file__).parents[1]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert 0.0 < float(result.stdout) < 1.0
