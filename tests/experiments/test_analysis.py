from __future__ import annotations

import pytest

from experiments.analysis import (
    all_pairs,
    as_json,
    averaged,
    differences,
    gains,
    measured,
    spread,
    targets,
)
from experiments.results import Result
from quantum_rerank.evaluation import holm
from quantum_rerank.training.targets import Standing, as_record, overfitting_gap
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


def test_each_query_counts_with_its_mean_over_seeds(results: list[Result]) -> None:
    mean = averaged(measured(results)["trees"]["tuned"])
    assert mean.metrics["ndcg@10"] == pytest.approx((0.8 + 0.6) / 2)
    assert mean.per_query["ndcg@10"] == pytest.approx({"a/1": 0.5, "a/2": 0.7, "b/3": 0.8})


def test_a_query_counts_with_the_seeds_that_tested_on_it(made: Made) -> None:
    one = made("tuned", 1, scores={"trees": {"a": {"1": 0.2, "2": 0.4}}})
    other = made("tuned", 2, scores={"trees": {"a": {"2": 0.8, "3": 1.0}}})
    found = averaged(measured([one, other])["trees"]["tuned"])
    assert found.per_query["ndcg@10"] == pytest.approx({"a/1": 0.2, "a/2": 0.6, "a/3": 1.0})
    assert set(found.domains) == set(found.per_query["ndcg@10"])
    # Queries weigh alike, not seeds, whose means are 0.3 and 0.9.
    assert found.metrics["ndcg@10"] == pytest.approx((0.2 + 0.6 + 1.0) / 3)


def test_a_difference_is_that_of_the_means(results: list[Result]) -> None:
    (one,) = differences(measured(results), "tuned", "cosine")
    assert one.found.difference == pytest.approx(0.7 - 0.5)
    assert one.found.relative == pytest.approx(0.4)
    assert one.found.n_queries == 3


def flat(value: float, *queries: str) -> dict[str, dict[str, float]]:
    return {"a": dict.fromkeys(queries, value)}


def test_only_seeds_that_both_rows_have_are_paired(made: Made) -> None:
    """Seed 2 is easy; what fails on it is not below what does not."""
    values = {("tuned", 1): 0.5, ("tuned", 3): 0.5, ("rbf", 1): 0.4, ("rbf", 2): 0.9}
    results = [
        made(name, seed, scores={"trees": flat(value, "1", "2")})
        for (name, seed), value in {**values, ("rbf", 3): 0.4}.items()
    ]
    results.append(made("tuned", 2, failed="The loss became nan.", scores={}))
    found = measured(results)
    assert list(found["trees"]["tuned"]) == [1, 3]
    (forth,), (back,) = differences(found, "tuned", "rbf"), differences(found, "rbf", "tuned")
    assert (forth.found.difference, forth.n_seeds) == (pytest.approx(0.1), 2)
    assert (back.found.difference, back.n_seeds) == (pytest.approx(-0.1), 2)


def test_rows_without_a_seed_in_common_have_no_difference(made: Made) -> None:
    results = [made("tuned", 1), made("rbf", 2, scores={"trees": SCORES["default"]})]
    assert differences(measured(results), "tuned", "rbf") == []


def test_what_was_measured_once_on_one_split_is_paired_with_every_seed(made: Made) -> None:
    results = [
        made("cosine", 1, scores={"trees": flat(0.5, "1", "2")}),
        *(
            made("tuned", seed, scores={"trees": flat(0.5 + seed / 10, "1", "2")})
            for seed in (2, 3)
        ),
    ]
    (one,) = differences(measured(results), "tuned", "cosine")
    assert (one.found.difference, one.n_seeds) == (pytest.approx(0.25), 2)
    assert gains(measured(results), "trees", "tuned") == pytest.approx([0.4, 0.6])


def test_where_seeds_have_their_own_split_each_is_paired_with_its_own_baseline(made: Made) -> None:
    results = [
        made(name, seed, scores={"trees": flat(easy + above, query)})
        for name, above in (("cosine", 0.0), ("tuned", 0.1))
        for seed, query, easy in ((1, "1", 0.2), (2, "2", 0.8))
        if (name, seed) != ("cosine", 2)  # as if it had ended without a result
    ]
    (one,) = differences(measured(results), "tuned", "cosine")
    assert (one.found.difference, one.found.n_queries) == (pytest.approx(0.1), 1)
    assert one.n_seeds == 1


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
    assert [large.holm, none.holm] == holm([large.found.p_value, none.found.p_value])
    assert large.holm == pytest.approx(2 * large.found.p_value)
    assert (large.significant, large.sign) == (True, "above")
    assert none.sign == "equal" or none.sign.endswith("not significantly")


