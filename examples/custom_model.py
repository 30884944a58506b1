"""Add a model under a name of its own, and train it beside the hybrid.

    python examples/custom_model.py

For a search, declare the model as an entry point of an installed package: docs/models.md.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from quantum_rerank.config import load_config
from quantum_rerank.similarity import MODELS, Head, ModelConfig
from quantum_rerank.workflows.train import RunListener, train_run


class WeightedCosine(Head):
    """The cosine of embeddings whose dimensions have trained weights."""

    description = "cosine with a trained weight for each dimension"

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__(config, embedding_dim)
        self.weights = nn.Parameter(torch.ones(embedding_dim))

    def represent(self, embeddings: Tensor) -> Tensor:
        return normalize(embeddings * self.weights, dim=-1)

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return queries @ documents.mT


def main() -> None:
    """Train both models on the same data, seed and epochs, and print their scores."""
    MODELS.register("weighted_cosine", WeightedCosine)
    data = {"data.seen": ["csv:examples/clicks.csv"], "training.max_epochs": 3}
    config = load_config(
        Path("configs/training_config.yaml"),
        {"model": "weighted_cosine", "warmup.steps": 50, **data},
    )
    with TemporaryDirectory() as folder:
        finished = train_run(Path(folder) / "run", config, ["hybrid"], RunListener())
    for name, model in finished.results.measured.items():
        score = model.validation.objective
        print(f"{name}: {model.n_trained} weights, validation NDCG@10 {score:.4f}")


if __name__ == "__main__":
    main()
