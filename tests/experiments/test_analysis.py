from __future__ import annotations

import pytest

from experiments.analysis import (
    all_pairs,
    averaged,
    differences,
    gains,
    measured,
    spread,
    targets,
)
from experiments.results import Result
from quantum_rerank.evaluation import holm
from quantum_rerank.evaluation.measurements import ModelAndCosine
from quantum_rerank.evaluation.targets import overfitting_gap, target_records
from tests.experiments.conftest import SCORES, Made

WORSE = {"a": {"1": 0.4, "2": 0.6}, "b": {"3": 0.7}}  # means 0.5 and 0.7, so 0.6


@pytest.fixture
def results(made: Made) -> list[Result]:
    """Two seeds of tuned, 0.8 and 0.6; cosine 0.5, default 0.55, twin 0.9."""
    return [
        made("cosine"),
        made("default"),
        made("tuned", 1),
        made("tuned", 2, scores={"trees": WORSE}),
        made("mlp_twin"),
    ]


def test_each_query_has_its_mean_over_seeds(results: list[Result]) -> None:
    mean = averaged(measured(results)["trees"]["tuned"])
    assert mean.metrics["ndcg@10"] == pytest.approx((0.8 + 0.6) / 2)
    assert mean.per_query["ndcg@10"] == pytest.approx({"a/1": 0.5, "a/2": 0.7, "b/3": 0.8})


def test_a_query_has_its_mean_over_the_seeds_that_tested_on_it(made: Made) -> None:
    first = made("tuned", 1, scores={"trees": {"a": {"1": 0.2, "2": 0.4}}})
    second = made("tuned", 2, scores={"trees": {"a": {"2": 0.8, "3": 1.0}}})
    mean = averaged(measured([first, second])["trees"]["tuned"])
    assert mean.per_query["ndcg@10"] == pytest.approx({"a/1": 0.2, "a/2": 0.6, "a/3": 1.0})
    assert set(mean.domains) == set(mean.per_query["ndcg@10"])
    # Queries have equal weight. The means of the seeds are 0.3 and 0.9.
    assert mean.metrics["ndcg@10"] == pytest.approx((0.2 + 0.6 + 1.0) / 3)


def test_a_difference_is_the_difference_of_the_means(results: list[Result]) -> None:
    (difference,) = differences(measured(results), "tuned", "cosine")
    assert difference.comparison.difference == pytest.approx(0.7 - 0.5)
    assert difference.comparison.relative == pytest.approx(0.4)
    assert difference.comparison.n_queries == 3


def flat(value: float, *queries: str) -> dict[str, dict[str, float]]:
    return {"a": dict.fromkeys(queries, value)}


def test_only_shared_seeds_are_paired(made: Made) -> None:
    """Seed 2 is easy. A row that fails on it must not be below a row that does not."""
    values = {("tuned", 1): 0.5, ("tuned", 3): 0.5, ("rbf", 1): 0.4, ("rbf", 2): 0.9}
    results = [
        made(name, seed, scores={"trees": flat(value, "1", "2")})
        for (name, seed), value in {**values, ("rbf", 3): 0.4}.items()
    ]
    results.append(made("tuned", 2, failed="The loss became nan.", scores={}))
    scores = measured(results)
    assert list(scores["trees"]["tuned"]) == [1, 3]
    (forth,), (back,) = differences(scores, "tuned", "rbf"), differences(scores, "rbf", "tuned")
    assert (forth.comparison.difference, forth.n_seeds) == (pytest.approx(0.1), 2)
    assert (back.comparison.difference, back.n_seeds) == (pytest.approx(-0.1), 2)


def test_rows_without_a_shared_seed_have_no_difference(made: Made) -> None:
    results = [made("tuned", 1), made("rbf", 2, scores={"trees": SCORES["default"]})]
    assert differences(measured(results), "tuned", "rbf") == []


def test_a_baseline_that_was_measured_once_is_paired_with_every_seed(made: Made) -> None:
    results = [
        made("cosine", 1, scores={"trees": flat(0.5, "1", "2")}),
        *(
            made("tuned", seed, scores={"trees": flat(0.5 + seed / 10, "1", "2")})
            for seed in (2, 3)
        ),
    ]
    (difference,) = differences(measured(results), "tuned", "cosine")
    assert (difference.comparison.difference, difference.n_seeds) == (pytest.approx(0.25), 2)
    assert gains(measured(results), "trees", "tuned") == pytest.approx([0.4, 0.6])


