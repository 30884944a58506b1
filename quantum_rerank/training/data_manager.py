"""From collections to what a training sees: embedded, split, with candidates mined."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import (
    Collection,
    Split,
    count_lines,
    load_collection,
    repeated_texts,
    require_ranking,
    split_by_query,
    with_copies_judged,
    without_own_documents,
)
from quantum_rerank.embeddings import Embeddings, EmbeddingSource, ExampleTexts, blocks, take
from quantum_rerank.errors import DataError, EmbeddingError, QuantumRerankError
from quantum_rerank.training.candidates import Rows, is_among, with_judged, without_rows

LOW_RECALL = 0.5
"""Share of a query's relevant documents: where candidates hold less, most of what a model should
find is out of its reach, and figures tell of the first retrieval rather than of the model."""


@dataclass(frozen=True)
class QuerySet:
    """Judged queries of one domain and one role, with their candidates by cosine.

    queries: (q, dim) float32.  documents: (m, dim) float32, the whole corpus, shared; it may
        be a mapped file, of which only rows that are needed are read.
    candidates: (q, k) rows of `documents` by falling cosine.  cosine: (q, k) float32.
    grades: (q, k) judged relevance of the candidates, 0 where they have none.
    positives: per query, the rows of its relevant documents, candidates or not.
    skipped: of the whole collection, what was not taken as it was given, see `Collection`, and
        how many queries have the text of one in an earlier role, of any collection.
    own_documents: per query, the rows that are the query itself: no candidates, no negatives.
    not_relevant: per query, the rows that were judged not relevant. Both are empty where no query
        has any.
    """

    domain: str
    query_ids: tuple[str, ...]
    document_ids: tuple[str, ...]
    queries: Embeddings
    documents: Embeddings
    candidates: Rows
    cosine: Embeddings
    grades: NDArray[np.int32]
    qrels: dict[str, dict[str, int]]
    positives: tuple[Rows, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    own_documents: tuple[Rows, ...] = ()
    not_relevant: tuple[Rows, ...] = ()


@dataclass(frozen=True)
class TrialData:
    """All that a trial may see. Test queries are not part of it."""

    train: tuple[QuerySet, ...]
    seen: tuple[QuerySet, ...]
    unseen: tuple[QuerySet, ...]

    @property
    def corpora(self) -> tuple[Embeddings, ...]:
        """Bare corpora for the warm-up: of the domains trained on and chosen on."""
        return tuple(queries.documents for queries in (*self.train, *self.unseen))

    @property
    def embedding_dim(self) -> int:
        return int(self.train[0].queries.shape[1])


@dataclass(frozen=True)
class PreparedData:
    """Everything that was loaded for a run.

    splits: domain -> role -> query ids, for the record.
    fingerprint: SHA-256 over texts, judgments and splits; with `npy:` vectors, whose rows follow
        it, over the order of the texts too.
    encoder_fingerprint: what the vectors came from; see `EmbeddingSource.fingerprint`.
    """

    trial: TrialData
    test_seen: tuple[QuerySet, ...]
    unseen_test: tuple[QuerySet, ...]
    splits: dict[str, dict[str, tuple[str, ...]]]
    fingerprint: str
    encoder_fingerprint: str
    examples: tuple[ExampleTexts, ...]

    @property
    def skipped(self) -> dict[str, dict[str, int]]:
        """Domain -> what was not taken as it was given, and texts in two roles."""
        trial = (*self.trial.train, *self.trial.unseen)
        return {q.domain: dict(q.skipped) for q in (*trial, *self.unseen_test) if q.skipped}

    @property
    def tests(self) -> dict[str, tuple[QuerySet, ...]]:
        """Role -> test queries: `test` of seen domains, `unseen_test` where there are such."""
        roles = {"test": self.test_seen, "unseen_test": self.unseen_test}
        return {role: query_sets for role, query_sets in roles.items() if query_sets}

    def description(self) -> list[str]:
        """A line per domain: documents, queries by role; then what was left out, and warnings."""
        lines = [
            "  ".join(f"{key} {_shown(value)}" for key, value in row.items() if value)
            for row in self.statistics()
        ]
        return lines + told_skips(self.skipped) + recall_warnings(self._not_for_test)

    @property
    def _not_for_test(self) -> tuple[QuerySet, ...]:
        return (*self.trial.train, *self.trial.seen, *self.trial.unseen)

    def statistics(self) -> list[dict[str, Any]]:
        """A row per domain: documents, queries by role, and `judgments` of those not for test."""
        trial = self._not_for_test
        sizes = {q.domain: len(q.documents) for q in (*trial, *self.unseen_test)}
        return [
            {"domain": domain, "documents": sizes[domain]}
            | {role: len(ids) for role, ids in roles.items()}
            | judgments([queries for queries in trial if queries.domain == domain])
            for domain, roles in self.splits.items()
        ]


def told_skips(skipped: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A sentence for each kind of thing that was not taken as it was given, by domain."""
    return [
        f"{domain}: {line}" for domain, counts in skipped.items() for line in count_lines(counts)
    ]


