"""Data of a run: the part that a trial may see, and the test queries beside it."""

from __future__ import annotations

from dataclasses import dataclass

from quantum_rerank.embeddings import Embeddings, ExampleTexts
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.roles import (
    TEST,
    TRAIN,
    UNSEEN_TEST,
    UNSEEN_VALIDATION,
    VALIDATION,
)
from quantum_rerank.lexical import Lexicon


@dataclass(frozen=True)
class TrialData:
    """The data that a trial may see, without test queries.

    Attributes:
        train: Training queries, a query set for each domain.
        validation_in_domain: Validation queries of the same domains.
        validation_out_of_domain: Validation queries of domains that are not trained on.
    """

    train: tuple[QuerySet, ...]
    validation_in_domain: tuple[QuerySet, ...]
    validation_out_of_domain: tuple[QuerySet, ...]

    @property
    def validation(self) -> tuple[QuerySet, ...]:
        """All validation queries, those of the training domains first."""
        return (*self.validation_in_domain, *self.validation_out_of_domain)

    @property
    def corpora(self) -> tuple[Embeddings, ...]:
        """The documents of each training and validation domain, for the warm-up."""
        return tuple(q.documents for q in (*self.train, *self.validation_out_of_domain))

    @property
    def embedding_dim(self) -> int:
        """The width of the vectors."""
        return int(self.train[0].queries.shape[1])


@dataclass(frozen=True)
class PreparedData:
    """All data of a run.

    Attributes:
        trial: Training and validation queries.
        test: Test queries of the domains that are trained on.
        unseen_test: Test queries of other domains.
        splits: Domain -> role -> query ids.
        fingerprint: SHA-256 of texts, judgments and splits. With `npy:` vectors, whose rows
            are in the order of the texts, also of that order.
        encoder_fingerprint: Origin of the vectors, see `EmbeddingSource.fingerprint`.
        examples: Some texts with their vectors, which a bundle stores to check an encoder.
        lexicon: Term frequencies of the domains that are trained on, if a lexical score is
            configured.
    """

    trial: TrialData
    test: tuple[QuerySet, ...]
    unseen_test: tuple[QuerySet, ...]
    splits: dict[str, dict[str, tuple[str, ...]]]
    fingerprint: str
    encoder_fingerprint: str
    examples: tuple[ExampleTexts, ...]
    lexicon: Lexicon | None = None

    @property
    def n_train(self) -> int:
        """The number of training queries of all domains together."""
        return sum(len(queries.query_ids) for queries in self.trial.train)

    @property
    def skipped(self) -> dict[str, dict[str, int]]:
        """Domain -> counts of skipped or changed texts, without domains that have none."""
        trial = (*self.trial.train, *self.trial.validation_out_of_domain)
        return {q.domain: dict(q.skipped) for q in (*trial, *self.unseen_test) if q.skipped}

    @property
    def roles(self) -> dict[str, tuple[QuerySet, ...]]:
        """Role -> query sets, including roles without queries."""
        return {
            TRAIN: self.trial.train,
            VALIDATION: self.trial.validation_in_domain,
            UNSEEN_VALIDATION: self.trial.validation_out_of_domain,
            TEST: self.test,
            UNSEEN_TEST: self.unseen_test,
        }

    @property
    def test_roles(self) -> dict[str, tuple[QuerySet, ...]]:
        """Role -> query sets of the test roles that have queries."""
        roles = {TEST: self.test, UNSEEN_TEST: self.unseen_test}
        return {role: query_sets for role, query_sets in roles.items() if query_sets}
