from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from typer.testing import CliRunner

from quantum_rerank.config import ColumnsConfig, parse_columns
from quantum_rerank.errors import ConfigError, OutputError
from quantum_rerank.folder_lock import locked
from tuning.limits.concurrency import Node
from tuning.search import app
from tuning.space.changes import with_columns
from tuning.space.file import load_space
from tuning.study.run_folder import RECORD, load_study
from tuning.study.storage import STUDY, TRIALS

SMOKE = Path(__file__).parents[2] / "search_spaces" / "smoke.yaml"


def call(*arguments: str | Path) -> Any:
    given = [str(argument) for argument in arguments]
    return CliRunner().invoke(app, ["--wandb", "disabled", *given])


def write_clicks(path: Path) -> None:
    """Write a click log that is large enough to be split."""
    trees = [f"tree {number}" for number in range(12)]
    rows = [f"what is {tree},The {tree} is tall.,1" for tree in trees]
    path.write_text("\n".join(["query,document,label", *rows]) + "\n")


def start(*arguments: str | Path) -> Any:
    return call("--space", SMOKE, *arguments)


def test_a_dry_run_prints_the_plan_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = start("--dry-run", "--output", folder, "--trials", "5", "--hours", "0.5")
    assert result.exit_code == 0
    assert "5 trials of at most 4 epochs" in result.output
    assert "0.5 h in all" in result.output
    assert not folder.exists()


def test_a_space_is_searched_on_the_collections_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clicks(tmp_path / "clicks.csv")
    data = ("--data", "csv:clicks.csv", "--data", "zaragoza:all")
    result = start("--dry-run", "--output", tmp_path / "run", *data)
    assert result.exit_code == 0
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in result.output.splitlines()}
    assert lines["seen"] == "csv:clicks.csv, zaragoza:all"
    assert lines["unseen"] == "validation none; test none"
    assert "domain csv:clicks  documents 12  train 8  validation 2  test 2\n" in result.output


def test_a_dry_run_of_few_training_queries_says_what_to_expect_first(tmp_path: Path) -> None:
    write_clicks(tmp_path / "clicks.csv")
    data = ("--data", f"csv:{tmp_path / 'clicks.csv'}")
    output = start("--dry-run", "--output", tmp_path / "run", *data).output
    few = output.index("Only 8 training queries: with fewer than 100, BM25 + cosine is hard to")
    assert "train --learning-curve --data" in output
    assert few < output.index("domain csv:clicks")


def test_a_dry_run_counts_what_is_left_out_of_the_data(tmp_path: Path) -> None:
    write_clicks(tmp_path / "clicks.csv")
    with (tmp_path / "clicks.csv").open("a") as file:
        file.write("what is nothing,,1\n")
    data = ("--data", f"csv:{tmp_path / 'clicks.csv'}")
    output = start("--dry-run", "--output", tmp_path / "run", *data).output
    assert "csv:clicks: 1 row without a document left out (line 14)" in output


def test_the_columns_of_a_table_are_named_for_a_search_too(tmp_path: Path) -> None:
    rows = [f"query {n},document {n},1" for n in range(20)]
    (tmp_path / "clicks.csv").write_text("\n".join(["q,document,rel", *rows]))
    columns = ("--data", f"csv:{tmp_path / 'clicks.csv'}", "--columns", "query=q,label=rel")
    assert start("--dry-run", "--output", tmp_path / "run", *columns).exit_code == 0
    space = with_columns(load_space(SMOKE), parse_columns("query=q,label=rel"))
    assert space.base.data.columns == ColumnsConfig(query="q", label="rel")
    error = start("--dry-run", "--output", tmp_path / "run", "--columns", "q").exception
    assert isinstance(error, ConfigError)
    assert "must be ROLE=COLUMN" in str(error)
    error = call("--resume", tmp_path, "--columns", "query=q").exception
    assert "--columns is for a search that starts" in str(error)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--trials", "0", "`budget.trials`"),
        ("--hours", "0", "`budget.hours`"),
        ("--hours", "nan", "`budget.hours`"),
        ("--trial-memory-gb", "-1", "`budget.trial_memory_gb`"),
        ("--trial-memory-gb", "0.1", "`budget.trial_memory_gb`"),
        ("--trials", "+x", "`--trials +x` is not a whole number"),
        ("--trials", "2.5", "`--trials 2.5` is not a whole number"),
        ("--hours", "two", "`--hours two` is not a number"),
        ("--core-hours", "two", "`--core-hours two` is not a number"),
        ("--core-hours", "+2", "`--core-hours +2` adds to a run"),
    ],
)
def test_a_budget_that_no_search_can_have_is_refused_before_anything_is_written(
    tmp_path: Path, option: str, value: str, named: str
) -> None:
    error = start("--output", tmp_path / "run", option, value).exception
    assert isinstance(error, ConfigError)
    assert named in str(error)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_another_run_is_refused(ended_run: Path) -> None:
    error = start("--output", ended_run).exception
    assert isinstance(error, OutputError)
    assert len(load_study(ended_run).get_trials()) == 4


