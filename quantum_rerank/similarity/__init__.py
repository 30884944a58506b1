"""Similarity of two texts: the arms, and their fusion with the cosine."""

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
from quantum_rerank.similarity.heads import ARMS, Head, build_head

__all__ = [
    "ARMS",
    "FALLS",
    "FUSION_GRID",
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
