from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from quantum_rerank.config import CircuitConfig, ExperimentConfig, MlpConfig
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.similarity import FusedSimilarity, build_head, fuse
from quantum_rerank.training.config import LossConfig, NegativesConfig
from quantum_rerank.training.negatives import NEVER, Negatives, answers, mined
from quantum_rerank.training.trial_data import TrialData

KINDS = ("random", "semi_hard", "hard")
every_kind = pytest.mark.parametrize("kind", KINDS)
mined_kinds = pytest.mark.parametrize("kind", ["semi_hard", "hard"])


@pytest.fixture
def model() -> FusedSimilarity:
    torch.manual_seed(0)
    return FusedSimilarity(
        build_head(
            ExperimentConfig(
                model="mlp_twin",
                circuit=CircuitConfig(n_qubits=2, n_layers=2, engine="torch"),
                mlp=MlpConfig(hidden_layers=[8], dropout=0.5),
            ),
            16,
        ),
        0.3,
    )


def negatives(
    query_sets: tuple[QuerySet, ...],
    kind: str,
    margin: float = NEVER,
    on_fidelity: bool = True,
    n_sampled: int = 31,
    **numbers: int,
) -> Negatives:
    settings: dict[str, Any] = {"pool": 3, "refresh_epochs": 2, "false_negative_margin": margin}
    loss = LossConfig(score="fidelity" if on_fidelity else "fused", negatives=n_sampled)
    return Negatives(query_sets, NegativesConfig(kind=kind, **(settings | numbers)), loss)


def drawable(source: Negatives, queries: QuerySet) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return source.candidates(queries, np.arange(len(queries.query_ids)))


def scores_of(model: FusedSimilarity, queries: QuerySet, on_fidelity: bool) -> Any:
    """Every query against every document, without dropout."""
    model.eval()
    with torch.no_grad():
        asked, found = (torch.from_numpy(x) for x in (queries.queries, queries.documents))
        affinity = model(asked, found).affinity.double().numpy()
    if on_fidelity:
        return affinity
    return fuse((queries.queries @ queries.documents.T), affinity, model.weight.item())


@every_kind
def test_a_relevant_candidate_is_never_a_negative(
    query_set: QuerySet, model: FusedSimilarity, kind: str
) -> None:
    source = negatives((query_set,), kind, pool=12)
    source.refresh(model, 0)
    np.testing.assert_array_equal(drawable(source, query_set), query_set.grades <= 0)


@pytest.mark.parametrize("on_fidelity", [True, False])
def test_hard_negatives_are_those_that_the_model_scores_highest(
    query_set: QuerySet, model: FusedSimilarity, on_fidelity: bool
) -> None:
    source = negatives((query_set,), "hard", on_fidelity=on_fidelity)
    source.refresh(model, 0)
    scores = scores_of(model, query_set, on_fidelity)
    for row, chosen in enumerate(drawable(source, query_set)):
        irrelevant = set(query_set.candidates[row]) - set(query_set.positives[row])
        expected = sorted(irrelevant, key=lambda d, row=row: -scores[row, d])[:3]
        assert set(query_set.candidates[row][chosen]) == set(expected)


@pytest.mark.parametrize("on_fidelity", [True, False])
def test_semi_hard_negatives_are_the_next_below_the_answer(
    query_set: QuerySet, model: FusedSimilarity, on_fidelity: bool
) -> None:
    # An answer need not be among the candidates to be what they are measured by.
    queries = replace(
        query_set,
        candidates=query_set.candidates[:, 1:],
        grades=query_set.grades[:, 1:],
        cosine=query_set.cosine[:, 1:],
    )
    source = negatives((queries,), "semi_hard", pool=8, on_fidelity=on_fidelity)
    source.refresh(model, 0)
    scores = scores_of(model, queries, on_fidelity)
    nearest, _ = answers(queries)
    n_below = n_above = 0
    for row, chosen in enumerate(drawable(source, queries)):
        irrelevant = set(queries.candidates[row]) - set(queries.positives[row])
        answer = scores[row, nearest[row]]
        below = sorted(
            (d for d in irrelevant if scores[row, d] < answer),
            key=lambda d, row=row: -scores[row, d],
        )
        above = sorted(irrelevant - set(below), key=lambda d, row=row: scores[row, d])
        assert set(queries.candidates[row][chosen]) == set([*below, *above][:8])
        n_below += len(below)
        n_above += len([*below, *above][:8]) - len(below)
    assert n_below
    assert n_above


