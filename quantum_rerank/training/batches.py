"""The batches of a training: queries of one domain with their documents, or bare texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantum_rerank.embeddings import Embeddings, take
from quantum_rerank.evaluation.query_set import QuerySet, Rows
from quantum_rerank.similarity import FusedSimilarity
from quantum_rerank.training.config import TrainingConfig
from quantum_rerank.training.difficulty import Difficulty
from quantum_rerank.training.loss_functions import LEFT_ALONE, Sampling
from quantum_rerank.training.negatives import Negatives

Grades = NDArray[np.int32]


@dataclass(frozen=True)
class Batch:
    """Queries of one domain, and the documents that they are trained against.

    Attributes:
        queries: (q, dim) float32.
        documents: (d, dim) float32, without repeats.
        grades: (q, d) int32, as a loss takes them.
    """

    queries: Tensor
    documents: Tensor
    grades: Tensor


class TrainingBatches:
    """Batches of one epoch after another, each batch from one domain, domains mixed.

    Args:
        query_sets: Training queries of each domain.
        negatives: Negatives of the same queries.
        sampling: The documents that the loss needs.
        config: Sizes of a batch; `balance` as in `quotas`; `embedding_noise`, the approximate
            length of the noise that every vector gets; with a `difficulty`, the losses of each
            batch are passed to `remember`.
        rng: The only source of randomness: the same generator gives the same batches.
    """

    def __init__(
        self,
        query_sets: Sequence[QuerySet],
        negatives: Negatives,
        *,
        sampling: Sampling,
        config: TrainingConfig,
        rng: np.random.Generator,
    ) -> None:
        sizes = [len(queries.query_ids) for queries in query_sets]
        self._query_sets = query_sets
        self._negatives = negatives
        self._batch_size = config.batch_size
        self._n_negatives = 1 if sampling == "one" else negatives.n_drawn
        self._max_documents = config.max_batch_documents
        self._quotas = quotas(sizes, config.balance)
        self._difficulty = Difficulty(sizes, config.difficulty)
        self._noise = config.embedding_noise
        self._current: tuple[int, Rows] = (0, np.empty(0, dtype=np.int64))
        self._rng = rng
        self._in_batch = sampling == "in_batch"
        self._relevant = {id(q): _RelevantDocuments(q) for q in query_sets}
        self._documents_of: Callable[[QuerySet, Rows], tuple[Rows, Grades]] = (
            self._all_candidates if sampling == "all_candidates" else self._sampled
        )

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        total = 0
        for queries, quota in zip(self._query_sets, self._quotas, strict=True):
            passes, rest = divmod(quota, len(queries.query_ids))
            total += passes * -(-len(queries.query_ids) // self._batch_size)
            total += -(-rest // self._batch_size)
        return total

    def refresh(self, model: FusedSimilarity, epochs_done: int) -> None:
        """Let a model choose the negatives of its next epochs, if they are mined."""
        self._negatives.refresh(model, epochs_done)

    def epoch(self) -> Iterator[Batch]:
        """Yield every training query once, or each domain as often as its quota says."""
        parts = [
            (domain, rows)
            for domain, quota in enumerate(self._quotas)
            for rows in self._shuffled_blocks(domain, quota)
        ]
        for position in self._rng.permutation(len(parts)):
            domain, rows = self._current = parts[position]
            queries = self._query_sets[domain]
            documents, grades = self._documents_of(queries, rows)
            left_alone = self._negatives.left_alone(queries, rows, documents)
            if left_alone is not None:
                grades[left_alone & (grades == 0)] = LEFT_ALONE
            yield Batch(
                self._moved(queries.queries[rows]),
                self._moved(take(queries.documents, documents)),
                torch.from_numpy(grades),
            )

    @property
    def remembers(self) -> bool:
        """Flag that the losses of each batch are expected by `remember`."""
        return self._difficulty.weight > 0.0

    def remember(self, losses: Tensor) -> None:
        """Take the loss, (q,), of each query of the batch that was yielded last."""
        self._difficulty.remember(*self._current, losses.double().numpy())

    def state_dict(self) -> dict[str, Any]:
        """Return the state between two epochs: generator, mined negatives, past losses."""
        return {
            "generator": dict(self._rng.bit_generator.state),
            "negatives": self._negatives.state_dict(),
            "difficulty": self._difficulty.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self._rng.bit_generator.state = dict(state["generator"])
        self._negatives.load_state_dict(state["negatives"])
        self._difficulty.load_state_dict(state["difficulty"])

    def _shuffled_blocks(self, domain: int, quota: int) -> list[Rows]:
        """Return blocks of rows: passes over a domain until its quota is reached.

        A pass has each query once, or as many draws by difficulty.
        """
        n = len(self._query_sets[domain].query_ids)
        shares = self._difficulty.shares(domain)
        blocks: list[Rows] = []
        for done in range(0, quota, n):
            drawn = self._rng.permutation(n) if shares is None else self._rng.choice(n, n, p=shares)
            order = drawn[: quota - done]
            starts = range(0, len(order), self._batch_size)
            blocks += [order[start : start + self._batch_size] for start in starts]
        return blocks

    def _moved(self, vectors: Embeddings) -> Tensor:
        """Return vectors as a tensor; with noise, if configured, and of length 1 again."""
        moved = torch.from_numpy(vectors)
        if self._noise:
            # Torch draws normal numbers four times as fast as numpy.
            generator = torch.Generator().manual_seed(int(self._rng.integers(2**63)))
            noise = torch.randn(vectors.shape, generator=generator)
            moved = torch.add(moved, noise, alpha=self._noise / vectors.shape[1] ** 0.5)
            moved /= torch.linalg.vector_norm(moved, dim=1, keepdim=True)
        return moved

    def _sampled(self, queries: QuerySet, rows: Rows) -> tuple[Rows, Grades]:
        """Draw a positive per query, and negatives from its candidates, the judged ones first."""
        relevant = self._relevant[id(queries)]
        candidates = queries.candidates[rows]
        # Random keys order the candidates; candidates that are no negatives move past the end.
        keys = self._rng.random(candidates.shape) - self._negatives.judged(queries, rows)
        keys[~self._negatives.candidates(queries, rows)] = 2.0
        order = np.argsort(keys, axis=1)[:, : self._n_negatives]
        drawn = np.take_along_axis(candidates, order, axis=1)
        usable = np.take_along_axis(keys, order, axis=1) < 2.0
        answers, their_grades = relevant.draw(rows, self._rng)
        documents, columns = np.unique(
            np.concatenate([answers[:, None], drawn], axis=1), return_inverse=True
        )
        columns = columns.reshape(len(rows), -1)
        if self._in_batch:
            judged = relevant.grades(rows, documents)
            grades = np.where(judged > 0, LEFT_ALONE, judged)
        else:
            grades = np.full((len(rows), len(documents)), LEFT_ALONE, dtype=np.int32)
            np.put_along_axis(grades, columns[:, 1:], np.where(usable, 0, LEFT_ALONE), axis=1)
        # Last, since a drawn document that is not usable may be the answer itself.
        grades[np.arange(len(rows)), columns[:, 0]] = their_grades
        return documents, grades

    def _all_candidates(self, queries: QuerySet, rows: Rows) -> tuple[Rows, Grades]:
        """Return the union of the batch's candidates, cut to the largest size of a batch.

        A cut keeps all relevant documents, and drops those judged not relevant last.
        """
        relevant = self._relevant[id(queries)]
        answers = np.unique(relevant.of(rows)[1])
        candidates = queries.candidates[rows]
        rest = np.setdiff1d(candidates, answers)
        room = max(self._max_documents - len(answers), 1)
        if len(rest) > room:
            judged = np.intersect1d(rest, candidates[self._negatives.judged(queries, rows)])
            rest = self._cut(rest, judged, room)
        documents = np.sort(np.concatenate([answers, rest]))
        return documents, relevant.grades(rows, documents)

    def _cut(self, documents: Rows, first: Rows, room: int) -> Rows:
        """Draw as many documents as there is room for, `first` before the rest."""
        if len(first) > room:
            return self._rng.choice(first, room, replace=False)
        rest = np.setdiff1d(documents, first)
        drawn = self._rng.choice(rest, room - len(first), replace=False)
        return np.concatenate([first, drawn])


def quotas(sizes: Sequence[int], balance: float) -> list[int]:
    """Return the number of queries of each domain in an epoch, whose sum is that of all queries.

    A domain's share is in proportion to its size to the power of 1 - balance: at 0 each
    query comes once, at 1 all domains equally often.

    >>> quotas([900, 90, 10], 0.0), quotas([900, 90, 10], 0.5), quotas([900, 90, 10], 1.0)
    ([900, 90, 10], [703, 222, 74], [333, 333, 333])
    """
    shares = np.asarray(sizes) ** (1.0 - balance)
    exact = sum(sizes) * shares / shares.sum()
    return [max(round(number), 1) for number in exact.tolist()]


class _RelevantDocuments:
    """The relevant documents of every query of a set, in one array, for whole batches at once."""

    def __init__(self, queries: QuerySet) -> None:
        self._documents = np.concatenate(queries.positives)
        judged = [grade for query in queries.query_ids for grade in queries.qrels[query].values()]
        self._grades = np.array(judged, dtype=np.int32)
        self._counts = np.array([len(rows) for rows in queries.positives])
        self._firsts = np.cumsum(self._counts) - self._counts

    def draw(self, rows: Rows, rng: np.random.Generator) -> tuple[Rows, Grades]:
        """Draw a relevant document per query; return the documents and their grades."""
        chosen = self._firsts[rows] + rng.integers(self._counts[rows])
        return self._documents[chosen], self._grades[chosen]

    def of(self, rows: Rows) -> tuple[Rows, Rows, Grades]:
        """Return positions within `rows`, documents and grades of every relevant pair."""
        counts = self._counts[rows]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        queries = np.repeat(np.arange(len(rows)), counts)
        pairs = np.repeat(self._firsts[rows], counts) + within
        return queries, self._documents[pairs], self._grades[pairs]

    def grades(self, rows: Rows, documents: Rows) -> Grades:
        """Return the grades of sorted documents, (len(rows), len(documents)); 0: not relevant."""
        queries, relevant, grades = self.of(rows)
        columns = np.searchsorted(documents, relevant).clip(max=len(documents) - 1)
        here = documents[columns] == relevant
        result = np.zeros((len(rows), len(documents)), dtype=np.int32)
        result[queries[here], columns[here]] = grades[here]
        return result


class CorpusBatches:
    """An endless source of random texts of one corpus at a time, corpora drawn by size.

    Args:
        corpora: Text embeddings of each corpus, (n, dim).
        batch_size: Texts of a batch.
        rng: The only source of randomness.
    """

    def __init__(
        self, corpora: Sequence[Embeddings], batch_size: int, rng: np.random.Generator
    ) -> None:
        self._corpora = corpora
        self._batch_size = batch_size
        self._rng = rng
        sizes = np.array([len(corpus) for corpus in corpora], dtype=float)
        self._shares = sizes / sizes.sum()

    def next(self) -> Tensor:
        """Return the next batch, (batch_size, dim) float32; smaller if a corpus has fewer texts."""
        corpus = self._corpora[self._rng.choice(len(self._corpora), p=self._shares)]
        size = min(self._batch_size, len(corpus))
        return torch.from_numpy(take(corpus, self._rng.choice(len(corpus), size, replace=False)))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the generator."""
        return dict(self._rng.bit_generator.state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self._rng.bit_generator.state = dict(state)
