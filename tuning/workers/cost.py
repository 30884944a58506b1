"""Cost of a model in use, the second objective of a search."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from quantum_rerank.similarity import Head

CostName = Literal["parameters", "latency"]
UNITS = {"parameters": "trained parameters", "latency": "ms per query of 100 candidates"}

_CANDIDATES = 100
_REPEATS, _UNMEASURED = 50, 5


def cost_of(head: Head, against: CostName, embedding_dim: int) -> float:
    """Return the number of trained parameters of a model, or its latency in milliseconds.

    Args:
        head: Model.
        against: Kind of the cost.
        embedding_dim: Length of an embedding.

    >>> from quantum_rerank.config import ExperimentConfig, override
    >>> from quantum_rerank.similarity import build_head
    >>> small = {"model": "mlp_twin", "mlp.hidden_layers": [8], "mlp.outputs": 8}
    >>> head = build_head(override(ExperimentConfig(), small), 16)
    >>> cost_of(head, "parameters", 16)
    208.0
    """
    return float(head.n_trained) if against == "parameters" else latency(head, embedding_dim)


def latency(head: Head, embedding_dim: int, seed: int = 0) -> float:
    """Measure the time to represent a query and score 100 candidates.

    The candidates' states are computed before, as in use. Trials that run at the same time slow it
    down; the median reduces their effect.

    Args:
        head: Model.
        embedding_dim: Length of an embedding.
        seed: Seed of the random embeddings.

    Returns:
        Milliseconds, the median of 50 queries.
    """
    import numpy as np

    from quantum_rerank.similarity import represent, represent_query, score_represented

    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(_CANDIDATES + _UNMEASURED + _REPEATS, embedding_dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    documents, queries = np.split(rows.astype(np.float32), [_CANDIDATES])
    was_training = head.training
    head.eval()
    states, taken = represent(head, documents), []
    for query in queries:
        started = time.perf_counter()
        score_represented(head, 0.5, represent_query(head, query), documents, states)
        taken.append(time.perf_counter() - started)
    head.train(was_training)
    return round(1000.0 * float(np.median(taken[_UNMEASURED:])), 4)
