"""A whole search in a folder whose name means something to URLs, globs, markup and shells."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import Finished, call, run
from tuning import best_trial, search, status
from tuning.study.run_folder import load_study

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NAME = '50%20 [b] it\'s "\u6a39" {x} #1 lr=1?mode=ro&a'
BUDGET = "{trials: 1, epochs: 1, trial_memory_gb: 1.4}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / NAME


@pytest.fixture(scope="module")
def searched(make_space: Callable[..., Path], folder: Path) -> Finished:
    """One search, with a variable of W&B that would give all trials one id."""
    os.environ["WANDB_RUN_ID"] = "fixed"
    try:
        return run("tuning.search", "--space", make_space(BUDGET), "--output", folder)
    finally:
        del os.environ["WANDB_RUN_ID"]


def test_everything_lies_in_the_folder(searched: Finished, folder: Path) -> None:
    assert searched.code == 0, searched.text
    assert [path.name for path in folder.parent.iterdir()] == [NAME]
    assert {"study.db", "run.json", "trials", "wandb", "best", "summary.json"} <= {
        path.name for path in folder.iterdir()
    }
    (trial,) = load_study(folder).trials
    assert trial.state.is_finished()


def test_the_id_of_the_environment_is_not_the_trial_s(searched: Finished, folder: Path) -> None:
    assert "every trial is a run of its own: WANDB_RUN_ID" in searched.text
    (run_folder,) = (folder / "wandb").glob("offline-run-*")
    assert not run_folder.name.endswith("-fixed")


def test_it_is_read_exported_continued_and_taken_over(
    searched: Finished, folder: Path, make_space: Callable[..., Path], tmp_path: Path
) -> None:
    shown = call(status.app, folder, "--json")
    assert shown.code == 0, shown.text
    assert json.loads(shown.text.splitlines()[-1])["progress"]["finished"] == 1
    exported = call(best_trial.app, folder, "--output", tmp_path / NAME)
    assert exported.code == 0, exported.text
    assert (tmp_path / NAME / "manifest.json").is_file()
    resumed = call(search.app, "--resume", folder, "--trials", "+1", "--dry-run")
    assert resumed.code == 0, resumed.text
    again = call(
        search.app, "--space", make_space(BUDGET), "--warm-start", folder,
        "--output", tmp_path / "second", "--dry-run",
    )  # fmt: skip
    assert again.code == 0, again.text


def test_a_search_that_trains_nothing_says_why_and_ends_with_3(
    make_space: Callable[..., Path], tmp_path: Path
) -> None:
    too_large = (
        "start_from: [{mlp.hidden_layers.length: 2, mlp.hidden_layers.0: 8192, "
        "mlp.hidden_layers.1: 8192}]"
    )
    space = make_space(BUDGET.replace("1.4", "1.0"), too_large)
    folder = tmp_path / "run"
    ended = run("tuning.search", "--space", space, "--output", folder)
    assert ended.code == 3, ended.text
    why = "1 of 1 trials ended without weights (1 oom: "
    assert f"There is nothing to export: {why}" in ended.text
    assert why in json.loads((folder / "summary.json").read_text())["ended_early"]
