from __future__ import annotations

import pytest

from quantum_rerank.evaluation import (
    COSINE,
    METRICS,
    NDCG,
    Scores,
    difference_table,
    leaderboard,
    over_domains,
)


def measured(per_query: dict[str, float]) -> dict[str, dict[str, float]]:
    """The same values of every metric."""
    return dict.fromkeys(METRICS, per_query)


def scores(*values: float) -> Scores:
    """The same value of every metric, one query per value."""
    per_query = {f"q{i}": value for i, value in enumerate(values)}
    return over_domains(["trees"], [measured(per_query)])


def test_every_domain_counts_the_same_however_many_queries_it_has() -> None:
    large = measured({"a": 1.0, "b": 1.0, "c": 1.0})
    small = measured({"a": 0.0})
    scores_over_domains = over_domains(["large", "small"], [large, small])
    assert scores_over_domains.metrics == dict.fromkeys(METRICS, 0.5)


def test_queries_with_the_same_id_are_distinguished_by_domain() -> None:
    first = measured({"a": 1.0})
    second = measured({"a": 0.0})
    scores_over_domains = over_domains(["one", "other"], [first, second])
    assert scores_over_domains.per_query[NDCG] == {"one/a": 1.0, "other/a": 0.0}


def test_the_best_system_is_first_and_compared_with_cosine() -> None:
    table = leaderboard("test", {COSINE: scores(0.4, 0.6), "hybrid": scores(0.5, 0.7)})
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns["system"] == ["hybrid", COSINE]
    assert columns[NDCG.upper()] == ["0.6000", "0.5000"]
    assert columns["vs cosine"] == ["+20.0%", ""]


def test_a_table_of_cosine_alone_has_one_row() -> None:
    assert leaderboard("test", {COSINE: scores(0.4, 0.6)}).row_count == 1


@pytest.mark.parametrize(("value", "sign"), [(0.7, "+0.2000"), (0.3, "-0.2000")])
def test_a_difference_is_stated_with_its_sign(value: float, sign: str) -> None:
    table = difference_table("hybrid", scores(value, value), {"twin": scores(0.5, 0.5)})
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns["hybrid minus"] == ["twin"]
    assert columns["difference"] == [sign]
    assert "2 queries" in str(table.title)


def test_each_difference_shows_the_number_of_trained_parameters() -> None:
    counts = {"hybrid": 134_596, "twin": 134_552}
    table = difference_table("hybrid", scores(0.7, 0.7), {"twin": scores(0.5, 0.5)}, counts)
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns["trained"] == ["134,552"]
    assert "134,596" in str(table.caption)


def test_a_gain_over_a_score_of_zero_is_not_shown() -> None:
    table = leaderboard("test", {COSINE: scores(0.0, 0.0), "hybrid": scores(0.5, 0.7)})
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns["vs cosine"] == ["-", ""]
