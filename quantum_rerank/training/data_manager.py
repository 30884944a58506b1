"""Preparation of a run's data: collections are split and embedded, candidates are mined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import Collection
from quantum_rerank.embeddings import EmbeddingSource, ExampleTexts, take
from quantum_rerank.errors import EmbeddingError
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.lexical import merged_lexicon
from quantum_rerank.training.query_sets import build_query_set, lexical_index
from quantum_rerank.training.run_collections import split_collections
from quantum_rerank.training.trial_data import PreparedData, TrialData


def prepare(config: DataConfig, source: EmbeddingSource) -> PreparedData:
    """Load, split and embed every collection of a run, then mine the candidates.

    The split comes before anything is mined. A held-out domain has one role only.

    Args:
        config: The collections, their splits and the number of candidates.
        source: The encoder, or a folder of vectors.

    Raises:
        DataError: A collection is missing or has nothing to rank.
        EmbeddingError: The vectors of two collections have different widths.
    """
    run = split_collections(config)
    embedded = {spec: source.embed(collection) for spec, collection in run.collections.items()}
    collections = {spec: count_unread(c, source) for spec, c in run.collections.items()}
    widths = {spec: documents.shape[1] for spec, (_, documents) in embedded.items()}
    if len(set(widths.values())) > 1:
        raise EmbeddingError(f"Vectors of one run must have one width, but there are {widths}.")

    lexical = {spec: lexical_index(collections[spec], config) for spec in collections}
    lexicons = [index.lexicon for spec in config.seen if (index := lexical[spec])]

    def query_sets(specs: Sequence[str], role: str) -> tuple[QuerySet, ...]:
        return tuple(
            build_query_set(
                collections[spec],
                *embedded[spec],
                query_ids=getattr(run.splits[spec], role),
                n_candidates=config.candidates,
                candidates_from=config.candidates_from,
                for_training=role == "train",
                lexical=lexical[spec],
            )
            for spec in specs
        )

    validation = query_sets(config.seen, "validation")
    return PreparedData(
        trial=TrialData(
            train=query_sets(config.seen, "train"),
            validation_in_domain=validation,
            validation_out_of_domain=query_sets(config.unseen_validation, "validation"),
        ),
        test=query_sets(config.seen, "test"),
        unseen_test=query_sets(config.unseen_test, "test"),
        splits={collections[spec].domain: vars(split) for spec, split in run.splits.items()},
        fingerprint=run.fingerprint,
        encoder_fingerprint=source.fingerprint,
        examples=_examples(collections[config.seen[0]], validation[0]),
        lexicon=merged_lexicon(lexicons) if lexicons else None,
    )


def count_unread(collection: Collection, source: EmbeddingSource) -> Collection:
    """Add the counts of texts that the encoder does not read in full to a collection.

    Args:
        collection: Any collection.
        source: The encoder of its texts.
    """
    return replace(collection, skipped={**collection.skipped, **source.unread(collection)})


def _examples(
    collection: Collection, queries: QuerySet, n_queries: int = 3, n_documents: int = 5
) -> tuple[ExampleTexts, ...]:
    """Take a few queries with their nearest documents and the vectors of both."""
    texts = tuple(collection.corpus.values())
    return tuple(
        ExampleTexts(
            collection.queries[queries.query_ids[row]],
            queries.queries[row],
            tuple(texts[near] for near in nearest),
            take(queries.documents, nearest),
        )
        for row, nearest in enumerate(queries.candidates[:n_queries, :n_documents])
    )