def test_an_answer_is_the_relevant_document_of_the_highest_cosine(query_set: QuerySet) -> None:
    cosine = query_set.queries @ query_set.documents.T
    documents, values = answers(query_set)
    for row, relevant in enumerate(query_set.positives):
        assert documents[row] in relevant
        assert values[row] == pytest.approx(cosine[row, relevant].max())
        assert cosine[row, documents[row]] == pytest.approx(values[row])


@pytest.mark.parametrize("answer", [None, np.array([0.5])])
def test_a_pool_larger_than_what_is_usable_holds_all_of_it(answer: Any) -> None:
    usable = np.array([[True, False, True, True]])
    chosen = mined(np.array([[0.1, 0.9, 0.5, 0.7]]), answer, usable, pool=10)
    np.testing.assert_array_equal(chosen, usable)


@every_kind
def test_no_more_negatives_are_drawn_than_the_pool_holds(query_set: QuerySet, kind: str) -> None:
    drawn = [negatives((query_set,), kind, pool=3, n_sampled=n).n_drawn for n in (2, 31)]
    assert drawn == [2, 31 if kind == "random" else 3]


@mined_kinds
def test_before_anything_is_mined_all_candidates_may_be_drawn(
    query_set: QuerySet, kind: str
) -> None:
    source = negatives((query_set,), kind)
    np.testing.assert_array_equal(drawable(source, query_set), query_set.grades <= 0)


@mined_kinds
def test_negatives_are_mined_anew_every_so_many_epochs(
    trial_data: TrialData, model: FusedSimilarity, kind: str
) -> None:
    source = negatives(trial_data.train, kind, refresh_epochs=3)
    found = []
    for epoch in range(7):
        source.refresh(model, epoch)
        found.append(np.concatenate([drawable(source, q) for q in trial_data.train]))
        with torch.no_grad():
            for weight in model.head.parameters():
                weight.add_(torch.randn_like(weight))
    changed = [not np.array_equal(one, other) for one, other in pairwise(found)]
    assert changed == [False, False, True, False, False, True]


def test_a_training_that_starts_late_is_mined_for_before_its_first_epoch(
    query_set: QuerySet, model: FusedSimilarity
) -> None:
    source = negatives((query_set,), "hard", refresh_epochs=5)
    source.refresh(model, 3)
    assert (drawable(source, query_set).sum(axis=1) == 3).all()


