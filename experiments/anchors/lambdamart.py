"""LambdaMART over the cosine, BM25 and their ranks: trees trained on the candidates' grades."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import rankdata

from quantum_rerank.errors import MissingExtra
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import FloatArray
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.trial_data import TrialData
from quantum_rerank.training.validation import Validator

_ROUNDS, _PATIENCE = 500, 50
_GRID = {"num_leaves": (7, 31), "min_data_in_leaf": (20, 100)}  # chosen on validation
_FIXED: Mapping[str, Any] = {
    "objective": "lambdarank",
    "metric": "None",  # early stopping is by the objective of the experiments
    "learning_rate": 0.05,
    "bagging_fraction": 0.8,  # with which the seed matters
    "bagging_freq": 1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
_DATA = {"feature_pre_filter": False, **_FIXED}  # one table for the whole grid


def require_lightgbm() -> None:
    """Check that LightGBM is installed.

    Raises:
        MissingExtra: It is not.
    """
    if importlib.util.find_spec("lightgbm") is None:
        raise MissingExtra("lightgbm", "anchors", "The model `lambdamart`")


def features(cosine: FloatArray, lexical: FloatArray, words: FloatArray) -> FloatArray:
    """Return the features of each candidate.

    Args:
        cosine: (q, k).
        lexical: (q, k) BM25 of stems and n-grams.
        words: (q, k) BM25 of words.

    Returns:
        (q, k, 6): the cosine, the lexical score, BM25 of words, and the rank of each of them
        among the query's candidates, from 1; equal scores have their mean rank.
    """
    scores = np.stack([cosine, lexical, words], axis=-1)
    return np.concatenate([scores, rankdata(-scores, axis=1)], axis=-1)


def features_of(queries: QuerySet, bm25: Bm25) -> FloatArray:
    """Return the features of a query set with a lexical score, (q, k, 6)."""
    assert queries.lexical is not None
    return features(queries.cosine.astype(np.float64), queries.lexical, bm25.affinities(queries))


@dataclass(frozen=True)
class LambdaMart:
    """Trained trees.

    Attributes:
        bm25: BM25 of words.
        booster: The trees, up to the best round.
        parameters: The parameters that were chosen on validation.
        objective: The validation objective.
    """

    bm25: Bm25
    booster: Any
    parameters: Mapping[str, int]
    objective: float

    def affinities(self, queries: QuerySet) -> FloatArray:
        """Return the score of each candidate, (q, k)."""
        return self.scores(features_of(queries, self.bm25))

    def scores(self, of_candidates: FloatArray) -> FloatArray:
        """Score candidates by their features, (q, k, 6): (q, k)."""
        flat = of_candidates.reshape(-1, of_candidates.shape[-1])
        scores: FloatArray = self.booster.predict(flat)
        return scores.reshape(of_candidates.shape[:2])

    @property
    def n_trees(self) -> int:
        """The number of trees, up to the best round."""
        return int(self.booster.best_iteration)


def train_lambdamart(data: TrialData, bm25: Bm25, seed: int, objective: str) -> LambdaMart:
    """Train on the candidates of the training queries, and choose by the validation objective.

    Args:
        data: Training and validation queries, with a lexical score.
        bm25: BM25 of words.
        seed: The seed of the queries that each tree is grown on.
        objective: The metric that is maximised.
    """
    table = _Table(data, bm25, objective)
    trained = [
        table.trained(dict(zip(_GRID, values, strict=True)), seed)
        for values in product(*_GRID.values())
    ]
    return max(trained, key=lambda model: model.objective)


class _Table:
    """Features, grades and groups of a data set: a group is the candidates of a query."""

    def __init__(self, data: TrialData, bm25: Bm25, objective: str) -> None:
        import lightgbm

        self._bm25 = bm25
        self._validation = data.validation
        self._validator = Validator(
            data.validation_in_domain, data.validation_out_of_domain, objective
        )
        grades = np.concatenate([queries.grades.ravel() for queries in data.train])
        self._gains = list(range(int(grades.max(initial=1)) + 1))
        self._train = lightgbm.Dataset(
            self._rows(data.train),
            grades,
            group=groups(data.train),
            params=_DATA,
        )
        self._valid = lightgbm.Dataset(
            self._rows(data.validation),
            np.concatenate([queries.grades.ravel() for queries in data.validation]),
            group=groups(data.validation),
            reference=self._train,
            params=_DATA,
        )

    def trained(self, parameters: Mapping[str, int], seed: int) -> LambdaMart:
        """Train with early stopping."""
        import lightgbm

        booster = lightgbm.train(
            {**_FIXED, **parameters, "seed": seed, "label_gain": self._gains},
            self._train,
            num_boost_round=_ROUNDS,
            valid_sets=[self._valid],
            feval=lambda scores, _: ("objective", self._objective_of(scores), True),
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )
        objective = booster.best_score["valid_0"]["objective"]
        return LambdaMart(self._bm25, booster, parameters, objective)

    def _objective_of(self, scores: FloatArray) -> float:
        shapes = [queries.candidates.shape for queries in self._validation]
        ends = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
        parts = zip(np.split(scores, ends), shapes, strict=True)
        return self._validator.of([part.reshape(shape) for part, shape in parts], (1.0,)).objective

    def _rows(self, query_sets: Sequence[QuerySet]) -> FloatArray:
        each = [features_of(queries, self._bm25) for queries in query_sets]
        return np.concatenate([of_set.reshape(-1, of_set.shape[-1]) for of_set in each])


def groups(query_sets: Sequence[QuerySet]) -> list[int]:
    """Return the number of candidates of each query."""
    return [queries.candidates.shape[1] for queries in query_sets for _ in queries.query_ids]
