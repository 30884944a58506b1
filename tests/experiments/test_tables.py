from __future__ import annotations

from collections.abc import Sequence

import pytest

from experiments.plan import SEEN, UNSEEN, Setup
from experiments.results import Result
from experiments.summarising import summarise
from experiments.summary import Summary
from experiments.tables import (
    Table,
    configuration_table,
    gains_table,
    models_table,
    pair_table,
    scores_table,
    trainings_tables,
)
from quantum_rerank.config import ExperimentConfig, override
from tests.experiments.conftest import SCORES, Made, experiments

OTHER = {domain: dict.fromkeys(values, 0.6) for domain, values in SCORES["tuned"].items()}


@pytest.fixture
def results(made: Made) -> list[Result]:
    """Cosine, measured once, two seeds of tuned, and a third that failed."""
    failed = made("tuned", 3, failed="The loss became nan.", scores={})
    return [made("cosine"), made("tuned", 1), made("tuned", 2, scores={"trees": OTHER}), failed]


def summary_of(results: Sequence[Result], n_seeds: int = 2) -> Summary:
    return summarise(experiments(results, seeds=range(1, n_seeds + 1)))


def test_means_are_printed_with_their_spread_over_seeds(results: list[Result]) -> None:
    table = scores_table(summary_of(results), ("cosine", "tuned", "rbf"))
    assert table.rows == (("trees", "3", "0.5000", "0.7000 ± 0.1414", "-"),)


def test_means_of_fewer_seeds_are_marked_in_every_table(results: list[Result], made: Made) -> None:
    tuned, summary = "0.7000 ± 0.1414 (2 of 3 seeds)", summary_of(results, n_seeds=3)
    assert scores_table(summary, ("cosine", "tuned")).rows == (("trees", "3", "0.5000", tuned),)
    assert models_table(summary).rows == (("cosine", "0.5000"), ("tuned", tuned))
    for table in trainings_tables(summary, ["tuned"]):
        assert table.rows[0][1].endswith(" (2 of 3 seeds)")
    (row,) = pair_table(summary, "tuned minus cosine").rows
    assert row[:3] == ("trees", "2", "+0.2000")
    icd10 = [
        made(name, dataset="icd10", scores=dict.fromkeys((SEEN, UNSEEN), SCORES[name]))
        for name in ("cosine", "tuned")
    ]
    rows = gains_table(summary_of(icd10, n_seeds=3)).rows
    assert rows == (("cosine", "+0.0 %", "+0.0 %"), ("tuned", *["+60.0 % (1 of 3 seeds)"] * 2))


def test_queries_are_counted_over_all_seeds(made: Made) -> None:
    results = [
        made("tuned", seed, scores={"trees": {"a": dict.fromkeys(queries, 0.5)}})
        for seed, queries in ((1, "123"), (2, "345"))
    ]
    table = scores_table(summary_of(results), ("tuned",))
    assert table.columns[1] == "test queries, all seeds"
    assert table.rows[0][1] == "5"


def test_equal_values_are_not_printed(results: list[Result]) -> None:
    config = ExperimentConfig()
    other = override(config, {"seed": 3, "data.candidates": 9, "model": "hybrid_amplitude"})
    rows = {name: Setup("hybrid", config) for name in ("default", "tuned", "tuned_twin")}
    assert summarise(experiments(results, rows=rows)).configuration == {}
    changed = {**rows, "tuned": Setup("hybrid_amplitude", other)}
    table = configuration_table(summarise(experiments(results, rows=changed)))
    assert table.columns == ("key", "default", "tuned", "tuned_twin")
    assert table.rows == (("model", "hybrid", "hybrid_amplitude", "hybrid"),)


def test_a_bar_in_a_cell_is_escaped() -> None:
    assert Table("A title", ("key", "value"), (("a|b", "1"),)).markdown().splitlines() == [
        "**A title**",
        "",
        "| key | value |",
        "| :-- | --: |",
        "| a\\|b | 1 |",
    ]
