"""Placement of a distance gate's centroids among the training queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from quantum_rerank.embeddings import Embeddings
from quantum_rerank.similarity import DistanceGate

_QUERIES_A_CENTROID = 8  # at least: a query that is a centroid has the distance 0
_MOST_QUERIES = 4096  # that the centroids are computed from


def place_gate(gate: DistanceGate, queries: Sequence[Embeddings], rng: np.random.Generator) -> None:
    """Set a gate's centroids by k-means over training queries, and their usual distances.

    Args:
        gate: The gate, changed in place.
        queries: (n, dim) L2-normalised float32, of each domain. Few queries make fewer
            centroids, repeated to fill the gate, which changes no distance.
        rng: Draws the queries and the first centroids.
    """
    from scipy.cluster.vq import kmeans

    everything = np.concatenate(queries)
    if len(everything) > _MOST_QUERIES:
        everything = everything[rng.choice(len(everything), _MOST_QUERIES, replace=False)]
    n_places = len(gate.centroids)
    n_centroids = min(n_places, max(len(everything) // _QUERIES_A_CENTROID, 1))
    start = everything[rng.choice(len(everything), n_centroids, replace=False)]
    centroids, _ = kmeans(everything.astype(np.float64), start.astype(np.float64))
    centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    gate.centroids.copy_(torch.from_numpy(np.resize(centroids, (n_places, centroids.shape[1]))))
    distances = gate.distances(torch.from_numpy(everything))
    gate.usual.copy_(distances.median())
    gate.spread.copy_(distances.std(correction=0).clamp(min=1e-6))
