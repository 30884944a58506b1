from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from typer.testing import CliRunner

from quantum_rerank.cli.report import app
from quantum_rerank.evaluation import compare
from quantum_rerank.evaluation.measurements import SeedGains
from quantum_rerank.evaluation.targets import stability
from quantum_rerank.reports.runs import grouped, read_runs
from quantum_rerank.reports.tables import (
    paired,
    runs_table,
    seeds_table,
    targets_table,
    worst_table,
)

Ended = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session")
def seeds(setting: Any, ended_training: Path) -> list[Path]:
    """Two trainings that differ in their seed."""
    return [ended_training, setting.train(setting.root / "seed-8", {"seed": 8})]


def analysed(*arguments: object, width: int = 400) -> str:
    line = list(map(str, arguments))
    result = CliRunner(env={"COLUMNS": str(width)}).invoke(app, line, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def metrics_of(run: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return record


def test_trainings_that_differ_in_their_seed_only_are_one_group(
    setting: Any, seeds: list[Path], tmp_path: Path
) -> None:
    other = setting.train(tmp_path / "other", {"optimizer.mlp_lr": 0.01})
    groups = grouped(read_runs([*reversed(seeds), other])[0])
    assert [[run.path for run in group.runs] for group in groups] == [seeds, [other]]
    printed = [row[-1] for row in runs_table(groups).rows]
    assert printed == ["optimizer.mlp_lr 0.001"] * 2 + ["optimizer.mlp_lr 0.01"]


def test_a_missing_key_of_a_configuration_has_its_default(
    seeds: list[Path], tmp_path: Path
) -> None:
    shutil.copytree(seeds[1], tmp_path / "older")
    record = metrics_of(seeds[1])
    for key in ("columns", "separator", "quoting", "max_unmatched_judgments"):
        del record["config"]["data"][key]
    (tmp_path / "older" / "metrics.json").write_text(json.dumps(record))
    groups = grouped(read_runs([seeds[0], tmp_path / "older"])[0])
    assert [len(group.runs) for group in groups] == [2]


@pytest.mark.parametrize("key", ["seed", "model"])
def test_a_run_without_seed_or_model_has_the_defaults(
    seeds: list[Path], tmp_path: Path, key: str
) -> None:
    shutil.copytree(seeds[0], tmp_path / "older")
    record = metrics_of(seeds[0])
    del record["config"][key]
    (tmp_path / "older" / "metrics.json").write_text(json.dumps(record))
    groups = grouped(read_runs([tmp_path / "older", seeds[1]])[0])
    assert [[run.seed for run in group.runs] for group in groups] == [[7, 8]]
    assert analysed(tmp_path / "older", "--worst", 0)


def test_trainings_on_different_devices_are_in_one_group(seeds: list[Path], tmp_path: Path) -> None:
    for name, device in (("elsewhere", "cuda"), ("earlier", None)):
        shutil.copytree(seeds[0], tmp_path / name)
        record = metrics_of(seeds[0])
        record["config"]["seed"] = 100 + len(name)
        record["config"]["data"]["device"] = device
        if device is None:  # as a version wrote it that had none of these settings
            for key in ("device", "encoder_batch_size", "show_progress_bar", "query_prompt"):
                del record["config"]["data"][key]
        (tmp_path / name / "metrics.json").write_text(json.dumps(record))
    runs = read_runs([seeds[0], tmp_path / "elsewhere", tmp_path / "earlier"])[0]
    assert [len(group.runs) for group in grouped(runs)] == [3]


def test_groups_of_the_same_name_are_named_by_their_paths(
    seeds: list[Path], setting: Any, tmp_path: Path
) -> None:
    other = setting.train(tmp_path / seeds[0].name, {"optimizer.mlp_lr": 0.01})
    names = [group.name for group in grouped(read_runs([seeds[0], other])[0])]
    assert names == [str(seeds[0]), str(other)]


def test_the_spread_is_that_of_the_recorded_scores(seeds: list[Path]) -> None:
    (group,) = grouped(read_runs(seeds)[0])
    rows = {row[:2]: row[2:] for row in seeds_table(group).rows}
    for role in ("test", "unseen_test"):
        values = [metrics_of(run)[role]["hybrid"]["ndcg@10"] for run in seeds]
        mean, spread, lowest, highest = rows[f"{role} NDCG@10", "hybrid"]
        actual = [float(value) for value in (mean, spread, lowest, highest)]
        expected = [fmean(values), stdev(values), min(values), max(values)]
        assert actual == pytest.approx(expected, abs=1e-4)


def test_models_are_paired_on_the_mean_of_each_query_over_seeds(seeds: list[Path]) -> None:
    (group,) = grouped(read_runs(seeds)[0])
    pairs = paired(group, "test")
    assert [(pair.model, pair.other) for pair in pairs] == [
        ("hybrid", "cosine"),
        ("hybrid", "quantum_only"),
        ("hybrid", "mlp_twin"),
        ("quantum_only", "cosine"),
        ("mlp_twin", "cosine"),
    ]
    each = [metrics_of(run)["per_query"]["test"] for run in seeds]

    def mean(model: str) -> dict[str, float]:
        queries = each[0][model]["ndcg@10"]
        return {query: fmean(seed[model]["ndcg@10"][query] for seed in each) for query in queries}

    assert pairs[0].comparison == compare(mean("hybrid"), mean("cosine"), group.domains("test"))


def test_several_seeds_have_a_result_for_stability(seeds: list[Path]) -> None:
    (group,) = grouped(read_runs(seeds)[0])
    rows = {row[0]: row[1:] for row in targets_table(group).rows}
    objectives = [metrics_of(run)["history"]["hybrid"][-1]["objective"] for run in seeds]
    cosine = metrics_of(seeds[0])["history"]["cosine"][-1]["objective"]
    expected = stability(SeedGains(tuple(value - cosine for value in objectives)))
    assert rows["stability"][2] == f"1 {expected.outcome}"
    assert expected.outcome != "not known"
    counted = [row[2] for name, row in rows.items() if name != "stability"]
    assert all(sum(map(int, re.findall(r"\d+", count))) == 2 for count in counted)


def test_the_worst_queries_are_ordered_by_their_loss(seeds: list[Path]) -> None:
    (group,) = grouped(read_runs(seeds)[0])
    table = worst_table(group, "unseen_test", lambda domain, query: (query, domain), 16)
    changes = [float(row[3]) for row in table.rows]
    assert changes == sorted(changes)
    assert len(changes) == 16
    for name, score, cosine, change, query, domain in table.rows:
        assert name == f"{domain}/{query}"
        assert float(score) - float(cosine) == pytest.approx(float(change), abs=2e-4)


def test_the_report_names_runs_targets_and_queries_with_their_texts(seeds: list[Path]) -> None:
    printed = analysed(*seeds, "--worst", 2)
    assert "2 seeds" in printed
    assert all(str(run) in printed for run in seeds)
    for target in metrics_of(seeds[0])["targets"]:
        assert target["name"] in printed
    assert re.search(r"what is \w+\?\w+ like +The \w+ of the \w+\.", printed)


def test_a_report_without_collections_has_no_texts_and_a_message(
    setting: Any, tmp_path: Path
) -> None:
    shutil.copytree(setting.root / "trees", tmp_path / "trees")
    run = setting.train(tmp_path / "run", {"data.seen": [f"beir:{tmp_path / 'trees'}"]})
    shutil.rmtree(tmp_path / "trees")
    printed = analysed(run)
    assert f"No texts of beir:{tmp_path / 'trees'}" in printed
    assert "beir:trees/" in printed


def test_the_page_opens_without_a_network_and_has_every_chart(
    seeds: list[Path], tmp_path: Path
) -> None:
    page_file = tmp_path / "results.html"
    analysed(*seeds, "--html", page_file)
    page = page_file.read_text(encoding="utf-8")
    assert not re.search(r"<script[^>]+src=|<link", page)
    assert page.count("data-chart=") >= 4
    assert len(page) < 8_000_000  # the library is within, once
    for title in ("Training loss", "Best validation objective so far", "Spread over seeds"):
        assert title in page
    assert "The leaf of the" in page or "The root of the" in page or "The bark of the" in page


def test_texts_are_not_interpreted_as_markup(setting: Any, tmp_path: Path) -> None:
    shutil.copytree(setting.root / "trees", tmp_path / "trees")
    queries = tmp_path / "trees" / "queries.jsonl"
    queries.write_text(queries.read_text().replace("what is", "<script>[bold]alert[/]"))
    run = setting.train(tmp_path / "run", {"data.seen": [f"beir:{tmp_path / 'trees'}"]})
    printed = analysed(run, "--html", tmp_path / "results.html")
    page = (tmp_path / "results.html").read_text(encoding="utf-8")
    assert "<script>[bold]alert" not in page
    assert "&lt;script&gt;[bold]alert" in page
    assert "<script>[bold]alert[/]" in printed


def test_a_search_is_listed_beside_the_trainings(seeds: list[Path], tmp_path: Path) -> None:
    summary = {
        "name": "small",
        "baselines": {"cosine": {"test": {"ndcg@10": 0.5}}},
        "tested": [{"number": 7, "test": {"ndcg@10": 0.6125}}],
        "confirmed": [{"number": 7, "mean": 0.61, "std": 0.0123, "values": [0.6, 0.62]}],
        "default_config": None,
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    printed = analysed(seeds[0], tmp_path, "--html", tmp_path / "page.html")
    assert "Search small" in printed
    row = next(line for line in printed.splitlines() if "best, trial 7" in line)
    assert "0.6125" in row
    assert "standard deviation 0.0123" in row
    assert "Search small" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Search small" in analysed(tmp_path)  # alone


def test_every_folder_without_a_valid_record_is_named(
    ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    for name, content in (("old", "{}"), ("cut", '{"a'), ("list", "[1]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(content)
    old = tmp_path / "early"
    old.mkdir()
    (old / "metrics.json").write_text('{"config": {}}')
    search = tmp_path / "search"
    search.mkdir()
    (search / "summary.json").write_text('{"name": "x"}')
    names = ("cut", "list", "early", "nowhere", "old", "search")
    code, stderr = ended(app, ended_training, *(tmp_path / name for name in names))
    assert code == 2
    lines = stderr.splitlines()
    assert len(lines) == 6
    assert "cannot be read" in lines[0]
    assert "is not a JSON object" in lines[1]
    assert "another version" in lines[2]
    assert "does not exist" in lines[3]
    assert "has no config, objective, " in lines[4]
    assert "summary.json` has no baselines, tested: it was changed" in lines[5]


def test_the_same_training_twice_is_refused(
    ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    shutil.copytree(ended_training, tmp_path / "copy")
    code, stderr = ended(app, ended_training, tmp_path / "copy")
    assert code == 2
    assert "two runs have the same configuration" in stderr


def test_a_page_is_not_written_over(ended_training: Path, tmp_path: Path, ended: Ended) -> None:
    (tmp_path / "page.html").write_text("mine")
    code, stderr = ended(app, ended_training, "--html", tmp_path / "page.html")
    assert (code, (tmp_path / "page.html").read_text()) == (2, "mine")
    assert "pass --force" in stderr


def test_a_page_without_plotly_installed_is_refused_with_a_message(
    ended_training: Path, tmp_path: Path, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    code, stderr = ended(app, ended_training, "--html", tmp_path / "page.html")
    assert code == 2
    assert "pip install plotly" in stderr
