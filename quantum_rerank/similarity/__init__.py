"""Similarity of two texts: the arms, and their fusion with the cosine."""

from quantum_rerank.similarity.fusion import (
    FUSION_GRID,
    FusedSimilarity,
    fuse,
    represent,
    score,
    score_represented,
)
from quantum_rerank.similarity.heads import ARMS, Head, build_head

__all__ = [
    "ARMS",
    "FUSION_GRID",
    "FusedSimilarity",
    "Head",
    "build_head",
    "fuse",
    "represent",
    "score",
    "score_represented",
]
