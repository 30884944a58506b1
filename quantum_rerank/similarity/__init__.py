"""Similarity of two texts: the models, and their fusion with the cosine."""

from typing import TYPE_CHECKING

from quantum_rerank.lazy_exports import lazy_exports
from quantum_rerank.similarity.config import FusionConfig, LinearConfig, MlpConfig, ModelConfig
from quantum_rerank.similarity.models import MODELS

if TYPE_CHECKING:
    from quantum_rerank.similarity.fusion import (
        FUSION_GRID,
        FusedSimilarity,
        first_stage,
        fuse,
        gated,
        represent,
        score,
        score_represented,
    )
    from quantum_rerank.similarity.gate import FALLS, DistanceGate
    from quantum_rerank.similarity.heads import Head, build_head
    from quantum_rerank.similarity.lexical_part import LexicalPart
    from quantum_rerank.similarity.loading import build_for_weights, require_finite
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "FALLS": "gate",
            "FUSION_GRID": "fusion",
            "DistanceGate": "gate",
            "FusedSimilarity": "fusion",
            "Head": "heads",
            "build_for_weights": "loading",
            "build_head": "heads",
            "LexicalPart": "lexical_part",
            "first_stage": "fusion",
            "fuse": "fusion",
            "gated": "fusion",
            "represent": "fusion",
            "require_finite": "loading",
            "score": "fusion",
            "score_represented": "fusion",
        },
    )

__all__ = [
    "FALLS",
    "FUSION_GRID",
    "MODELS",
    "DistanceGate",
    "FusedSimilarity",
    "FusionConfig",
    "Head",
    "LexicalPart",
    "LinearConfig",
    "MlpConfig",
    "ModelConfig",
    "build_for_weights",
    "build_head",
    "first_stage",
    "fuse",
    "gated",
    "represent",
    "require_finite",
    "score",
    "score_represented",
]