def test_mining_draws_nothing_and_leaves_the_model_as_it_is(
    query_set: QuerySet, model: FusedSimilarity
) -> None:
    before = torch.get_rng_state(), {n: t.clone() for n, t in model.state_dict().items()}
    negatives((query_set,), "hard").refresh(model, 0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert all(torch.equal(t, before[1][n]) for n, t in model.state_dict().items())


@mined_kinds
def test_what_was_mined_is_drawn_from_after_it_was_restored(
    trial_data: TrialData, model: FusedSimilarity, kind: str
) -> None:
    source, again, fresh = (negatives(trial_data.train, kind) for _ in range(3))
    again.load_state_dict(fresh.state_dict())
    source.refresh(model, 0)
    again.load_state_dict(source.state_dict())
    for queries in trial_data.train:
        np.testing.assert_array_equal(drawable(again, queries), drawable(source, queries))
    # What is restored counts as mined: it stays until it is time.
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.add_(torch.randn_like(weight))
    again.refresh(model, 1)
    for queries in trial_data.train:
        np.testing.assert_array_equal(drawable(again, queries), drawable(source, queries))


@every_kind
def test_suspected_candidates_are_not_drawn(
    query_set: QuerySet, model: FusedSimilarity, kind: str
) -> None:
    source = negatives((query_set,), kind, pool=12, margin=0.1)
    source.refresh(model, 0)
    _, nearest = answers(query_set)
    expected = (query_set.grades <= 0) & (query_set.cosine <= nearest[:, None] - np.float32(0.1))
    np.testing.assert_array_equal(drawable(source, query_set), expected)
    assert expected.any()
    assert (expected != (query_set.grades <= 0)).any()


def test_by_default_nothing_is_left_alone(query_set: QuerySet) -> None:
    rows = np.arange(3)
    assert negatives((query_set,), "hard").left_alone(query_set, rows, rows) is None


def with_rejected(queries: QuerySet, n_rejected: int = 2) -> tuple[QuerySet, Any]:
    """The same with the farthest candidates judged not relevant; and where these are, (q, k)."""
    places = [np.flatnonzero(grades <= 0)[-n_rejected:] for grades in queries.grades]
    rows = tuple(near[p] for near, p in zip(queries.candidates, places, strict=True))
    mask = np.zeros(queries.candidates.shape, dtype=bool)
    for query, place in enumerate(places):
        mask[query, place] = True
    return replace(queries, not_relevant=rows), mask


@every_kind
@pytest.mark.parametrize("margin", [NEVER, 2.0])
def test_what_was_judged_not_relevant_is_always_drawable_and_never_suspected(
    query_set: QuerySet, model: FusedSimilarity, kind: str, margin: float
) -> None:
    queries, rejected = with_rejected(query_set)
    source = negatives((queries,), kind, pool=1, margin=margin)
    source.refresh(model, 0)
    everyone = np.arange(len(queries.query_ids))
    np.testing.assert_array_equal(source.judged(queries, everyone), rejected)
    assert drawable(source, queries)[rejected].all()
    if margin != NEVER:  # every other document is suspected
        np.testing.assert_array_equal(drawable(source, queries), rejected)
        left_alone = source.left_alone(queries, everyone, np.arange(24))
        assert left_alone is not None
        for row, rows in enumerate(queries.not_relevant):
            np.testing.assert_array_equal(np.flatnonzero(~left_alone[row]), np.sort(rows))


@pytest.mark.parametrize("margin", [NEVER, 0.1])
def test_a_querys_own_documents_are_left_alone_wherever_they_come_from(
    query_set: QuerySet, margin: float
) -> None:
    own = tuple(np.array([row], dtype=np.int64) for row in range(len(query_set.query_ids)))
    queries = replace(query_set, own_documents=own)
    rows, documents = np.array([3, 0]), np.arange(5)
    left_alone = negatives((queries,), "random", margin=margin).left_alone(queries, rows, documents)
    expected = np.array([documents == 3, documents == 0])
    if margin != NEVER:
        suspected = negatives((query_set,), "random", margin=margin)
        more = suspected.left_alone(query_set, rows, documents)
        assert more is not None
        expected |= more
    np.testing.assert_array_equal(left_alone, expected)


def test_training_with_hard_negatives_sees_harder_ones(
    trial_data: TrialData, small_config: Callable[..., Any]
) -> None:
    from quantum_rerank.training.hybrid_trainer import make_trainer

    still = {"optimizer.mlp_lr": 1e-12, "optimizer.circuit_lr": 1e-12, "mlp.dropout": 0.0}

    def loss(kind: str) -> float:
        config = small_config(still | {"negatives.kind": kind, "negatives.pool": 1})
        return next(make_trainer(config, trial_data).epochs()).metrics["train_loss"]

    assert loss("random") < loss("hard")
    assert loss("semi_hard") < loss("hard")
