"""Metrics of a ranking, and the comparison of two rankings."""

from quantum_rerank.evaluation.comparison import Comparison, compare
from quantum_rerank.evaluation.metrics import DEPTH, METRICS, NDCG, Evaluator, Qrels

__all__ = ["DEPTH", "METRICS", "NDCG", "Comparison", "Evaluator", "Qrels", "compare"]
