"""Metrics of a ranking, and the comparison of several."""

from quantum_rerank.evaluation.candidate_metrics import CandidateMetrics
from quantum_rerank.evaluation.comparison import Comparison, compare, holm
from quantum_rerank.evaluation.leaderboard import (
    COSINE,
    Scores,
    difference_table,
    leaderboard,
    over_domains,
)
from quantum_rerank.evaluation.metrics import MAP, METRICS, NDCG, Evaluator, Qrels

__all__ = [
    "COSINE",
    "MAP",
    "METRICS",
    "NDCG",
    "CandidateMetrics",
    "Comparison",
    "Evaluator",
    "Qrels",
    "Scores",
    "compare",
    "difference_table",
    "holm",
    "leaderboard",
    "over_domains",
]
