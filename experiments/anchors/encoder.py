"""The encoder, fine-tuned on the training queries, alone and beside BM25."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from experiments.anchors.bert import FrozenBert, LowerStates, UpperLayers, cosines, joined
from experiments.anchors.pairs import Judged, PairBatch, epoch_batches, ranking_loss
from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import Collection, load_collection
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import FloatArray
from quantum_rerank.training.trial_data import TrialData
from quantum_rerank.training.validation import Validation, Validator


@dataclass(frozen=True)
class EncoderSetup:
    """The training of the encoder.

    Attributes:
        n_layers: The number of upper layers that are trained; the others are frozen.
        batch_size: Pairs of a step. The positives and hard negatives of all are its negatives.
        pairs_per_query: The largest number of relevant documents of a query in an epoch. They are
            drawn anew in each, since some queries have a hundred.
        pool: The nearest candidates that hard negatives are drawn from.
        learning_rate: Its highest value, after a tenth of all steps. It then falls to 0.
        weight_decay: Of AdamW.
        epochs: The largest number of epochs where they have enough steps.
        steps: The least number of steps of all epochs; small data sets have more epochs.
        patience: Epochs without a better validation after which the training ends.
    """

    n_layers: int = 2
    batch_size: int = 32
    pairs_per_query: int = 2
    pool: int = 50
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    epochs: int = 3
    steps: int = 60
    patience: int = 2


@dataclass(frozen=True)
class Texts:
    """The texts of a data set below the trained layers.

    Attributes:
        bert: The encoder.
        documents: Domain -> states of its documents, in the order of the collection.
        queries: Domain -> states of its queries.
        query_rows: Domain -> query id -> row of its states.
    """

    bert: FrozenBert
    documents: dict[str, LowerStates]
    queries: dict[str, LowerStates]
    query_rows: dict[str, dict[str, int]]

    @classmethod
    def of(cls, collections: Sequence[Collection], encoder: str, n_layers: int) -> Texts:
        """Pass the texts of collections through the frozen layers of an encoder."""
        bert = FrozenBert(encoder, n_layers)
        return cls(
            bert,
            {c.domain: bert.states(list(c.corpus.values())) for c in collections},
            {c.domain: bert.states(list(c.queries.values())) for c in collections},
            {c.domain: {query: row for row, query in enumerate(c.queries)} for c in collections},
        )

    def rows(self, queries: QuerySet) -> torch.Tensor:
        """Return the rows of a query set's queries among the states of its domain."""
        rows = self.query_rows[queries.domain]
        return torch.tensor([rows[query] for query in queries.query_ids])

    def training_queries(self, train: Sequence[QuerySet]) -> LowerStates:
        """Return the states of the queries of several sets, in their order."""
        return joined([self.queries[queries.domain].taken(self.rows(queries)) for queries in train])


@lru_cache(maxsize=1)
def texts_of(specs: tuple[str, ...], encoder: str, n_layers: int) -> Texts:
    """Return the texts of a data set. Those of the last one are cached, for its other seeds."""
    config = DataConfig(seen=specs, encoder=encoder)
    return Texts.of([load_collection(spec, config) for spec in specs], encoder, n_layers)


def data_texts(data: DataConfig, n_layers: int) -> Texts:
    """Return the texts of all collections of a training."""
    specs = (*data.seen, *data.unseen_validation, *data.unseen_test)
    return texts_of(specs, data.encoder, n_layers)


@dataclass(frozen=True)
class FineTuned:
    """The encoder at its best epoch.

    Attributes:
        texts: The texts.
        layers: The trained layers.
        best_epoch: Its number; 0 for the encoder before any training.
        history: The validation objective of each epoch, from 0.
    """

    texts: Texts
    layers: UpperLayers
    best_epoch: int
    history: tuple[float, ...]

    def affinities(self, queries: QuerySet) -> FloatArray:
        """Return the cosine of each query with its candidates, (q, k)."""
        return affinities(self.texts, self.layers, queries)


def affinities(texts: Texts, layers: UpperLayers, queries: QuerySet) -> FloatArray:
    """Return the cosine of each query with its candidates, (q, k). Only those are embedded."""
    documents, positions = np.unique(queries.candidates, return_inverse=True)
    layers.eval()
    with torch.inference_mode():
        of_queries = layers.embed(texts.queries[queries.domain], texts.rows(queries)).numpy()
        states = texts.documents[queries.domain]
        of_documents = layers.embed(states, torch.from_numpy(documents)).numpy()
    return cosines(of_queries, of_documents, positions.reshape(queries.candidates.shape))


def fine_tune(
    setup: EncoderSetup, texts: Texts, data: TrialData, seed: int, objective: str
) -> FineTuned:
    """Train the upper layers, and return those of the best epoch on validation.

    Args:
        setup: The training.
        texts: The texts of the data set.
        data: Training and validation queries.
        seed: The seed of batches and dropout.
        objective: The metric that is maximised.
    """
    torch.manual_seed(seed)
    layers = texts.bert.trainable()
    best = copy.deepcopy(layers.state_dict())
    history: list[float] = []
    for _ in _epochs(setup, layers, texts, data.train, np.random.default_rng(seed)):
        history.append(_validation(texts, layers, data, objective).objective)
        best_epoch = int(np.argmax(history))
        if best_epoch == len(history) - 1:
            best = copy.deepcopy(layers.state_dict())
        if len(history) - 1 - best_epoch >= setup.patience:
            break
    layers.load_state_dict(best)
    return FineTuned(texts, layers, int(np.argmax(history)), tuple(history))


def _validation(texts: Texts, layers: UpperLayers, data: TrialData, objective: str) -> Validation:
    validator = Validator(data.validation_in_domain, data.validation_out_of_domain, objective)
    return validator.of([affinities(texts, layers, q) for q in data.validation], (1.0,))


def _epochs(
    setup: EncoderSetup,
    layers: UpperLayers,
    texts: Texts,
    train: Sequence[QuerySet],
    rng: np.random.Generator,
) -> Iterator[None]:
    """Train, and yield before the first epoch and after each."""
    from transformers import get_linear_schedule_with_warmup

    yield
    judged = Judged.of(train, setup.pool)
    epochs = [_batches(setup, judged, rng)]
    while len(epochs) < setup.epochs or 0 < len(epochs) * len(epochs[0]) < setup.steps:
        epochs.append(_batches(setup, judged, rng))
    optimizer = torch.optim.AdamW(
        layers.parameters(), lr=setup.learning_rate, weight_decay=setup.weight_decay
    )
    n_steps = sum(map(len, epochs))
    schedule = get_linear_schedule_with_warmup(optimizer, n_steps // 10, n_steps)
    documents = joined([texts.documents[queries.domain] for queries in train])
    queries = texts.training_queries(train)
    for batches in epochs:
        layers.train()
        for batch in batches:
            optimizer.zero_grad()
            of_queries = layers.embed(queries, batch.queries)
            of_documents = layers.embed(documents, batch.documents)
            loss = ranking_loss(of_queries @ of_documents.T, batch.is_relevant)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(layers.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        yield


def _batches(setup: EncoderSetup, judged: Judged, rng: np.random.Generator) -> list[PairBatch]:
    return list(epoch_batches(judged, setup.batch_size, setup.pairs_per_query, rng))
