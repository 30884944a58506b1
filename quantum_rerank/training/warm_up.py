"""The warm-up as a stage that trainings of the same model share, so that it is computed once."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from quantum_rerank.config import ExperimentConfig, flat
from quantum_rerank.errors import BundleError, FilesError
from quantum_rerank.similarity import FusedSimilarity
from quantum_rerank.training.batch_loss import BatchLoss
from quantum_rerank.training.batches import CorpusBatches
from quantum_rerank.training.checked import checked_number, checked_tensor, checked_tensors
from quantum_rerank.training.serialization import dumps, loads, require_maker

# Sections and keys that have no effect before the first epoch.
_AFTER = ("loss.", "negatives.", "training.", "data.")
_AFTER_KEYS = {"seed", "fusion.initial_weight", "warmup.weight", "warmup.seed"}
_CLIPPING = "optimizer.gradient_clipping"  # the only key of its section that the warm-up reads

log = logging.getLogger(__name__)


class WarmUpStore(Protocol):
    """Finished warm-ups of the trainings on the same data, by their key.

    Only warm-ups with a seed of their own are shared.
    """

    @property
    def run(self) -> str:
        """Identifier of the run that the trainings belong to."""

    def versions(self, key: str) -> Iterator[bytes]:
        """Yield the versions of a warm-up, the newest first."""

    def write(self, key: str, content: bytes) -> None:
        """Write a warm-up."""


def initial_seed(config: ExperimentConfig) -> int:
    """Return the seed of the initial weights and of the warm-up."""
    return config.seed if config.warmup.seed is None else config.warmup.seed


def warm_up_key(config: ExperimentConfig) -> str:
    """Return a SHA-256 of everything that decides the outcome of a warm-up, but the data.

    Args:
        config: Configuration of a training.

    >>> from quantum_rerank.config import override
    >>> shared = override(ExperimentConfig(), {"warmup.seed": 0, "warmup.dropout": 0.1})
    >>> later = override(shared, {"seed": 8, "optimizer.mlp_lr": 0.01, "mlp.dropout": 0.3})
    >>> warm_up_key(later) == warm_up_key(shared)
    True
    """
    settings = {key: value for key, value in flat(config).items() if _is_used(key)}
    if config.warmup.dropout is not None:
        del settings["mlp.dropout"]
    settings["seed"] = initial_seed(config)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _is_used(key: str) -> bool:
    if key.startswith("optimizer."):
        return key == _CLIPPING
    return not key.startswith(_AFTER) and key not in _AFTER_KEYS


class WarmUp:
    """Label-free start of a training: affinities within a batch follow the cosine neighbours.

    Args:
        model: Model with its initial weights.
        corpora: Batches of bare texts.
        loss: Loss of the texts.
        config: Configuration of the training.
        store: Finished warm-ups, or None to compute it in any case.
    """

    def __init__(
        self,
        model: FusedSimilarity,
        corpora: CorpusBatches,
        loss: BatchLoss,
        config: ExperimentConfig,
        store: WarmUpStore | None,
    ) -> None:
        self._model, self._corpora, self._loss = model, corpora, loss
        self._config = config
        self._store = store if config.warmup.seed is not None else None
        self._key = warm_up_key(config)

    def run(self, update: Callable[[Tensor, torch.optim.Optimizer, str], Any]) -> float | None:
        """Train the head, or load the weights of the same warm-up that was done before.

        The result is the same in both cases, bit for bit. A model that starts as the discriminant
        needs no warm-up.

        Args:
            update: Takes a step: called with the loss, the optimizer and a name of the step.

        Returns:
            Seconds of the warm-up that was loaded; None if it was done here.
        """
        parameters = [p for p in self._model.head.parameters() if p.requires_grad]
        saved = None
        if parameters and self._config.warmup.steps and not self._model.head.discriminants():
            saved = self._loaded()
            if saved is None:
                started = time.monotonic()
                self._train(parameters, update)
                self._write(time.monotonic() - started)
        if self._config.warmup.seed is not None:  # the seeds differ from here on
            torch.manual_seed(self._config.seed)
        return saved

    def _train(
        self,
        parameters: list[nn.Parameter],
        update: Callable[[Tensor, torch.optim.Optimizer, str], Any],
    ) -> None:
        optimizer = torch.optim.Adam(parameters, lr=self._config.warmup.learning_rate, fused=True)
        self._model.train()
        with _dropout(self._model.head, self._config.warmup.dropout):
            for step in range(self._config.warmup.steps):
                texts = self._corpora.next()
                # The loss has no name: a name would keep its graph in memory for another step.
                update(self._loss.of_texts(texts), optimizer, f"step {step + 1} of the warm-up")

    def _write(self, seconds: float) -> None:
        if self._store is None:
            return
        content = dumps(
            {
                "key": self._key,
                "run": self._store.run,
                "seconds": round(seconds, 3),
                "head": self._model.head.state_dict(),
                "corpora": self._corpora.state_dict(),
                "torch_generator": torch.get_rng_state(),
            }
        )
        try:
            self._store.write(self._key, content)
        except FilesError as error:  # a full disk, or another trial that writes the same
            log.warning("The warm-up is not shared: %s", error)

    def _loaded(self) -> float | None:
        """Load the warm-up from the store; None if it is not there or cannot be used."""
        if self._store is None:
            return None
        made_by = {"key": self._key, "run": self._store.run}
        for content in self._store.versions(self._key):
            before = self._corpora.state_dict()
            try:
                return self._load(loads(content, "The warm-up"), made_by)
            except (BundleError, KeyError, TypeError, ValueError, RuntimeError) as error:
                self._corpora.load_state_dict(before)
                log.warning("A shared warm-up is done again: %s", error)
        return None

    def _load(self, record: Mapping[str, Any], made_by: Mapping[str, str]) -> float:
        require_maker(record, made_by, "The warm-up")
        seconds = checked_number(record["seconds"], "seconds")
        head = checked_tensors(record["head"], self._model.head.state_dict())
        generator = torch.get_rng_state()
        generator = checked_tensor(record["torch_generator"], generator, "torch_generator")
        self._corpora.load_state_dict(record["corpora"])
        torch.set_rng_state(generator)
        self._model.head.load_state_dict(head)
        return seconds


@contextmanager
def _dropout(head: nn.Module, rate: float | None) -> Iterator[None]:
    """Set the rate of all dropout layers in the block; None leaves them as they are."""
    layers = [layer for layer in head.modules() if isinstance(layer, nn.Dropout)]
    rates = [layer.p for layer in layers]
    try:
        for layer in layers if rate is not None else ():
            layer.p = float(rate or 0.0)
        yield
    finally:
        for layer, previous in zip(layers, rates, strict=True):
            layer.p = previous
