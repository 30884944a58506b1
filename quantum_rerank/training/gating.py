"""Placement of a gate among the training queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from quantum_rerank.embeddings import Embeddings
from quantum_rerank.similarity import NearestGate
from quantum_rerank.similarity.gate import N_NEAREST

MOST_QUERIES = 4096
"""Training queries that a gate keeps at most, drawn at random."""

QUANTILES = (0.1, 0.25, 0.5, 0.75)
"""Quantiles of the training queries' nearness to each other that `high` is chosen from."""


def place_gate(gate: NearestGate, queries: Sequence[Embeddings], rng: np.random.Generator) -> None:
    """Set the training queries of a gate, and the values that its `high` is chosen from.

    Args:
        gate: The gate, changed in place.
        queries: (n, dim) L2-normalised float32, of each domain.
        rng: Draws the queries, if there are many.
    """
    everything = np.concatenate(queries)
    if len(everything) > MOST_QUERIES:
        everything = everything[rng.choice(len(everything), MOST_QUERIES, replace=False)]
    gate.queries = torch.from_numpy(np.array(everything, dtype=np.float32))
    n_others = len(everything) - 1
    if not n_others:
        return
    cosines = everything @ everything.T
    n_nearest = min(N_NEAREST, n_others)
    np.fill_diagonal(cosines, 0.0)
    gate.low.fill_(float(cosines.sum()) / (len(everything) * n_others))
    np.fill_diagonal(cosines, -np.inf)
    nearness = np.partition(cosines, -n_nearest, axis=1)[:, -n_nearest:].mean(axis=1)
    gate.levels = tuple(np.quantile(nearness, QUANTILES).tolist())
