"""Page of a search."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.config import ExperimentConfig, load_config
from tests.tuning.test_status import Run, begin
from tuning.reporting.search_charts import importances, rung_counts, search_charts
from tuning.reporting.search_page import write_search_page
from tuning.reporting.search_scores import SearchScores
from tuning.reporting.snapshot import read_snapshot
from tuning.study.run_folder import SUMMARY

__all__ = ["begin"]  # a fixture
HOSTILE = "<script>alert(1)</script>[bold]<b>{{ 7 * 7 }}</b>"


@pytest.fixture
def run(begin: Callable[[], Run]) -> Run:
    """A search with complete, stopped and failed trials."""
    run = begin()
    run.session(60.0, ended="")
    run.events.write("session_started")
    for n in range(5):
        run.trial("COMPLETE", [0.2, 0.3, 0.4 + n / 100])
        run.trial("PRUNED", [0.1 + n / 100])
    run.trial("FAIL", [], f"error: {HOSTILE}")
    return run


def concluded(run: Run, **more: Any) -> None:
    """Write what the conclusion of a search writes, with hostile names."""
    best = {"number": 8, "test": {"ndcg@10": 0.6}, "unseen_test": {"ndcg@10": 0.5}}
    summary = {"best": best, "notes": [HOSTILE], "targets": [], **more}
    (run.folder / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")
    queries = {f"{HOSTILE}/{n}": 0.1 * n for n in range(8)}
    systems = {
        "winner": {query: value + 0.05 for query, value in queries.items()},
        "cosine": queries | {f"{HOSTILE}/7": 1.0},
        "bm25_cosine": queries,
    }
    domains = {query: "a" if n % 2 else HOSTILE for n, query in enumerate(queries)}
    roles = {"test": {"domains": domains, "systems": systems}}
    scores = {"metric": "ndcg@10", "winner": "winner", "roles": roles}
    (run.folder / "scores.json").write_text(json.dumps(scores), encoding="utf-8")


def page_of(run: Run) -> str:
    write_search_page(read_snapshot(run.folder), run.folder / "report.html")
    return (run.folder / "report.html").read_text(encoding="utf-8")


def charts_in(page: str) -> list[dict[str, Any]]:
    found = re.findall(r'<script type="application/json" id="chart-[0-9]+">(.*?)</script>', page)
    return [json.loads(text) for text in found]


def test_the_page_of_a_finished_search_has_every_section(run: Run) -> None:
    concluded(run)
    page = page_of(run)
    for title in ("Result", "Quality on test queries", "Trials", "Failures", "Worst queries"):
        assert f">{title}</h2>" in page
    assert "The winner is trial 8" in page
    assert "better than BM25 and the cosine, NDCG@10 +0.0500" in page
    titles = [chart["layout"]["title"]["text"] for chart in charts_in(page)]
    for title in ("Winner minus others", "Best objective so far", "Learning curves", "Timeline"):
        assert title in titles
    assert page.count('id="plotly"') == 1
    assert len(page) < 5_000_000


def test_the_page_asks_nothing_of_the_network(run: Run) -> None:
    concluded(run)
    page = re.sub(r'(?s)<script type="text/plain" id="plotly">.*?</script>', "", page_of(run))
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)
    assert "http" not in page


def test_what_a_user_typed_stays_text(run: Run) -> None:
    concluded(run)
    page = page_of(run)
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert "{{ 7 * 7 }}" in page  # a name is not a template
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_configuration_can_be_copied_into_a_file(run: Run, tmp_path: Path) -> None:
    concluded(run)
    listing = page_of(run).partition('<h3>Configuration</h3>\n<pre tabindex="0">')[2]
    file = tmp_path / "copied.yaml"
    file.write_text(listing.partition("</pre>")[0].replace("&#39;", "'"), encoding="utf-8")
    winner = run.study.trials[8]
    expected: ExperimentConfig = run.space.config_for(winner.params, 8)
    assert load_config(file) == expected


def test_a_search_without_a_conclusion_shows_its_trials(run: Run) -> None:
    page = page_of(run)
    assert "The search has not been concluded" in page
    assert "Quality on test queries" not in page
    assert ">Trials</h2>" in page


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"winner": 3}', '{"best": null}'])
def test_a_damaged_summary_or_damaged_scores_leave_the_rest(run: Run, content: str) -> None:
    concluded(run)
    (run.folder / "scores.json").write_text(content, encoding="utf-8")
    assert "The winner is trial 8" in page_of(run)
    (run.folder / SUMMARY).write_text(content, encoding="utf-8")
    assert ">Trials</h2>" in page_of(run)


def test_a_search_without_a_trial_has_a_page(begin: Callable[[], Run]) -> None:
    run = begin()
    run.session(1.0)
    page = page_of(run)
    assert "0 trials of 6 finished" in page
    assert not charts_in(page)


def test_stopped_trials_count_in_every_chart(run: Run) -> None:
    trials = run.study.trials
    assert rung_counts(trials, run.space)[1] == 10
    shares = importances([t for t in trials if t.state.name != "FAIL"], run.space)
    assert sum(shares.values()) == pytest.approx(1.0)
    best, *_ = (chart.figure for chart in search_charts(trials, run.space))
    assert {trace.name: len(trace.x) for trace in best.data} == {
        "complete": 5,
        "pruned": 5,
        "best so far": 10,
    }


def test_differences_are_paired_over_the_queries_of_a_role() -> None:
    roles = {
        "test": {
            "domains": {"a": "d", "b": "d"},
            "systems": {"winner": {"a": 0.5, "b": 0.7}, "cosine": {"a": 0.4, "b": 0.4}},
        }
    }
    scores = SearchScores.model_validate({"winner": "winner", "roles": roles})
    assert scores.comparisons()["test"]["cosine"].difference == pytest.approx(0.2)
