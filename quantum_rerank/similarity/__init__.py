"""Similarity of two texts: the models, and their fusion with the cosine."""

from quantum_rerank.similarity.fusion import (
    FUSION_GRID,
    FusedSimilarity,
    fuse,
    gated,
    represent,
    score,
    score_represented,
)
from quantum_rerank.similarity.gate import FALLS, DistanceGate
from quantum_rerank.similarity.heads import MODELS, Head, build_head

__all__ = [
    "FALLS",
    "FUSION_GRID",
    "MODELS",
    "DistanceGate",
    "FusedSimilarity",
    "Head",
    "build_head",
    "fuse",
    "gated",
    "represent",
    "score",
    "score_represented",
]
