"""Similarity of two texts: the models, and their fusion with the cosine."""

from typing import TYPE_CHECKING

from quantum_rerank.lazy_exports import lazy_exports
from quantum_rerank.similarity.config import FusionConfig, LinearConfig, MlpConfig, ModelConfig
from quantum_rerank.similarity.models import MODELS

if TYPE_CHECKING:
    from quantum_rerank.similarity.fusion import (
        FUSION_GRID,
        FusedSimilarity,
        ScoreParts,
        fuse,
        gate_shares,
        represent,
        represent_query,
        score,
        score_parts,
        score_represented,
    )
    from quantum_rerank.similarity.gate import NearestGate
    from quantum_rerank.similarity.heads import Head, build_head
    from quantum_rerank.similarity.lexical_part import LexicalPart
    from quantum_rerank.similarity.loading import build_for_weights, require_usable
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "FUSION_GRID": "fusion",
            "NearestGate": "gate",
            "FusedSimilarity": "fusion",
            "Head": "heads",
            "build_for_weights": "loading",
            "build_head": "heads",
            "LexicalPart": "lexical_part",
            "fuse": "fusion",
            "gate_shares": "fusion",
            "ScoreParts": "fusion",
            "score_parts": "fusion",
            "represent": "fusion",
            "represent_query": "fusion",
            "require_usable": "loading",
            "score": "fusion",
            "score_represented": "fusion",
        },
    )

__all__ = [
    "FUSION_GRID",
    "MODELS",
    "FusedSimilarity",
    "FusionConfig",
    "Head",
    "LexicalPart",
    "LinearConfig",
    "MlpConfig",
    "ModelConfig",
    "NearestGate",
    "ScoreParts",
    "build_for_weights",
    "build_head",
    "fuse",
    "gate_shares",
    "represent",
    "represent_query",
    "require_usable",
    "score",
    "score_parts",
    "score_represented",
]
