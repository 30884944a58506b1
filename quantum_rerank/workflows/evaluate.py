"""Evaluation of a trained model against the targets, on any collections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from quantum_rerank.config import DataConfig
from quantum_rerank.errors import DataError
from quantum_rerank.evaluation.measurements import ModelAndCosine
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.role_scores import score_against_cosine
from quantum_rerank.evaluation.targets import TargetResult, evaluate_targets, target_records
from quantum_rerank.export.trained_model import (
    ModelEncoder,
    TrainedModel,
    require_same_data,
    require_same_encoder,
    require_same_vectors,
    require_same_width,
)
from quantum_rerank.similarity import gate_shares
from quantum_rerank.training.data_description import describe_skipped
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.evaluation_data import (
    includes_training_data,
    load_roles,
    with_moved_folders,
)
from quantum_rerank.training.recall import recall_warnings
from quantum_rerank.training.run_collections import split_collections

_OTHER_DATA = (
    "Queries of the training could be among the test queries. Name other collections with --data."
)

_FAR = 0.5  # mean share of the weight below which a collection is named

Roles = Mapping[str, Sequence[QuerySet]]
"""Role of queries -> the query sets of its domains."""


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of a trained model.

    Attributes:
        model: Model that was evaluated.
        roles: Queries that it was evaluated on.
        scores: Role -> NDCG@10 of the model and of the cosine.
        targets: Result of every target.
    """

    model: TrainedModel
    roles: Roles
    scores: Mapping[str, ModelAndCosine]
    targets: Sequence[TargetResult]

    @property
    def notes(self) -> list[str]:
        """Lines about texts that were skipped, candidates that are too few, and far queries."""
        return describe_skipped(self._skipped) + self._warnings + self._far_collections

    def record(self) -> dict[str, Any]:
        """Return the evaluation as JSON."""
        return {
            "model": self.model.config.model,
            "fusion_weight": self.model.fusion_weight,
            "queries": {
                role: {queries.domain: len(queries.query_ids) for queries in sets}
                for role, sets in self.roles.items()
                if sets
            },
            "skipped": self._skipped,
            "warnings": self._warnings,
            **({"gate_shares": shares} if (shares := self._shares) else {}),
            "role_scores": {role: asdict(scores) for role, scores in self.scores.items()},
            "targets": target_records(self.targets),
        }

    @property
    def _query_sets(self) -> list[QuerySet]:
        return [queries for sets in self.roles.values() for queries in sets]

    @property
    def _skipped(self) -> dict[str, dict[str, int]]:
        """Domain -> reason -> number of texts and judgments that were skipped or changed."""
        return {q.domain: dict(q.skipped) for q in self._query_sets if q.skipped}

    @property
    def _warnings(self) -> list[str]:
        return recall_warnings(self._query_sets)

    @property
    def _far_collections(self) -> list[str]:
        return [
            f"{domain}: the queries are far from those of the training. They keep {share:.0%} of "
            "the model's weight on average; the rest is left to the first stage."
            for domain, share in self._shares.items()
            if share < _FAR
        ]

    @property
    def _shares(self) -> dict[str, float]:
        """Domain -> mean share of the model's weight that a query keeps; empty without a gate."""
        shares = {q.domain: gate_shares(self.model.head, q.queries) for q in self._query_sets}
        return {domain: float(each.mean()) for domain, each in shares.items() if each is not None}


def evaluate_model(model: TrainedModel, specs: Sequence[str], encoder: ModelEncoder) -> Evaluation:
    """Evaluate a model against every target.

    A collection of the training is split as it was then; all queries of another collection
    belong to an unseen domain.

    Args:
        model: Trained model.
        specs: Collections, such as `beir:FOLDER`; all collections of the model's configuration
            if empty.
        encoder: Encoder of the texts.

    Returns:
        The evaluation.

    Raises:
        BundleError: The encoder or its vectors are not those of the training.
        DataError: A collection is missing, or differs from the one trained on.
        EmbeddingError: The vectors have another size than those of the training.
    """
    require_same_encoder(model, encoder)
    roles = _named_roles(model, specs, encoder) if specs else _configured_roles(model, encoder)
    widths = {queries.queries.shape[1] for sets in roles.values() for queries in sets}
    for width in sorted(widths):
        require_same_width(model, width, encoder)
    scores = score_against_cosine(model.head, model.fusion_weight, roles)
    targets = evaluate_targets(scores, model.training_summary, model.seeds)
    return Evaluation(model, roles, scores, targets)


def _configured_roles(model: TrainedModel, encoder: ModelEncoder) -> Roles:
    """Return the queries of the collections of a model's configuration."""
    prepared = prepare(model.config.data, encoder.source)
    require_same_vectors(model, prepared.encoder_fingerprint, encoder)
    require_same_data(model, prepared.fingerprint, _OTHER_DATA)
    return prepared.roles


def _named_roles(model: TrainedModel, specs: Sequence[str], encoder: ModelEncoder) -> Roles:
    """Return the queries of named collections."""
    config = model.config.data
    if model.data_fingerprint and includes_training_data(config, specs):
        require_same_data(model, _current_fingerprint(config, specs), _OTHER_DATA)
    return load_roles(config, specs, encoder.source)


def _current_fingerprint(config: DataConfig, specs: Sequence[str]) -> str:
    """Return the fingerprint of a configuration's collections, at the paths that `specs` give."""
    try:
        return split_collections(with_moved_folders(config, specs)).fingerprint
    except DataError as error:
        raise DataError(
            [
                *error.problems,
                "A collection of the training can be verified only together with all other "
                "collections of the model's configuration. Name those that were moved with --data "
                "too, or name only collections that the model was not trained on.",
            ]
        ) from None