def judgments(query_sets: Sequence[QuerySet]) -> dict[str, float]:
    """What is known of the queries of one domain; nothing of none.

    relevant per query: its mean.  graded: the share of queries whose relevant documents have
    different grades, which only listwise losses tell apart.  recall of candidates: the share
    of a query's relevant documents that its candidates hold, which bounds every reranking.
    judged not relevant: documents per query, where there are any.
    """
    if not query_sets:
        return {}
    relevant = np.concatenate([[len(judged) for judged in q.qrels.values()] for q in query_sets])
    found = np.concatenate([(q.grades > 0).sum(axis=1) for q in query_sets])
    graded = [len(set(judged.values())) > 1 for q in query_sets for judged in q.qrels.values()]
    n_rejected = sum(len(rows) for q in query_sets for rows in q.not_relevant)
    return {
        "relevant per query": float(relevant.mean()),
        "graded": float(np.mean(graded)),
        "recall of candidates": float((found / relevant).mean()),
    } | ({"judged not relevant": n_rejected / len(relevant)} if n_rejected else {})


def recall_warnings(query_sets: Sequence[QuerySet]) -> list[str]:
    """Warn of each domain whose candidates hold few of the relevant documents.

    Returns: A few sentences per domain whose recall of candidates is below LOW_RECALL.
    """
    domains = dict.fromkeys(queries.domain for queries in query_sets)
    by_domain = [[q for q in query_sets if q.domain == domain] for domain in domains]
    return [
        _recall_warning(sets)
        for sets in by_domain
        if judgments(sets)["recall of candidates"] < LOW_RECALL
    ]


def _recall_warning(query_sets: Sequence[QuerySet]) -> str:
    recall = judgments(query_sets)["recall of candidates"]
    answered = float(np.concatenate([q.grades.max(axis=1) > 0 for q in query_sets]).mean())
    chance = " Most queries have none: differences between models are largely chance."
    return (
        f"Warning: {query_sets[0].domain}: on average only {recall:.0%} of a query's relevant "
        f"documents are among its candidates; no model can rank the others. {1.0 - answered:.0%} "
        f"of the queries have none there and score 0 with every model."
        f"{chance if answered < LOW_RECALL else ''} Raise `data.candidates`, use an encoder that "
        "suits the texts, or judge documents that the cosine finds."
    )


