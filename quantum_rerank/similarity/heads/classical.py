"""The classical controls: what a circuit has to be better than to be worth its name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from quantum_rerank.similarity.angle_predictor import mlp
from quantum_rerank.similarity.heads.head import Head


class CosineHead(Head):
    """The embeddings as they are: the baseline that every result stands beside."""

    def represent(self, embeddings: Tensor) -> Tensor:
        return normalize(embeddings, dim=-1)

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return queries @ documents.mT


class MlpTwinHead(Head):
    """The hybrid's classical twin: the same trunk and number of outputs, cosine for circuit."""

    def __init__(
        self, embedding_dim: int, hidden_layers: Sequence[int], dropout: float, n_outputs: int
    ) -> None:
        super().__init__()
        self.layers = mlp(embedding_dim, hidden_layers, n_outputs, dropout)

    def represent(self, embeddings: Tensor) -> Tensor:
        return normalize(self.layers(embeddings), dim=-1)

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return queries @ documents.mT


class GaussianKernelHead(Head):
    """The twin's outputs x, y compared by exp(-|x - y|^2 / (2 s^2)), with a trained bandwidth s.

    s starts at the median distance of random texts (the median heuristic: Garreau,
    Jitkrittum and Kanagawa, arXiv:1707.07269). An untrained MLP's outputs lie so close
    together that at s = 1 every affinity would be 1.
    """

    def __init__(
        self, embedding_dim: int, hidden_layers: Sequence[int], dropout: float, n_outputs: int
    ) -> None:
        super().__init__()
        self.layers = mlp(embedding_dim, hidden_layers, n_outputs, dropout)
        self.log_bandwidth = nn.Parameter(torch.tensor(0.0))
        # A generator of its own: the next weights drawn are those of a model without bandwidth.
        texts = torch.randn(256, embedding_dim, generator=torch.Generator().manual_seed(0))
        self.eval()
        with torch.no_grad():
            outputs = self.represent(normalize(texts, dim=1))
            median = float(torch.pdist(outputs).median())
            self.log_bandwidth.fill_(math.log(max(median, 1e-6)))
        self.train()

    def represent(self, embeddings: Tensor) -> Tensor:
        return self.layers(embeddings) / self.log_bandwidth.exp()  # type: ignore[no-any-return]

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        # Not by a matrix product, which loses what is small beside the outputs' common part.
        exact = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(queries, documents, compute_mode=exact)
        return torch.exp(-0.5 * distances.square())


class LinearProjectionHead(Head):
    """One linear map, and the cosine there: what is left of the twin without hidden layers."""

    def __init__(self, embedding_dim: int, rank: int) -> None:
        super().__init__()
        self.projection = nn.Linear(embedding_dim, rank, bias=False)

    def represent(self, embeddings: Tensor) -> Tensor:
        return normalize(self.projection(embeddings), dim=-1)

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return queries @ documents.mT


class LowRankBilinearHead(Head):
    """tanh(q^T U V^T d): queries and documents are mapped each by a matrix of their own.

    Beside the cosine it is the low-rank model of supervised semantic indexing (Bai et al.,
    CIKM 2009), q^T (U V^T + I) d; the tanh bounds it. U and V start equal, as a random
    projection, scaled so that a text's own value is about tanh(1).

    The one model whose affinity is not symmetric: it keeps both views of every text.
    """

    def __init__(self, embedding_dim: int, rank: int) -> None:
        super().__init__()
        self.of_queries = nn.Linear(embedding_dim, rank, bias=False)
        self.of_documents = nn.Linear(embedding_dim, rank, bias=False)
        nn.init.orthogonal_(self.of_queries.weight, gain=max(embedding_dim / rank, 1.0) ** 0.5)
        self.of_documents.load_state_dict(self.of_queries.state_dict())

    def represent(self, embeddings: Tensor) -> Tensor:
        unit = normalize(embeddings, dim=-1)
        return torch.cat([self.of_queries(unit), self.of_documents(unit)], dim=-1)

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        asked, _ = queries.chunk(2, dim=-1)
        _, found = documents.chunk(2, dim=-1)
        return torch.tanh(asked @ found.mT)
