"""Ranking metrics: a thin layer over ir-measures, which calls pytrec_eval.

Gains are linear and unjudged documents count as not relevant, as in trec_eval. A reranker
orders a query's candidates. Other documents count as not retrieved, so Recall@100 is a property
of the candidates and an upper bound of MAP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

NDCG, MRR, RECALL, MAP = "ndcg@10", "mrr@10", "recall@100", "map"
METRICS: tuple[str, ...] = (NDCG, MRR, RECALL, MAP)

Qrels = Mapping[str, Mapping[str, int]]
PerQuery = dict[str, float]


class Evaluator:
    """Metrics over one fixed set of judged queries.

    Args:
        qrels: Query id -> document id -> judged relevance.
        metrics: Names of the metrics.
    """

    def __init__(self, qrels: Qrels, metrics: Sequence[str] = METRICS) -> None:
        import ir_measures
        from ir_measures import AP, RR, R, nDCG

        measures = {NDCG: nDCG @ 10, MRR: RR @ 10, RECALL: R @ 100, MAP: AP}
        self._names = {measures[name]: name for name in metrics}
        self._evaluator = ir_measures.evaluator(
            list(self._names), {q: dict(qrels[q]) for q in qrels}
        )

    def per_query(self, rankings: Mapping[str, Sequence[str]]) -> dict[str, PerQuery]:
        """Score rankings, best document first.

        Args:
            rankings: Query id -> document ids. A query without a ranking scores 0.

        Returns:
            Metric -> query id -> value.

        >>> Evaluator({"q": {"b": 1}}).per_query({"q": ["a", "b"]})["mrr@10"]
        {'q': 0.5}
        """
        # Falling whole numbers, so that there are no ties for trec_eval to break.
        run = {
            query: {document: float(-rank) for rank, document in enumerate(ranking)}
            for query, ranking in rankings.items()
        }
        values: dict[str, PerQuery] = {name: {} for name in self._names.values()}
        for result in self._evaluator.iter_calc(run):
            values[self._names[result.measure]][result.query_id] = float(result.value)
        return values