def _shown(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def prepare(config: DataConfig, source: EmbeddingSource) -> PreparedData:
    """Load, split and embed every collection of a run, then mine the candidates.

    The split comes before anything is mined; a domain held out has one role only.
    """
    collections, splits = _split(config)
    embedded = {spec: source.embed(collection) for spec, collection in collections.items()}
    collections = {spec: with_unread(one, source) for spec, one in collections.items()}
    widths = {spec: documents.shape[1] for spec, (_, documents) in embedded.items()}
    if len(set(widths.values())) > 1:
        raise EmbeddingError(f"Vectors of one run must have one width, but there are {widths}.")

    def query_sets(specs: Sequence[str], role: str) -> tuple[QuerySet, ...]:
        return tuple(
            query_set(
                collections[spec],
                *embedded[spec],
                getattr(splits[spec], role),
                config.candidates,
                for_training=role == "train",
            )
            for spec in specs
        )

    seen = query_sets(config.seen, "validation")
    return PreparedData(
        trial=TrialData(
            train=query_sets(config.seen, "train"),
            seen=seen,
            unseen=query_sets(config.unseen_validation, "validation"),
        ),
        test_seen=query_sets(config.seen, "test"),
        unseen_test=query_sets(config.unseen_test, "test"),
        splits={collections[spec].domain: vars(split) for spec, split in splits.items()},
        fingerprint=_fingerprint(config, collections, splits),
        encoder_fingerprint=source.fingerprint,
        examples=_examples(collections[config.seen[0]], seen[0]),
    )


def with_unread(collection: Collection, source: EmbeddingSource) -> Collection:
    """The same collection, with the texts counted that its encoder does not read in full."""
    return replace(collection, skipped={**collection.skipped, **source.unread(collection)})


def data_fingerprint(config: DataConfig) -> str:
    """The fingerprint that `prepare` finds, of collections as they are now; nothing is embedded."""
    return checked_collections(config)[1]


def checked_collections(config: DataConfig) -> tuple[Mapping[str, Collection], str]:
    """Load, check and split collections as `prepare` does, and embed nothing.

    Args:
        config: Which collections, and how they are split.

    Returns:
        Spec -> collection, and the fingerprint that `prepare` finds.

    Raises:
        DataError: A collection is missing, or has nothing to rank.
    """
    collections, splits = _split(config)
    return collections, _fingerprint(config, collections, splits)


def _loaded(specs: Sequence[str], config: DataConfig) -> dict[str, Collection]:
    """Load collections; what is wrong with any of them is raised together."""
    collections: dict[str, Collection] = {}
    errors: list[QuantumRerankError] = []
    for spec in specs:
        try:
            collections[spec] = load_judged(spec, config)
            require_ranking(collections[spec])
        except QuantumRerankError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise DataError([line for error in errors for line in str(error).splitlines()])
    return collections


def _split(config: DataConfig) -> tuple[dict[str, Collection], dict[str, Split]]:
    """Spec -> collection, and the queries of each by their role.

    Raises: DataError where two have the same name, or one has nothing to rank.
    """
    named = (*config.seen, *config.unseen_validation, *config.unseen_test)
    repeated = sorted({spec for spec in named if named.count(spec) > 1})
    if repeated:
        raise DataError(f"{', '.join(repeated)}: named twice, but a collection has one role.")
    collections = _loaded(named, config)
    domains = [collection.domain for collection in collections.values()]
    shared = sorted({domain for domain in domains if domains.count(domain) > 1})
    if shared:
        raise DataError(
            f"{', '.join(shared)}: two collections of this name. A collection has one role, "
            "and folders need names of their own."
        )
    splits = {
        spec: split_by_query(
            collections[spec], config.validation_split, config.test_split, config.split_seed
        )
        for spec in config.seen
    }
    everything = {spec: tuple(sorted(c.queries)) for spec, c in collections.items()}
    splits |= {
        spec: Split(validation=tuple(collections[spec].answerable(everything[spec])))
        for spec in config.unseen_validation
    }
    splits |= {spec: Split(test=everything[spec]) for spec in config.unseen_test}
    for spec, counts in repeated_texts(collections, splits).items():
        told = {**collections[spec].skipped, **counts}
        collections[spec] = replace(collections[spec], skipped=told)
    return collections, splits


def load_judged(spec: str, config: DataConfig) -> Collection:
    """Load a collection, with its copies and each query's own documents as configured."""
    collection = with_copies_judged(load_collection(spec, config), config.judge_copies_alike)
    return without_own_documents(collection, config.ignore_identical)


def query_set(
    collection: Collection,
    queries: Embeddings,
    documents: Embeddings,
    query_ids: Sequence[str],
    n_candidates: int,
    *,
    for_training: bool = False,
) -> QuerySet:
    """Select some queries of an embedded collection and find their nearest documents.

    A query's own documents are no candidates of it. Every query has the same number of
    candidates: where a corpus has fewer documents than are asked for, the most that are left
    for every query.

    Args:
        for_training: Documents that were judged not relevant join the candidates, see
            `with_judged`. Queries of other roles have the candidates of the first retrieval
            alone, on which every system is compared.

    Raises: DataError where nothing but itself is left for a query to rank.
    """
    row_of_query = {query: row for row, query in enumerate(collection.queries)}
    row_of_document = {document: row for row, document in enumerate(collection.corpus)}

    def rows(named: Mapping[str, Iterable[str]]) -> tuple[Rows, ...]:
        return tuple(
            np.array([row_of_document[document] for document in named.get(query, ())], np.int64)
            for query in query_ids
        )

    chosen = queries[[row_of_query[query] for query in query_ids]]
    present = {query: dict(collection.qrels[query]) for query in query_ids}
    positives = rows(present)
    own = rows(collection.own_documents) if collection.own_documents else ()
    not_relevant = rows(collection.not_relevant) if collection.not_relevant else ()
    candidates, cosine = _nearest_others(collection.domain, chosen, documents, own, n_candidates)
    if for_training and not_relevant:
        is_relevant = is_among(candidates, positives)
        candidates, cosine = with_judged(
            candidates, cosine, is_relevant, not_relevant, chosen, documents
        )
    return QuerySet(
        collection.domain,
        tuple(query_ids),
        tuple(collection.corpus),
        chosen,
        documents,
        candidates,
        cosine,
        _grades(candidates, positives, list(present.values())),
        present if for_training else _with_absent(present, collection.absent),
        positives,
        dict(collection.skipped),
        own,
        not_relevant,
    )


def _nearest_others(
    domain: str, queries: Embeddings, documents: Embeddings, own: Sequence[Rows], n_candidates: int
) -> tuple[Rows, Embeddings]:
    """The nearest documents but each query's own, as many for every query."""
    n_own = max(map(len, own), default=0)
    candidates, cosine = nearest_documents(queries, documents, n_candidates + n_own)
    if not n_own:
        return candidates, cosine
    n_kept = min(n_candidates, len(documents) - n_own)
    if n_kept < 1:
        raise DataError(
            f"{domain}: all {len(documents)} documents are the query itself to a query. Give more "
            "documents, or set `data.ignore_identical: none`."
        )
    return without_rows(candidates, cosine, own, n_kept)


def _with_absent(
    present: Mapping[str, Mapping[str, int]], absent: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """Return judgments as an evaluation counts them, with the documents that no system finds."""
    return {query: {**judged, **absent.get(query, {})} for query, judged in present.items()}


def _grades(
    candidates: Rows, positives: Sequence[Rows], judged: Sequence[Mapping[str, int]]
) -> NDArray[np.int32]:
    """(q, k) relevance of each candidate; `positives` are the rows of `judged`, in its order."""
    grades = np.zeros(candidates.shape, dtype=np.int32)
    for query, (rows, relevance) in enumerate(zip(positives, judged, strict=True)):
        for row, grade in zip(rows, relevance.values(), strict=True):
            grades[query, candidates[query] == row] = grade
    return grades


def _examples(
    collection: Collection, queries: QuerySet, n_queries: int = 3, n_documents: int = 5
) -> tuple[ExampleTexts, ...]:
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


def nearest_documents(
    queries: Embeddings,
    documents: Embeddings,
    n_candidates: int,
    block: int = 256,
    documents_block: int = 2**16,
) -> tuple[Rows, Embeddings]:
    """Rows and cosines of the nearest documents, (q, k) each, best first, ties by row.

    Queries and documents are compared a block of each at a time, so that a corpus may be a
    mapped file and no matrix has its length.
    """
    k = min(n_candidates, len(documents))
    rows = np.empty((len(queries), 0), dtype=np.int64)
    cosine = np.empty((len(queries), 0), dtype=np.float32)
    for first, part in blocks(documents, documents_block):
        found = [
            _best(queries[start : start + block] @ part.T, k)
            for start in range(0, len(queries), block)
        ]
        # Those of earlier blocks stand first, so that ties stay in the order of the rows.
        rows = np.column_stack([rows, first + np.concatenate([columns for columns, _ in found])])
        cosine = np.column_stack([cosine, np.concatenate([values for _, values in found])])
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
        rows = np.take_along_axis(rows, order, axis=1)
        cosine = np.take_along_axis(cosine, order, axis=1)
    return rows, cosine


def _best(scores: Embeddings, k: int) -> tuple[Rows, Embeddings]:
    """Columns and values of the k highest of each row, best first, ties by column."""
    k = min(k, scores.shape[1])
    columns = np.empty((len(scores), k), dtype=np.int64)
    for row, values in enumerate(scores):
        # Only what can be among them is sorted: a whole row may be long.
        least = np.partition(values, -k)[-k]
        near = np.flatnonzero(values >= least)
        columns[row] = near[np.argsort(-values[near], kind="stable")[:k]]
    return columns, np.take_along_axis(scores, columns, axis=1)


def _fingerprint(
    config: DataConfig, collections: dict[str, Collection], splits: dict[str, Split]
) -> str:
    digest = hashlib.sha256()
    for spec, collection in collections.items():
        content = [
            collection.domain,
            dict(collection.corpus),
            dict(collection.queries),
            {query: dict(judged) for query, judged in collection.qrels.items()},
            vars(splits[spec]),
        ]
        for pairs in (collection.own_documents, collection.not_relevant, collection.absent):
            if pairs:  # a collection without such pairs keeps its fingerprint
                content.append({query: list(named) for query, named in pairs.items()})
        if config.encoder.startswith("npy:"):  # whose rows go by the order, which is sorted away
            content += [list(collection.corpus), list(collection.queries)]
        # Piece by piece: as one text, a large corpus would be in memory twice more.
        for piece in json.JSONEncoder(sort_keys=True).iterencode(content):
            digest.update(piece.encode())
    return digest.hexdigest()
