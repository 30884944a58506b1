"""Other divisions of a run's queries into train and validation, with the same test queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from quantum_rerank.config import DataConfig
from quantum_rerank.embeddings import EmbeddingSource
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.training.query_sets import build_query_set, lexical_index
from quantum_rerank.training.run_collections import load_judged, split_of
from quantum_rerank.training.trial_data import TrialData


def other_divisions(
    config: DataConfig, source: EmbeddingSource, data: TrialData, seeds: Sequence[int]
) -> tuple[TrialData, ...]:
    """Divide the training and validation queries of a run anew, once for each seed.

    Candidates are mined once, and all divisions share the documents of `data`.

    Args:
        config: Collections of the run, and the sizes of the split.
        source: Encoder of the run.
        data: Data of the run, whose domains of validation alone stay as they are.
        seeds: Values of `data.validation_seed`.

    Returns:
        The data of each division.
    """
    train: list[list[QuerySet]] = [[] for _ in seeds]
    validation: list[list[QuerySet]] = [[] for _ in seeds]
    for spec, current in zip(config.seen, data.train, strict=True):
        collection = load_judged(spec, config)
        queries, _ = source.embed(collection)
        lexical = lexical_index(collection, config)
        splits = [split_of(collection, _divided(config, seed)) for seed in seeds]
        as_training, as_validation = (
            build_query_set(
                collection,
                queries,
                current.documents,
                query_ids=sorted({*splits[0].train, *splits[0].validation}),
                n_candidates=config.candidates,
                candidates_from=config.candidates_from,
                for_training=for_training,
                lexical=lexical,
            )
            for for_training in (True, False)
        )
        for number, split in enumerate(splits):
            train[number].append(_selected(as_training, split.train))
            validation[number].append(_selected(as_validation, split.validation))
    return tuple(
        TrialData(tuple(t), tuple(v), data.validation_out_of_domain)
        for t, v in zip(train, validation, strict=True)
    )


def _divided(config: DataConfig, seed: int) -> DataConfig:
    return config.model_copy(update={"validation_seed": seed})


def _selected(query_set: QuerySet, query_ids: Sequence[str]) -> QuerySet:
    """Return some queries of a query set."""
    row_of = {query: row for row, query in enumerate(query_set.query_ids)}
    rows = np.array([row_of[query] for query in query_ids], dtype=np.int64)

    def of_rows(values: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        return tuple(values[row] for row in rows) if values else ()

    return replace(
        query_set,
        query_ids=tuple(query_ids),
        queries=query_set.queries[rows],
        candidates=query_set.candidates[rows],
        cosine=query_set.cosine[rows],
        lexical=None if query_set.lexical is None else query_set.lexical[rows],
        grades=query_set.grades[rows],
        qrels={query: query_set.qrels[query] for query in query_ids},
        positives=of_rows(query_set.positives),
        own_documents=of_rows(query_set.own_documents),
        not_relevant=of_rows(query_set.not_relevant),
    )
