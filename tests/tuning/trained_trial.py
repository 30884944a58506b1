"""A trial of a study that tests fill themselves, with real weights."""

from __future__ import annotations

from optuna import Trial

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.training.best_model import best_model_bytes
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.trial_data import TrialData
from tuning.records import CHECKPOINT
from tuning.study.trial_files import BEST_EPOCH, TrialFiles, origin_record


def train_an_epoch(
    trial: Trial, config: ExperimentConfig, data: TrialData, files: TrialFiles, run: str
) -> None:
    """Train a trial for an epoch and store its weights, as a search does."""
    trainer = make_trainer(config, data)
    next(trainer.epochs())
    assert trainer.best is not None
    maker = origin_record(run, trial.number, trial.number)
    content = best_model_bytes(trainer.best, config, data.embedding_dim, maker)
    files.write(trial.number, BEST_EPOCH, content)
    trial.set_user_attr(CHECKPOINT, trainer.best.epoch)
