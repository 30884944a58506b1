"""Other divisions of a run's queries into train and validation, with the same test queries."""

from __future__ import annotations

from collections.abc import Sequence

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import Split, nested_subset
from quantum_rerank.embeddings import EmbeddingSource
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.training.query_sets import build_query_set, lexical_index, select_queries
from quantum_rerank.training.run_collections import load_judged, split_of
from quantum_rerank.training.trial_data import TrialData


def other_divisions(
    config: DataConfig, source: EmbeddingSource, data: TrialData, seeds: Sequence[int]
) -> tuple[TrialData, ...]:
    """Divide the training and validation queries of a run anew, once for each seed.

    Candidates are mined once, and all divisions share the documents of `data`.

    Args:
        config: Collections of the run, and the sizes of the split. If its queries are cut, those
            that are left are divided, into roles of the same sizes.
        source: Encoder of the run.
        data: Data of the run, whose domains of validation alone stay as they are.
        seeds: Values of `data.validation_seed`.

    Returns:
        The data of each division.
    """
    train: list[list[QuerySet]] = [[] for _ in seeds]
    validation: list[list[QuerySet]] = [[] for _ in seeds]
    domains = zip(config.seen, data.train, data.validation_in_domain, strict=True)
    for spec, current, chosen_on in domains:
        collection = load_judged(spec, config)
        queries, _ = source.embed(collection)
        lexical = lexical_index(collection, config)
        if config.train_queries is None:
            splits = [split_of(collection, _divided(config, seed)) for seed in seeds]
        else:
            splits = [_divided_again(current, chosen_on, seed) for seed in seeds]
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
            train[number].append(select_queries(as_training, split.train))
            validation[number].append(select_queries(as_validation, split.validation))
    return tuple(
        TrialData(tuple(t), tuple(v), data.validation_out_of_domain)
        for t, v in zip(train, validation, strict=True)
    )


def _divided(config: DataConfig, seed: int) -> DataConfig:
    return config.model_copy(update={"validation_seed": seed})


def _divided_again(train: QuerySet, validation: QuerySet, seed: int) -> Split:
    queries = {"": sorted([*train.query_ids, *validation.query_ids])}
    chosen_on = nested_subset(queries, len(validation.query_ids), seed)[""]
    rest = tuple(query for query in queries[""] if query not in chosen_on)
    return Split(train=rest, validation=chosen_on)
