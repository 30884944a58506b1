from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.grid import Grid
from experiments.results import Result
from experiments.summarising import summarise
from experiments.summary import Difference, Mean, compact_json, pair_name, read_summary
from quantum_rerank.errors import DataError
from tests.experiments.conftest import SCORES, Made, experiments

ROOT = Path(__file__).parents[2]
LOWER = {"a": {"1": 0.4, "2": 0.6}, "b": {"3": 0.7}}  # means 0.5 and 0.7, so 0.6


@pytest.fixture
def results(made: Made) -> list[Result]:
    """Two seeds of tuned, 0.8 and 0.6, one of the other rows, and ICD-10 with one seed."""
    return [
        made("cosine"),
        made("default"),
        made("tuned", 1),
        made("tuned", 2, scores={"trees": LOWER}),
        made("mlp_twin"),
        *(
            made(name, dataset="icd10", scores={"icd10_seen": SCORES[name], "icd10_unseen": unseen})
            for name, unseen in (
                ("cosine", {"c": {"1": 0.5}}),
                ("tuned", {"c": {"1": 0.55}}),
                ("mlp_twin", {"c": {"1": 0.45}}),
            )
        ),
    ]


def test_a_summary_is_read_as_it_was_written(results: list[Result], tmp_path: Path) -> None:
    failed = Result({"dataset": "trees", "name": "rbf", "seed": 1, "failed": "The loss is nan."})
    summary = summarise(experiments([*results, failed]))
    path = tmp_path / "experiments.json"
    path.write_text(compact_json(summary.as_json()), encoding="utf-8")
    assert read_summary(path) == summary


def test_the_summary_begins_with_its_main_results(results: list[Result]) -> None:
    record = summarise(experiments(results)).as_json()
    assert record["seeds"] == [1, 2]
    assert record["collections"]["trees"] == {
        "cosine": 0.5,
        "mlp_twin": 0.9,
        "default": 0.55,
        "tuned": 0.7,
    }
    assert record["icd10"] == pytest.approx(
        {"seen_gain": 0.6, "unseen_gain": 0.1, "twin_seen_gain": 0.8, "twin_unseen_gain": -0.1}
    )


def test_missing_results_are_null(made: Made) -> None:
    record = summarise(experiments([made("cosine"), made("tuned")])).as_json()
    assert set(record["icd10"].values()) == {None}
    assert record["collections"]["trees"] == {"cosine": 0.5, "tuned": 0.8}


def test_means_have_their_spread_and_their_number_of_seeds(results: list[Result]) -> None:
    summary = summarise(experiments(results))
    assert summary.scores.cells["trees", "tuned"] == Mean(0.7, 0.1414, 2)
    assert summary.scores.cells["trees", "cosine"] == Mean(0.5, None, 1)


def test_a_pair_has_the_mean_of_its_differences(results: list[Result]) -> None:
    summary = summarise(experiments(results))
    pair = pair_name("tuned", "cosine")
    cells = summary.differences.row(pair)
    assert [cell.difference for cell in cells.values()] == pytest.approx([0.2, 0.3, 0.05])
    assert summary.mean_differences[pair] == pytest.approx(0.1833)


def test_a_curve_is_the_mean_over_seeds_and_keeps_its_last_value(made: Made) -> None:
    def course(*objectives: float) -> list[dict[str, float]]:
        return [{"epoch": n, "objective": x} for n, x in enumerate(objectives, start=1)]

    results = [
        made("tuned", 1, history=course(0.2, 0.4)),
        made("tuned", 2, history=course(0.4, 0.5, 0.7)),
    ]
    curves = summarise(experiments(results)).curves
    assert curves == {"trees": {"tuned": pytest.approx([0.3, 0.45, 0.55])}}


def test_the_sign_of_a_difference_says_whether_it_is_significant() -> None:
    above = Difference(0.1, 0.2, 0.05, 0.15, p_value=0.001, p_holm=0.01, n_seeds=5)
    assert above.sign == "above"
    assert replace(above, p_holm=0.05).sign == "above, not significantly"
    assert replace(above, difference=-0.1).sign == "below"
    assert replace(above, difference=0.0).sign == "equal"


def test_a_grid_without_cells_is_read_as_it_was_written() -> None:
    empty = Grid[Mean].of({})
    assert Grid.from_json(empty.as_json(), Mean) == empty


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seeds": [1]}'])
def test_a_file_that_is_not_a_summary_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "experiments.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"experiments\.json` (cannot be read|is not a summary)"):
        read_summary(path)


def test_the_recorded_summary_is_small_and_complete() -> None:
    path = ROOT / "docs" / "experiments.json"
    assert path.stat().st_size < 50_000
    record = json.loads(path.read_text(encoding="utf-8"))
    assert read_summary(path).as_json() == record
    assert {"seeds", "collections", "icd10"} <= record.keys()