def test_each_split_is_paired_with_its_own_baseline(made: Made) -> None:
    results = [
        made(name, seed, scores={"trees": flat(easy + above, query)})
        for name, above in (("cosine", 0.0), ("tuned", 0.1))
        for seed, query, easy in ((1, "1", 0.2), (2, "2", 0.8))
        if (name, seed) != ("cosine", 2)  # as if it had ended without a result
    ]
    (difference,) = differences(measured(results), "tuned", "cosine")
    assert (difference.comparison.difference, difference.comparison.n_queries) == (
        pytest.approx(0.1),
        1,
    )
    assert difference.n_seeds == 1


def test_p_values_are_corrected_over_the_collections(made: Made) -> None:
    many = {"a": {str(n): 0.9 for n in range(12)}}
    few = {"a": {str(n): 0.5 for n in range(12)}}
    mixed = {"a": {str(n): 0.5 + 0.1 * (-1) ** n for n in range(12)}}
    results = [
        made(name, dataset=dataset, scores={dataset: scores})
        for dataset, tuned in (("large", many), ("none", mixed))
        for name, scores in (("tuned", tuned), ("cosine", few))
    ]
    large, none = differences(measured(results), "tuned", "cosine")
    assert [large.p_holm, none.p_holm] == holm([large.comparison.p_value, none.comparison.p_value])
    assert large.p_holm == pytest.approx(2 * large.comparison.p_value)


def test_a_reversed_pair_has_the_opposite_sign(results: list[Result]) -> None:
    scores = measured(results)
    forth = differences(scores, "tuned", "mlp_twin")
    back = differences(scores, "mlp_twin", "tuned")
    assert forth[0].comparison.difference == pytest.approx(-back[0].comparison.difference)
    assert forth[0].comparison.difference < 0.0


def test_tuned_is_compared_with_every_other_row(results: list[Result]) -> None:
    pairs = all_pairs(measured(results))
    assert {other for name, other in pairs if name == "tuned"} == {"cosine", "default", "mlp_twin"}


def test_gains_are_fractions_of_the_score_of_cosine_by_seed(results: list[Result]) -> None:
    scores = measured(results)
    assert gains(scores, "trees", "tuned") == pytest.approx([0.6, 0.2])
    assert gains(scores, "trees", "rbf") == gains(scores, "shrubs", "tuned") == []


def test_a_single_seed_has_no_spread() -> None:
    assert spread([0.5]) is None
    assert spread([0.5, 0.7]) == pytest.approx(0.02**0.5)


def test_targets_have_a_result_for_every_seed_and_stability_one_for_all(made: Made) -> None:
    good = target_records([overfitting_gap(ModelAndCosine(0.6, 0.5), ModelAndCosine(0.6, 0.5))])
    bad = target_records([overfitting_gap(ModelAndCosine(0.9, 0.5), ModelAndCosine(0.6, 0.5))])
    results = [
        made("tuned", 1, objective=0.58, targets=good),
        made("tuned", 2, objective=0.62, targets=bad),
    ]
    by_target = targets(results, "tuned")["trees"]
    assert [outcome.outcome for outcome in by_target["overfitting gap"]] == ["pass", "fail"]
    # Standard deviation 0.0283 over a mean gain of 0.1.
    assert [outcome.value for outcome in by_target["stability"]] == pytest.approx(
        [0.02**0.5 / 5 / 0.1]
    )


def test_every_seed_is_compared_with_cosine_on_its_own_split(made: Made) -> None:
    results = [
        made("tuned", seed, objective=cosine + 0.02, cosine_objective=cosine)
        for seed, cosine in enumerate((0.40, 0.50, 0.60), start=1)
    ]
    (outcome,) = targets(results, "tuned")["trees"]["stability"]
    assert outcome.value == pytest.approx(0.0, abs=1e-9)
    assert outcome.outcome == "pass"
    assert outcome.note == "3 seeds: mean gain +0.0200, standard deviation 0.0000"