def test_neither_a_space_nor_a_run_is_a_mistake_with_the_way_out() -> None:
    error = call().exception
    assert isinstance(error, ConfigError)
    assert "--space" in str(error)
    assert "--resume" in str(error)


@pytest.mark.parametrize("option", ["--space", "--resume"])
def test_a_bad_space_or_run_is_reported_without_importing_heavy_libraries(
    tmp_path: Path, option: str
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("name: 3\n")
    path = space if option == "--space" else tmp_path
    script = f"""
import sys
from quantum_rerank.errors import QuantumRerankError
from tuning.search import app
try:
    app({[option, str(path), "--dry-run"]}, standalone_mode=False)
except QuantumRerankError:
    print([name for name in ("torch", "ray", "wandb", "pennylane") if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize("option", ["--space", "--output"])
def test_a_run_is_continued_as_it_is(ended_run: Path, option: str) -> None:
    error = call("--resume", ended_run, option, SMOKE).exception
    assert isinstance(error, ConfigError)
    assert "leave out --space and --output" in str(error)


@pytest.mark.parametrize("content", [None, "other.txt"])
def test_a_folder_without_a_run_cannot_be_continued(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / content).write_text("something else")
    before = list(tmp_path.iterdir())
    error = call("--resume", tmp_path).exception
    assert isinstance(error, OutputError)
    assert f"`{tmp_path}` holds no run: there is no {RECORD} in it" in str(error)
    assert list(tmp_path.iterdir()) == before


def test_a_folder_that_is_not_there_cannot_be_continued(tmp_path: Path) -> None:
    error = call("--resume", tmp_path / "typo").exception
    assert isinstance(error, OutputError)
    assert not (tmp_path / "typo").exists()


def test_a_run_without_its_study_cannot_be_continued(ended_run: Path) -> None:
    (ended_run / STUDY).unlink()
    error = call("--resume", ended_run).exception
    assert isinstance(error, OutputError)
    assert f"there is no {STUDY} in it" in str(error)


def test_a_run_that_was_killed_before_its_first_trial_is_begun_anew(ended_run: Path) -> None:
    (ended_run / STUDY).unlink()
    shutil.rmtree(ended_run / TRIALS)
    assert "6 trials" in plan_of(ended_run)


def test_a_run_that_was_killed_while_its_study_was_made_is_begun_anew(ended_run: Path) -> None:
    shutil.rmtree(ended_run / TRIALS)
    (ended_run / STUDY).unlink()
    optuna.storages.RDBStorage(f"sqlite:///{ended_run / STUDY}")  # its tables, and no study yet
    assert "6 trials" in plan_of(ended_run)


def plan_of(folder: Path, *arguments: str) -> str:
    result = call("--resume", folder, "--dry-run", *arguments)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    ("was_tracked", "options", "mode"),
    [
        (False, (), "disabled"),
        (False, ("--wandb", "offline"), "offline"),
        (True, (), "offline"),
        (True, ("--wandb", "disabled"), "disabled"),
    ],
)
def test_a_run_that_was_started_without_wandb_continues_without_it(
    ended_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    was_tracked: bool,
    options: tuple[str, ...],
    mode: str,
) -> None:
    monkeypatch.setenv("HOME", str(ended_run))  # where W&B finds no login
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    record = json.loads((ended_run / RECORD).read_text())
    (ended_run / RECORD).write_text(json.dumps(record | {"is_tracked": was_tracked}))
    arguments = ("--resume", str(ended_run), "--dry-run", *options)
    assert f"W&B: {mode}" in CliRunner().invoke(app, arguments, catch_exceptions=False).output


def test_a_run_is_continued_over_the_space_that_it_was_started_with(ended_run: Path) -> None:
    plan = plan_of(ended_run)
    assert plan.startswith("tiny ")
    assert "6 trials of at most 3 epochs and 2 GiB, 1 h in all" in plan
    assert "loss.margin low 0.1, high 0.8 loss.name in ['triplet']" in plan


@pytest.mark.parametrize(
    ("arguments", "budget"),
    [
        (("--trials", "+20"), "26 trials of at most 3 epochs and 2 GiB, 1 h"),
        (("--trials", "20"), "20 trials of at most 3 epochs and 2 GiB, 1 h"),
        (("--hours", "+0.5"), "6 trials of at most 3 epochs and 2 GiB, 1.5 h"),
        (("--hours", "8", "--trials", "+1"), "7 trials of at most 3 epochs and 2 GiB, 8 h"),
        (("--trial-memory-gb", "1"), "6 trials of at most 3 epochs and 1 GiB, 1 h"),
        (("--core-hours", "4"), "6 trials of at most 3 epochs and 2 GiB, 1 h in all, 4 core-hours"),
    ],
)
def test_a_run_can_be_continued_for_longer(
    ended_run: Path, arguments: tuple[str, ...], budget: str
) -> None:
    assert budget in plan_of(ended_run, *arguments)


def test_trials_that_are_asked_for_by_name_are_run_whatever_they_may_gain(ended_run: Path) -> None:
    assert "early end" in plan_of(ended_run, "--hours", "2")
    assert "early end" not in plan_of(ended_run, "--trials", "20")


def test_what_is_added_is_added_to_the_budget_as_it_was_last(ended_run: Path) -> None:
    load_study(ended_run).set_user_attr("budget", {"trials": 10, "hours": 3.0})
    plan = plan_of(ended_run, "--trials", "+5")
    assert "15 trials of at most 3 epochs and 2 GiB, 3 h in all" in plan


def test_core_hours_are_added_to_those_that_a_run_had(ended_run: Path) -> None:
    error = call("--resume", ended_run, "--core-hours", "+2").exception
    assert isinstance(error, ConfigError)
    assert "`--core-hours +2` adds to a budget of" in str(error)
    load_study(ended_run).set_user_attr("budget", {"core_hours": 1.5})
    assert "3.5 core-hours" in plan_of(ended_run, "--core-hours", "+2")


@pytest.mark.parametrize(
    "beside",
    [
        {"--resume": "run"},
        {"--space": SMOKE},
        {"--trials": "20", "--core-hours": "3"},
        {"--dry-run": None},
        {"--nodes": "2"},
    ],
)
def test_a_trial_is_trained_again_alone(ended_run: Path, beside: dict[str, Any]) -> None:
    given = [part for pair in beside.items() for part in pair if part is not None]
    error = call("--rerun", ended_run, "--trial", "0", *given).exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith("--rerun trains one trial alone: leave out ")
    assert all(option in str(error) for option in beside)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--trials", "+x", "`--trials +x` is not a whole number"),
        ("--trials", "+", "`--trials +` is not a whole number"),
        ("--hours", "+two", "`--hours +two` is not a number"),
        ("--trials", "0", "`trials` is 0, but must be greater than or equal to 1 (--trials 0)"),
        ("--trials", "-6", "`trials` is -6"),
        ("--hours", "nan", "`hours` is nan"),
        ("--trial-memory-gb", "0.1", "`budget.trial_memory_gb` is 0.1"),
    ],
)
def test_a_budget_that_no_search_can_have_is_refused_for_a_run_too(
    ended_run: Path, option: str, value: str, named: str
) -> None:
    error = call("--resume", ended_run, option, value).exception
    assert isinstance(error, ConfigError)
    assert named in str(error)
    assert "budget" not in load_study(ended_run).user_attrs


def test_a_run_that_another_process_continues_is_refused(ended_run: Path) -> None:
    # flock holds between two open files, so that the same process stands for another here.
    with locked(ended_run):
        error = call("--resume", ended_run).exception
    assert isinstance(error, OutputError)
    assert "Another process works in" in str(error)


def test_what_is_added_is_added_to_a_run_that_is_named() -> None:
    error = start("--trials", "+5").exception
    assert isinstance(error, ConfigError)
    assert str(error) == "`--trials +5` adds to a run; name the run with --resume."


# Where the study and the files go.


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--storage", "postgresql://me:hidden@host/db", "PGPASSWORD"),
        ("--storage", "mongodb://host/db", "`--storage mongodb` is not a storage"),
        ("--storage-path", "s3://key:hidden@bucket/x", "AWS_SECRET_ACCESS_KEY"),
        ("--storage-path", "nonsense://x", "`nonsense://x` cannot be used"),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, option: str, value: str, named: str
) -> None:
    error = start("--output", tmp_path / "run", option, value).exception
    assert isinstance(error, ConfigError)
    assert named in str(error)
    assert "hidden" not in str(error)
    assert not list(tmp_path.glob("run/*"))


def test_a_database_that_does_not_answer_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    url = "postgresql://me@127.0.0.1:1/studies"
    error = start("--output", tmp_path / "run", "--storage", url).exception
    assert isinstance(error, OutputError)
    assert f"`{url}` does not answer" in str(error)
    assert not list(tmp_path.glob("run/*"))


@pytest.mark.parametrize(
    ("content", "message"), [(None, "does not exist"), ("other.txt", "holds no run: there is no")]
)
def test_a_warm_start_from_what_is_no_run_is_refused_before_anything_is_written(
    tmp_path: Path, content: str | None, message: str
) -> None:
    other, folder = tmp_path / "other", tmp_path / "run"
    if content:
        other.mkdir()
        (other / content).write_text("something else")
    error = start("--output", folder, "--warm-start", other).exception
    assert isinstance(error, OutputError)
    assert f"`{other}` {message}" in str(error)
    assert not folder.exists()


def test_a_plan_names_the_runs_that_a_search_starts_from(ended_run: Path, tmp_path: Path) -> None:
    result = start("--dry-run", "--output", tmp_path / "new", "--warm-start", ended_run)
    assert result.exit_code == 0
    assert f"warmstart{ended_run}" in "".join(result.output.split())  # wherever it is folded


@pytest.mark.parametrize("option", ["--resume", "--rerun"])
def test_a_run_goes_on_with_its_own_collections(ended_run: Path, option: str) -> None:
    trial = ["--trial", "0"] if option == "--rerun" else []
    error = call(option, ended_run, *trial, "--data", "icd10:5").exception
    assert isinstance(error, ConfigError)
    assert "--data is for a search that starts" in str(error)


@pytest.mark.parametrize("option", ["--resume", "--rerun"])
def test_only_a_search_that_starts_takes_over_earlier_ones(ended_run: Path, option: str) -> None:
    error = call(option, ended_run, "--warm-start", ended_run).exception
    assert isinstance(error, ConfigError)
    assert "--warm-start is for a search that starts" in str(error)


def test_a_cluster_is_started_or_joined_but_not_both() -> None:
    error = start("--nodes", "2", "--address", "auto").exception
    assert isinstance(error, ConfigError)
    assert "give one of the two" in str(error)


def test_a_dry_run_shows_the_nodes_that_would_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.commands.request.this_machine", lambda: Node(3, 21.5))
    result = start("--dry-run", "--nodes", "2", "--output", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "node-0: 2 cores, 10.0 GiB, 2 at once" in result.output
    assert "node-1: 1 core, 10.0 GiB, 1 at once" in result.output


@pytest.mark.parametrize(
    ("machine", "message"),
    [(Node(1, 21.5), "--nodes 2 needs a core"), (Node(4, 2.0), "No node has a core and 0.")],
)
def test_a_machine_too_small_for_its_nodes_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: Node, message: str
) -> None:
    monkeypatch.setattr("tuning.commands.request.this_machine", lambda: machine)
    error = start("--nodes", "2", "--output", tmp_path / "run").exception
    assert isinstance(error, ConfigError)
    assert message in str(error)
    assert not (tmp_path / "run").exists()


def test_zero_nodes_are_a_mistake() -> None:
    assert start("--nodes", "0", "--dry-run").exit_code == 2
