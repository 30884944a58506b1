"""The time from a query's text to the scores of its candidates, for each row."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.anchors.lambdamart import features, train_lambdamart
from experiments.anchors.plan import DISCRIMINANT, ENCODER, ENCODER_BM25, LAMBDAMART
from experiments.measuring import prepared_data
from experiments.plan import TUNED, Dataset, Setup
from quantum_rerank.atomic import output_errors, write_json
from quantum_rerank.datasets import load_collection
from quantum_rerank.embeddings import EncoderSettings, Role, text_model
from quantum_rerank.evaluation import COSINE
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import FloatArray
from quantum_rerank.similarity import Head, gate_shares, score_parts
from quantum_rerank.training.lexical import Bm25
from quantum_rerank.training.models import FIRST_STAGE, train_model
from quantum_rerank.training.query_sets import lexical_index

LATENCY = "anchors_latency.json"
_ROUNDS = 3
Score = Callable[[int], object]
"""Scores the candidates of a query, given by its row."""


def timed_dataset(datasets: Sequence[Dataset]) -> Dataset:
    """Return the data set whose queries are timed: `zaragoza`, or else the first."""
    return next((dataset for dataset in datasets if dataset.name == "zaragoza"), datasets[0])


def read_or_measure(path: Path, dataset: Dataset, rows: Mapping[str, Setup]) -> dict[str, float]:
    """Return row -> milliseconds a query, which are measured where the file is missing.

    Args:
        path: The file.
        dataset: The data set whose test queries are timed.
        rows: The rows of the experiments.
    """
    if path.is_file():
        measured: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        return measured
    values = latencies(dataset, rows)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, values)
    return values


def latencies(dataset: Dataset, rows: Mapping[str, Setup]) -> dict[str, float]:
    """Measure each row on one thread: row -> the median of milliseconds over the test queries.

    The vectors and states of documents and the index of their terms exist before. The fine-tuned
    encoder has the size of the frozen one, whose weights are timed for both.
    """
    torch.set_num_threads(1)
    served = _Served(dataset, rows)
    systems = served.systems()
    for system in systems.values():
        system(0)  # compiles and loads what is used first
    times: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(_ROUNDS):
        for query in range(served.n_queries):
            for name, system in systems.items():
                started = time.perf_counter()
                system(query)
                times[name].append(1000.0 * (time.perf_counter() - started))
    return {name: round(median(values), 2) for name, values in times.items()}


class _Served:
    """A data set with its models, as they are when a query arrives."""

    def __init__(self, dataset: Dataset, rows: Mapping[str, Setup]) -> None:
        data = dataset.data("minilm", 1).model_copy(
            update={"lexical": rows[FIRST_STAGE].config.data.lexical}
        )
        self._rows, self._data = rows, data
        self._prepared, bm25, _ = prepared_data(data)
        self._bm25: Bm25 = bm25
        self._queries = self._prepared.test[0]
        collection = load_collection(dataset.seen[0], data)
        self._texts = [collection.queries[query] for query in self._queries.query_ids]
        self._terms = lexical_index(collection, data)
        self._encoder = text_model("minilm", EncoderSettings())

    @property
    def n_queries(self) -> int:
        """The number of queries."""
        return len(self._texts)

    def systems(self) -> dict[str, Score]:
        """Return every row."""
        return {
            COSINE: self._cosine,
            "bm25_cosine": lambda query: (self._cosine(query), self._words(query)),
            FIRST_STAGE: lambda query: (self._cosine(query), self._lexical(query)),
            **{name: self._model(name) for name in (DISCRIMINANT, TUNED)},
            LAMBDAMART: self._trees(),
            ENCODER: self._cosine,
            ENCODER_BM25: lambda query: (
                self._cosine(query),
                self._lexical(query),
                self._cosine(query),
            ),
        }

    def _embedded(self, query: int) -> NDArray[np.float32]:
        vectors = self._encoder.vectors([self._texts[query]], Role.QUERY)
        vector: NDArray[np.float32] = vectors[0]
        return vector

    def _cosine(self, query: int) -> FloatArray:
        return self._beside(self._embedded(query), query)

    def _beside(self, vector: NDArray[np.float32], query: int) -> FloatArray:
        documents = self._queries.documents[self._queries.candidates[query]]
        cosine: FloatArray = (documents @ vector).astype(np.float64)
        return cosine

    def _lexical(self, query: int) -> FloatArray:
        assert self._terms is not None
        return self._terms.scores(self._texts[query], self._queries.candidates[query])

    def _words(self, query: int) -> FloatArray:
        return self._bm25.affinities(_one(self._queries, query))

    def _model(self, name: str) -> Score:
        setup = self._rows[name]
        config = setup.config.model_copy(update={"data": self._data, "seed": 1})
        trained = train_model(config, setup.model, self._prepared.trial)
        head, weight = trained.head, trained.validation.fusion_weight
        with torch.inference_mode():
            states = head.represent(torch.from_numpy(np.array(self._queries.documents)))

        def score(query: int) -> FloatArray:
            vector = self._embedded(query)
            affinity = _affinity(head, vector, states[self._queries.candidates[query]])
            parts = score_parts(
                head,
                self._beside(vector, query)[None],
                self._lexical(query)[None],
                affinity,
                gate_shares(head, vector[None]),
            )
            return parts.fused(weight)

        return score

    def _trees(self) -> Score:
        model = train_lambdamart(self._prepared.trial, self._bm25, 1, "ndcg@10")

        def score(query: int) -> FloatArray:
            scores = (self._cosine(query), self._lexical(query), self._words(query)[0])
            return model.scores(features(*(of_query[None] for of_query in scores)))

        return score


def _affinity(head: Head, vector: NDArray[np.float32], states: torch.Tensor) -> FloatArray:
    with torch.inference_mode():
        compared = head.compare(head.represent(torch.from_numpy(vector[None])), states)
    return compared.numpy().astype(np.float64)


def _one(queries: QuerySet, row: int) -> QuerySet:
    """Return the query set of one query."""
    part = slice(row, row + 1)
    return replace(
        queries,
        query_ids=queries.query_ids[part],
        queries=queries.queries[part],
        candidates=queries.candidates[part],
        cosine=queries.cosine[part],
        grades=queries.grades[part],
        positives=queries.positives[part],
    )
