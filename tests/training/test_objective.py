"""What validation permits: standard errors of roles, and choices by their likelihood."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantum_rerank.training.objective import Roles, lead_share, mean_choice

GRID = (0.0, 0.5, 1.0)
PRIOR = (0.5, 10.0)  # which weights all choices almost alike


def test_roles_count_alike_and_so_do_their_domains() -> None:
    values = [np.array([0.2, 0.4]), np.array([0.6]), np.array([0.9, 0.7, 0.8])]
    assert Roles(2).means(values) == pytest.approx({"seen": 0.45, "unseen": 0.8})
    assert Roles(3).means(values) == pytest.approx({"seen": 1.7 / 3})


def test_the_standard_error_of_one_domain_is_that_of_a_mean() -> None:
    difference = np.array([0.1, 0.3, -0.1, 0.2])
    error = Roles(1).standard_error([difference], [np.zeros(4)])
    assert error == pytest.approx(difference.std(ddof=1) / 2.0)


def test_a_domain_of_one_query_has_the_variance_of_its_role() -> None:
    left = [np.array([0.1]), np.array([0.3])]
    error = Roles(2).standard_error(left, [np.zeros(1), np.zeros(1)])
    assert error == pytest.approx(np.std([0.1, 0.3], ddof=1) / math.sqrt(2))
    assert math.isinf(Roles(1).standard_error(left[:1], [np.zeros(1)]))


def test_with_one_query_every_choice_is_as_likely() -> None:
    values = [[np.array([value])] for value in (0.1, 0.9, 0.2)]
    assert mean_choice(GRID, values, Roles(1), {"seen": 0.1}, PRIOR) == pytest.approx(0.5)


def test_a_prior_decides_where_queries_do_not() -> None:
    values = [[np.array([value])] for value in (0.1, 0.9, 0.2)]
    assert mean_choice(GRID, values, Roles(1), {"seen": 0.1}, (0.0, 0.1)) < 0.01


def test_the_more_queries_the_nearer_the_best_choice() -> None:
    rng = np.random.default_rng(0)
    distances = []
    for n_queries in (4, 40, 4000):
        values = [[0.5 + gain + 0.1 * rng.normal(size=n_queries)] for gain in (0.0, 0.01, 0.02)]
        distances.append(1.0 - mean_choice(GRID, values, Roles(1), {"seen": 0.0}, PRIOR))
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 0.01


@pytest.mark.parametrize("lead", [-0.1, 0.0, 0.01])
def test_a_lead_within_a_standard_error_counts_nothing(lead: float) -> None:
    assert lead_share(lead, 0.01) == 0.0
    assert lead_share(lead, math.inf) == 0.0
