"""Where the training queries lie, for a gate that asks how far another is from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from quantum_rerank.embeddings import Embeddings
from quantum_rerank.similarity import DistanceGate

_QUERIES_A_CENTROID = 8  # at the least: a query that is a centroid has no distance of its own
_MOST_QUERIES = 4096  # of whom the centroids are found


def place_gate(gate: DistanceGate, queries: Sequence[Embeddings], rng: np.random.Generator) -> None:
    """Set a gate's centroids by k-means over training queries, and the distances usual there.

    queries: (n, dim) L2-normalised float32, of each domain. Few of them make fewer centroids,
        repeated until all places of the gate are filled, which changes no distance.
    """
    from scipy.cluster.vq import kmeans

    everything = np.concatenate(queries)
    if len(everything) > _MOST_QUERIES:
        everything = everything[rng.choice(len(everything), _MOST_QUERIES, replace=False)]
    n_places = len(gate.centroids)
    n_found = min(n_places, max(len(everything) // _QUERIES_A_CENTROID, 1))
    start = everything[rng.choice(len(everything), n_found, replace=False)]
    found, _ = kmeans(everything.astype(np.float64), start.astype(np.float64))
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    gate.centroids.copy_(torch.from_numpy(np.resize(found, (n_places, found.shape[1]))))
    distances = gate.distances(torch.from_numpy(everything))
    gate.usual.copy_(distances.median())
    gate.spread.copy_(distances.std(correction=0).clamp(min=1e-6))