def test_the_sign_is_told_whichever_it_is(results: list[Result]) -> None:
    found = measured(results)
    forth, back = differences(found, "tuned", "mlp_twin"), differences(found, "mlp_twin", "tuned")
    assert forth[0].found.difference == pytest.approx(-back[0].found.difference)
    assert [forth[0].sign.split(",")[0], back[0].sign.split(",")[0]] == ["below", "above"]


def test_tuned_is_held_against_every_other_row(results: list[Result]) -> None:
    pairs = all_pairs(measured(results))
    assert {other for name, other in pairs if name == "tuned"} == {"cosine", "default", "mlp_twin"}


def test_gains_are_fractions_of_the_cosine_s_score_by_seed(results: list[Result]) -> None:
    found = measured(results)
    assert gains(found, "trees", "tuned") == pytest.approx([0.6, 0.2])
    assert gains(found, "trees", "rbf") == gains(found, "shrubs", "tuned") == []


def test_one_seed_has_no_spread() -> None:
    assert spread([0.5]) is None
    assert spread([0.5, 0.7]) == pytest.approx(0.02**0.5)


def test_verdicts_are_those_of_every_seed_and_stability_that_of_all(made: Made) -> None:
    good = as_record([overfitting_gap(Standing(0.6, 0.5), Standing(0.6, 0.5))])
    bad = as_record([overfitting_gap(Standing(0.9, 0.5), Standing(0.6, 0.5))])
    results = [
        made("tuned", 1, objective=0.58, targets=good),
        made("tuned", 2, objective=0.62, targets=bad),
    ]
    found = targets(results, "tuned")["trees"]
    assert [one.outcome for one in found["overfitting gap"]] == ["pass", "fail"]
    # Standard deviation 0.0283 over a mean gain of 0.1.
    assert [one.value for one in found["stability"]] == pytest.approx([0.02**0.5 / 5 / 0.1])


def test_every_seed_is_held_against_the_cosine_of_its_own_split(made: Made) -> None:
    results = [
        made("tuned", seed, objective=cosine + 0.02, cosine_objective=cosine)
        for seed, cosine in enumerate((0.40, 0.50, 0.60), start=1)
    ]
    (one,) = targets(results, "tuned")["trees"]["stability"]
    assert one.value == pytest.approx(0.0, abs=1e-9)
    assert one.outcome == "pass"
    assert one.note == "3 seeds: mean gain +0.0200, standard deviation 0.0000"


def test_the_figures_have_means_and_gains(made: Made, results: list[Result]) -> None:
    icd10 = [
        made(name, dataset="icd10", scores={"icd10_seen": SCORES[name], "icd10_unseen": unseen})
        for name, unseen in (
            ("cosine", {"c": {"1": 0.5}}),
            ("tuned", {"c": {"1": 0.55}}),
            ("mlp_twin", {"c": {"1": 0.45}}),
        )
    ]
    every = [*results, *icd10]
    found = measured(every)
    figures = as_json(every, found, all_pairs(found), [1, 2], {"cran": "no such folder"})
    assert figures["seeds"] == [1, 2]
    assert figures["collections"]["trees"] == {
        "cosine": pytest.approx(0.5),
        "bm25": None,
        "mlp_twin": pytest.approx(0.9),
        "default": pytest.approx(0.55),
        "tuned": pytest.approx(0.7),
    }
    assert figures["icd10"] == pytest.approx(
        {"seen_gain": 0.6, "unseen_gain": 0.1, "twin_seen_gain": 0.8, "twin_unseen_gain": -0.1}
    )
    assert figures["every_model"]["trees"]["tuned"]["sd"] == pytest.approx(0.02**0.5)
    assert figures["every_model"]["trees"]["tuned"]["seeds"] == [1, 2]
    assert figures["left_out"] == {"cran": "no such folder"}


def test_what_was_not_measured_is_null(results: list[Result]) -> None:
    found = measured(results)
    figures = as_json(results, found, all_pairs(found), [1], {})
    assert set(figures["icd10"].values()) == {None}
