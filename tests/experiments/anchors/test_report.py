from __future__ import annotations

import pytest

from experiments.anchors.report import Comparison, document
from experiments.results import Result
from tests.experiments.conftest import SCORES, Made


@pytest.fixture
def page(made: Made) -> str:
    trees = {"trees": SCORES["mlp_twin"]}
    results: list[Result] = [
        made("cosine"),
        *(made("tuned", seed) for seed in (1, 2)),
        *(made("lambdamart", seed, scores=trees, processor_seconds=3.0) for seed in (1, 2)),
        made("encoder", 1, scores={"trees": SCORES["cosine"]}),
    ]
    times = {"cosine": 5.0, "tuned": 6.25, "lambdamart": 7.0, "encoder": 5.0}
    return document(Comparison("python -m experiments.anchors", results, times, "trees"))


def test_scores_stand_beside_those_of_the_experiments(page: str) -> None:
    assert (
        "| collection | test queries, all seeds | cosine | tuned | lambdamart | encoder |" in page
    )
    assert "| trees | 3 | 0.5000 | 0.8000 ± 0.0000 | 0.9000 ± 0.0000 | 0.5000 (1 seed) |" in page


def test_few_seeds_are_no_result(page: str) -> None:
    assert "`encoder` was measured on 1 of 1 collection, with 1 seed or more each." in page


def test_differences_are_tuned_minus_the_anchor(page: str) -> None:
    assert "| trees | 2 | -0.1000 | -11.1% | -0.1500 to -0.0750 |" in page
    assert "- `tuned` minus `lambdamart`: -0.1000 on average over 1 collection;" in page
    assert "minus encoder_bm25" not in page


def test_the_time_of_training_and_of_a_query_stand_beside_quality(page: str) -> None:
    assert "| lambdamart | 3.0 |" in page
    assert "| lambdamart | 7.0 | 0.9000 |" in page
