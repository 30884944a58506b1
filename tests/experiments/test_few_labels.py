"""The command on one tiny data set, and its page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from experiments.few_labels import COMPARED, app, cuts_of, rows, tasks_of
from experiments.few_labels_page import MeasuredCut, document
from experiments.plan import ICD10, Dataset
from quantum_rerank.evaluation import NDCG, Scores
from tests.cli.conftest import write_domain

TUNED = """\
data.lexical: words
circuit: {n_qubits: 2, n_layers: 2}
mlp.hidden_layers: [8]
warmup.steps: 0
training: {batch_size: 4, max_epochs: 2}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("few")
    write_domain(root, "cran", np.random.default_rng(0))
    (root / "tuned.yaml").write_text(TUNED, encoding="utf-8")
    return root


def run(root: Path) -> str:
    arguments = [
        *("--beir", str(root), "--collection", "cran", "--seeds", "1", "--jobs", "1"),
        *("--encoder", f"npy:{root / 'vectors'}", "--tuned", str(root / "tuned.yaml")),
        *("--output", str(root / "results")),
    ]
    return CliRunner().invoke(app, arguments, catch_exceptions=False).output


def test_a_collection_with_few_queries_is_measured_with_all_of_them_and_resumed(
    root: Path,
) -> None:
    assert "17 trainings, 0 of them finished earlier" in run(root)
    page = (root / "results" / "few-labels.md").read_bytes()
    assert "17 trainings, 17 of them finished earlier" in run(root)
    assert (root / "results" / "few-labels.md").read_bytes() == page
    assert b"| cran | 10 | " in page
    render = ["--render", "--seeds", "1", "--output", str(root / "results")]
    CliRunner().invoke(app, [*render, "--docs", str(root / "docs")], catch_exceptions=False)
    assert (root / "docs" / "few-labels.md").read_bytes() == page
    record = json.loads((root / "results" / "cran-10" / "tuned" / "2.json").read_text())
    data = record["config"]["data"]
    assert (data["train_queries"], data["cut_validation"]) == (10, True)
    assert data["split_seed"] == data["train_queries_seed"] == 2


def test_a_page_of_no_results_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--render", "--output", str(tmp_path)])
    assert "has no results" in str(result.exception)


def test_a_curve_has_every_number_that_the_collection_exceeds() -> None:
    chapter = replace(ICD10, seen=("icd10:8",))
    cuts = list(cuts_of(chapter, [1], "minilm"))
    assert [cut.name for cut in cuts] == ["icd10-20", "icd10-50", "icd10-53"]
    assert [cut.train_queries for cut in cuts] == [20, 50, 53]
    assert all(not cut.unseen_test and not cut.unseen_validation for cut in cuts)


def test_all_models_of_a_cut_have_the_data_of_the_tuned_one(root: Path) -> None:
    models = rows(root / "tuned.yaml")
    assert list(models) == ["cosine", "bm25_cosine", "first_stage", "tuned", "discriminant"]
    cuts = [
        Dataset(f"cran-{n}", ("beir:cran",), {"test": "cran"}, train_queries=n) for n in (100, 200)
    ]
    small, large = (list(tasks_of([cut], models, [1], "minilm")) for cut in cuts)
    assert len({task.config.data for task in small}) == 1
    assert [task.name for task in small] == list(COMPARED)
    assert "discriminant" not in [task.name for task in large]


def scores(*values: float) -> Scores:
    by_query = {str(number): value for number, value in enumerate(values)}
    mean = sum(values) / len(values)
    return Scores({NDCG: mean}, {NDCG: by_query}, dict.fromkeys(by_query, "trees"))


def test_the_page_names_what_is_below_by_more_than_a_standard_error() -> None:
    baseline, below, level = scores(0.5, 0.5, 0.6), scores(0.4, 0.3, 0.5), scores(0.9, 0.1, 0.6)
    cuts = [
        MeasuredCut("trees", 20, {"bm25_cosine": baseline, "tuned": below}, (0.0, 0.2)),
        MeasuredCut("shrubs", 20, {"bm25_cosine": baseline, "tuned": level}, (0.0, 0.0)),
    ]
    page = document(cuts, cuts[1:], n_seeds=2, left_out=["npl"])
    assert "one standard error on trees with 20 (-4.0 standard errors)." in page
    assert "| trees | 20 | 3 | 0.5333 | 0.4000 | -0.1333 (-4.0) |  | 1 of 2 |" in page
    assert "left out: npl." in page
    assert "## 20 training queries, 8 seeds" in page
