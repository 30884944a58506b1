from __future__ import annotations

import pytest

from experiments.analysis import differences, measured
from experiments.plan import SEEN, UNSEEN
from experiments.results import Result
from experiments.tables import (
    gains_table,
    markdown,
    models_table,
    numbers_table,
    pair_table,
    scores_table,
    trainings_tables,
)
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.reports.tabular import Tabular
from tests.experiments.conftest import SCORES, Made

OTHER = {domain: dict.fromkeys(found, 0.6) for domain, found in SCORES["tuned"].items()}


@pytest.fixture
def results(made: Made) -> list[Result]:
    """The cosine, measured once, and two seeds of tuned, of which a third has failed."""
    failed = made("tuned", 3, failed="The loss became nan.", scores={})
    return [made("cosine"), made("tuned", 1), made("tuned", 2, scores={"trees": OTHER}), failed]


def test_means_stand_beside_their_spread_over_seeds(results: list[Result]) -> None:
    table = scores_table(measured(results), ("cosine", "tuned", "rbf"), n_seeds=2)
    assert table.rows == (("trees", "3", "0.5000", "0.7000 ± 0.1414", "-"),)


def test_means_of_fewer_seeds_are_marked_in_every_table(results: list[Result], made: Made) -> None:
    tuned, found = "0.7000 ± 0.1414 (2 of 3 seeds)", measured(results)
    assert scores_table(found, ("cosine", "tuned"), 3).rows == (("trees", "3", "0.5000", tuned),)
    assert models_table(found, 3).rows == (("cosine", "0.5000"), ("tuned", tuned))
    for table in trainings_tables(results, ["tuned"], 3):
        assert table.rows[0][1].endswith(" (2 of 3 seeds)")
    (row,) = pair_table("tuned", "cosine", differences(found, "tuned", "cosine")).rows
    assert row[:3] == ("trees", "2", "+0.2000")
    icd10 = [
        made(name, dataset="icd10", scores=dict.fromkeys((SEEN, UNSEEN), SCORES[name]))
        for name in ("cosine", "tuned")
    ]
    rows = gains_table(measured(icd10), 3).rows
    assert rows == (("cosine", "+0.0 %", "+0.0 %"), ("tuned", *["+60.0 % (1 of 3 seeds)"] * 2))


def test_queries_are_counted_over_all_seeds(made: Made) -> None:
    results = [
        made("tuned", seed, scores={"trees": {"a": dict.fromkeys(queries, 0.5)}})
        for seed, queries in ((1, "123"), (2, "345"))
    ]
    table = scores_table(measured(results), ("tuned",), 2)
    assert table.columns[1] == "queries tested, all seeds"
    assert table.rows[0][1] == "5"


def test_numbers_that_are_the_same_are_no_row() -> None:
    config = ExperimentConfig()
    other = override(config, {"seed": 3, "data.candidates": 9, "model": "hybrid_amplitude"})
    assert numbers_table(config, {"tuned": config}).rows == ()
    table = numbers_table(config, {"tuned": other, "tuned_twin": config})
    assert table.columns == ("key", "default", "tuned", "tuned_twin")
    assert table.rows == (("model", "hybrid", "hybrid_amplitude", "hybrid"),)


def test_a_table_s_cells_do_not_break_it() -> None:
    text = markdown(Tabular("A title", ("what", "value"), (("a|b", "1"),)))
    assert text.splitlines() == [
        "**A title**",
        "",
        "| what | value |",
        "| :-- | --: |",
        "| a\\|b | 1 |",
    ]
