"""The classical controls that a circuit is compared with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from quantum_rerank.similarity.angle_predictor import mlp
from quantum_rerank.similarity.config import ModelConfig
from quantum_rerank.similarity.heads.head import Head

_MEDIAN_OF = 256  # texts


class CosineHead(Head):
    """The embeddings as they are: the baseline of every comparison."""

    description = "cosine of the embeddings as they are"
    is_trainable = False

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__(config, embedding_dim)

    def represent(self, embeddings: Tensor) -> Tensor:
        return normalize(embeddings, dim=-1)

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return queries @ documents.mT


class MlpTwinHead(Head):
    """The hybrid's classical twin: the same MLP and number of outputs, cosine for circuit."""

    description = "the hybrid with the cosine of its MLP's outputs for its circuit"
    components = frozenset({"mlp"})

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__(config, embedding_dim)
        self.layers = mlp(embedding_dim, self.n_outputs(config), config.mlp)

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

    description = "the twin with a Gaussian kernel of its outputs' distance for the cosine"
    components = frozenset({"mlp"})

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__(config, embedding_dim)
        self.layers = mlp(embedding_dim, self.n_outputs(config), config.mlp)
        self.log_bandwidth = nn.Parameter(torch.tensor(0.0))
        # Not the global generator: the next weights drawn are those of a model without bandwidth.
        texts = torch.randn(256, embedding_dim, generator=torch.Generator().manual_seed(0))
        self.started(normalize(texts, dim=1))

    def started(self, embeddings: Tensor) -> None:
        """Set the bandwidth to the median distance of texts, (n, embedding_dim)."""
        self.eval()
        with torch.no_grad():
            outputs = self.layers(embeddings[:_MEDIAN_OF])
            median = float(torch.pdist(outputs).median())
            self.log_bandwidth.fill_(math.log(max(median, 1e-6)))
        self.train()

    def represent(self, embeddings: Tensor) -> Tensor:
        return self.layers(embeddings) / self.log_bandwidth.exp()  # type: ignore[no-any-return]

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        # Not by a matrix product, which loses distances that are small beside the outputs.
        exact = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(queries, documents, compute_mode=exact)
        return torch.exp(-0.5 * distances.square())


class LinearProjectionHead(Head):
    """One linear map, and the cosine there: the twin without hidden layers."""

    description = "cosine after one linear map"
    components = frozenset({"linear"})

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__(config, embedding_dim)
        self.projection = nn.Linear(embedding_dim, config.linear.rank, bias=False)

    def represent(self, embeddings: Tensor) -> Tensor:
        return normalize(self.projection(embeddings), dim=-1)

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return queries @ documents.mT


class DiscriminantHead(Head):
    """A linear map in closed form, and the squared cosine there, the fidelity of real states.

    See `training.discriminant`. Nothing is trained.
    """

    description = "squared cosine after the linear discriminant of the training queries"
    components = frozenset({"linear"})
    is_trainable = False
    projection: Tensor

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__(config, embedding_dim)
        self.register_buffer("projection", torch.eye(config.linear.rank, embedding_dim))

    def discriminants(self) -> list[tuple[Tensor, float]]:
        return [(self.projection, self.output_length)]

    def represent(self, embeddings: Tensor) -> Tensor:
        return normalize(embeddings @ self.projection.T, dim=-1)

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        return (queries @ documents.mT).square()


class LowRankBilinearHead(Head):
    """tanh(q^T U V^T d): queries and documents are each mapped by their matrix.

    Beside the cosine it is the low-rank model of supervised semantic indexing (Bai et al.,
    CIKM 2009), q^T (U V^T + I) d; the tanh bounds it. U and V start equal, as a random
    projection, scaled so that a text's own value is about tanh(1).

    The only model whose affinity is not symmetric: it represents every text by both maps.
    """

    description = "a bilinear form of low rank, of queries with documents"
    components = frozenset({"linear"})

    def __init__(self, config: ModelConfig, embedding_dim: int) -> None:
        super().__init__(config, embedding_dim)
        rank = config.linear.rank
        self.of_queries = nn.Linear(embedding_dim, rank, bias=False)
        self.of_documents = nn.Linear(embedding_dim, rank, bias=False)
        nn.init.orthogonal_(self.of_queries.weight, gain=max(embedding_dim / rank, 1.0) ** 0.5)
        self.of_documents.load_state_dict(self.of_queries.state_dict())

    def represent(self, embeddings: Tensor) -> Tensor:
        unit = normalize(embeddings, dim=-1)
        return torch.cat([self.of_queries(unit), self.of_documents(unit)], dim=-1)

    def compare(self, queries: Tensor, documents: Tensor) -> Tensor:
        left, _ = queries.chunk(2, dim=-1)
        _, right = documents.chunk(2, dim=-1)
        return torch.tanh(left @ right.mT)
