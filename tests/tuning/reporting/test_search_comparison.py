"""Comparison of searches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quantum_rerank.errors import ConfigError, DataError, OutputError
from tests.tuning.test_status import Run, begin
from tuning import compare
from tuning.reporting.search_comparison import (
    at_equal_budget,
    compare_winners,
    importance_table,
    overview,
    parameters_that_differ,
    progress_rows,
    read_searches,
)
from tuning.reporting.summary import SCORES

__all__ = ["begin"]  # a fixture
HOSTILE = "<b>[bold]{{ 1 }}"


@pytest.fixture
def folders(begin: Callable[[], Run], tmp_path: Path) -> list[Path]:
    """Two searches: the second has one trial more, which is better."""
    run = begin()
    run.session(60.0, ended="")
    for n in range(10):
        run.trial("COMPLETE", [0.2, 0.3, 0.4 + n / 100])
    first = Path(shutil.copytree(run.folder, tmp_path / "first"))
    run.trial("COMPLETE", [0.5, 0.6])
    for folder, gain in ((first, 0.0), (run.folder, 0.1)):
        queries = {f"{HOSTILE}/{n}": 0.1 * n + gain for n in range(8)}
        role = {"domains": dict.fromkeys(queries, HOSTILE), "systems": {"winner": queries}}
        record = {"metric": "ndcg@10", "winner": "winner", "roles": {"test": role}}
        (folder / SCORES).write_text(json.dumps(record), encoding="utf-8")
    return [first, run.folder]


def test_searches_are_compared_after_the_same_core_time(folders: list[Path]) -> None:
    searches = read_searches(folders)
    rows = at_equal_budget(searches).rows
    assert rows[-1] == ("5:00", "0.4900", "0.4900")  # ten trials of 30 s each
    assert rows[1] == ("1:15", "0.4100", "0.4100")
    assert rows[0] == ("0:30", "0.4000", "0.4000")
    assert [row[5] for row in overview(searches).rows] == ["0.4900", "0.6000"]


def test_the_winners_are_paired_over_their_common_queries(folders: list[Path]) -> None:
    (one,) = compare_winners(read_searches(folders))
    assert one.comparison.difference == pytest.approx(-0.1)
    assert one.comparison.n_queries == 8
    assert one.adjusted_p == one.comparison.p_value < 0.05


def test_winners_without_a_common_query_are_not_compared(folders: list[Path]) -> None:
    record = json.loads((folders[0] / SCORES).read_text())
    role = record["roles"]["test"]
    role["systems"]["winner"] = {"other": 0.5}
    role["domains"] = {"other": "d"}
    (folders[0] / SCORES).write_text(json.dumps(record))
    assert compare_winners(read_searches(folders)) == []


def test_parameters_and_importances_stand_side_by_side(folders: list[Path]) -> None:
    searches = read_searches(folders)
    differing = parameters_that_differ(searches)
    assert differing.columns == ("key", "first", "run")
    assert all(len(set(row[1:])) == 2 for row in differing.rows)
    assert importance_table(searches).columns == ("parameter", "first", "run")


def test_the_progress_of_a_search_is_a_row_per_trial(folders: list[Path]) -> None:
    rows = progress_rows(read_searches(folders))
    assert [row["search"] for row in rows] == ["first"] * 10 + ["run"] * 11
    assert [row["core_seconds"] for row in rows[:3]] == [30.0, 60.0, 90.0]


def test_the_command_prints_tables_and_writes_a_table_and_a_page(
    folders: list[Path], tmp_path: Path
) -> None:
    html, csv = tmp_path / "comparison.html", tmp_path / "progress.csv"
    arguments = [*map(str, folders), "--html", str(html), "--csv", str(csv)]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(
        compare.app, arguments, catch_exceptions=False
    )
    assert "Winners on the same test queries, paired" in result.output
    assert csv.read_text(encoding="utf-8").startswith("search,trials,core_seconds")
    page = html.read_text(encoding="utf-8")
    assert "Best objective by core seconds" in page
    assert "<b>" not in page
    error = CliRunner().invoke(compare.app, arguments).exception
    assert isinstance(error, OutputError)


def test_one_search_is_no_comparison(folders: list[Path]) -> None:
    for arguments in ([folders[0]], [folders[0], folders[0]]):
        error = CliRunner().invoke(compare.app, list(map(str, arguments))).exception
        assert isinstance(error, ConfigError)


def test_every_folder_without_a_search_is_named(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_searches([folders[0], tmp_path / "none", tmp_path / "nothing"])
    assert len(caught.value.problems) == 2
