from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from quantum_rerank.config import DataConfig
from quantum_rerank.errors import ConfigError, DataError, EmbeddingError, OutputError
from quantum_rerank.folder_lock import locked
from tests.tuning.test_search import write_clicks
from tuning.search import app
from tuning.session.preflight import refuse_unusable_output
from tuning.study.run_folder import RECORD
from tuning.study.storage import TRIALS
from tuning.study.trial_files import BEST_EPOCH, TrialFiles

SPACE = """\
name: tiny
base: base.yaml
data:
  seen: ["{seen}"]
  encoder: "{encoder}"
budget: {{trials: 2, epochs: 2, trial_memory_gb: 1}}
parameters:
  optimizer.mlp_lr: {{type: float, low: 0.0001, high: 0.01, log: true}}
"""

DryRun = Callable[..., Any]


@pytest.fixture
def dry_run(tmp_path: Path) -> DryRun:
    """Start a dry run over a click log, with what a test changes of it."""
    write_clicks(tmp_path / "clicks.csv")
    (tmp_path / "base.yaml").write_text("model: hybrid\n")

    def call(
        *options: str | Path, seen: str = "", encoder: str = "minilm", wandb: str = "disabled"
    ) -> Any:
        seen = seen or f"csv:{tmp_path / 'clicks.csv'}"
        space = tmp_path / "space.yaml"
        space.write_text(SPACE.format(seen=seen, encoder=encoder))
        output = [] if "--output" in options else ["--output", tmp_path / "runs" / "first"]
        arguments = ["--space", space, "--dry-run", "--wandb", wandb, *output, *options]
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


def test_a_dry_run_that_finds_nothing_leaves_no_folder(dry_run: DryRun, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    result = dry_run("--storage-path", tmp_path / "elsewhere" / "files")
    assert result.exit_code == 0, result.exception
    assert sorted(set(tmp_path.iterdir()) - set(before)) == [tmp_path / "space.yaml"]


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        ("csv:nowhere.csv", "nowhere.csv: cannot be read"),
        ("beir:nowhere", "nowhere/corpus.jsonl` does not exist"),
        ("nonsense", "`nonsense` does not name a collection"),
    ],
)
def test_data_that_are_not_there_are_refused(dry_run: DryRun, seen: str, message: str) -> None:
    error = dry_run(seen=seen).exception
    assert isinstance(error, DataError)
    assert message in str(error)


def test_a_collection_with_one_document_is_refused(dry_run: DryRun, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("query,document,label\na tree,A tree.,1\n")
    assert isinstance(dry_run(seen=f"csv:{tmp_path / 'one.csv'}").exception, DataError)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("./nowhere", "`./nowhere` is not a folder"),
        ("no/such/model", "`no/such/model` is not a folder"),
        ("npy:nowhere", "nowhere/queries.npy` does not exist"),
        ("no name", "neither a folder nor a valid name of a model"),
    ],
)
def test_an_encoder_that_cannot_be_there_is_refused(
    dry_run: DryRun, encoder: str, message: str
) -> None:
    error = dry_run(encoder=encoder).exception
    assert isinstance(error, EmbeddingError)
    assert message in str(error)


def test_a_folder_that_is_no_model_is_refused(dry_run: DryRun, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    error = dry_run(encoder=str(tmp_path / "model")).exception
    assert isinstance(error, EmbeddingError)
    assert "neither modules.json nor config.json" in str(error)


def test_a_model_that_a_search_would_download_is_named_or_refused_offline(
    dry_run: DryRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    result = dry_run(encoder="nobody/no-such-model")
    assert result.exit_code == 0, result.exception
    assert "`nobody/no-such-model` is not on this machine yet" in result.output
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    error = dry_run(encoder="nobody/no-such-model").exception
    assert isinstance(error, EmbeddingError)
    assert "HF_HUB_OFFLINE forbids its download" in str(error)


def test_a_cache_that_cannot_be_written_is_refused_and_a_new_one_is_removed_again(
    dry_run: DryRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTUM_RERANK_CACHE", str(tmp_path / "new" / "cache"))
    assert dry_run().exit_code == 0
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("QUANTUM_RERANK_CACHE", str(tmp_path / "file" / "cache"))
    error = dry_run().exception
    assert isinstance(error, OutputError)
    assert "Set QUANTUM_RERANK_CACHE to a writable folder" in str(error)


def test_vectors_of_other_texts_are_refused(dry_run: DryRun, tmp_path: Path) -> None:
    vectors = tmp_path / "vectors"
    vectors.mkdir()
    np.save(vectors / "queries.npy", np.ones((12, 4)))
    np.save(vectors / "corpus.npy", np.ones((11, 4)))
    error = dry_run(encoder=f"npy:{vectors}").exception
    assert isinstance(error, EmbeddingError)
    assert "must have 12 rows" in str(error)


def test_an_output_that_cannot_be_made_is_refused(dry_run: DryRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    error = dry_run("--output", tmp_path / "file" / "run").exception
    assert isinstance(error, OutputError)
    assert "cannot be written" in str(error)


def test_an_output_that_another_process_works_in_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(OutputError, match="Another process works in"):
        refuse_unusable_output(tmp_path)


def test_files_of_trials_that_cannot_be_written_are_refused(
    dry_run: DryRun, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    error = dry_run("--storage-path", tmp_path / "file" / "trials").exception
    assert isinstance(error, ConfigError)
    assert "cannot be used" in str(error)


def test_a_database_that_does_not_answer_is_refused(dry_run: DryRun) -> None:
    error = dry_run("--storage", "postgresql://me@127.0.0.1:9/studies").exception
    assert isinstance(error, OutputError)
    assert "does not answer" in str(error)


def test_an_output_whose_path_is_too_long_for_sqlite_is_refused(
    dry_run: DryRun, tmp_path: Path
) -> None:
    folder = Path(tmp_path, *["x" * 200] * 3)
    error = dry_run("--output", folder).exception
    assert isinstance(error, ConfigError)
    assert "SQLite takes 504 at most" in str(error)
    assert dry_run("--output", folder, "--storage", "journal").exit_code == 0


def test_every_mistake_is_told_at_once(dry_run: DryRun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    error = dry_run(
        "--output", tmp_path / "file",
        "--warm-start", tmp_path / "gone",
        "--data", "csv:nowhere.csv",
        "--data", "csv:elsewhere.csv",
        encoder="./nowhere",
    ).exception  # fmt: skip
    assert isinstance(error, ConfigError)
    for word in ("gone", "file` exists and is not empty", "nowhere.csv", "elsewhere.csv"):
        assert any(word in line for line in error.problems), word
    assert any("./nowhere" in line for line in error.problems)


def test_a_mistake_of_the_space_does_not_hide_one_of_the_command_line(
    dry_run: DryRun, tmp_path: Path
) -> None:
    error = dry_run("--trials", "0", "--warm-start", tmp_path / "gone").exception
    assert isinstance(error, ConfigError)
    assert len(error.problems) == 2


def test_a_run_whose_data_have_changed_is_told_before_it_is_continued(
    ended_run: Path, data_config: DataConfig, tmp_path: Path
) -> None:
    park, record = Path(data_config.seen[0].removeprefix("beir:")), ended_run / RECORD
    folder = shutil.copytree(park, tmp_path / "park")
    record.write_text(record.read_text().replace(str(park), str(folder)))
    arguments = ["--resume", str(ended_run), "--dry-run", "--wandb", "disabled"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    corpus = folder / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("The leaf of the oak.", "The oak's leaf."))
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, DataError)
    assert "have changed" in str(error)


def test_weights_that_are_gone_are_named_before_a_run_goes_on(ended_run: Path) -> None:
    arguments = ["--resume", str(ended_run), "--dry-run", "--wandb", "disabled"]
    result = CliRunner().invoke(app, arguments)
    assert "The weights of" not in result.output
    TrialFiles(str(ended_run / TRIALS)).remove(1)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.exception
    path = ended_run / TRIALS / "00001" / BEST_EPOCH
    assert f"The weights of 1 of the best 2 trials are gone (`{path}`)" in result.output


def test_a_run_that_is_at_work_is_not_continued(ended_run: Path) -> None:
    with locked(ended_run):
        arguments = ["--resume", str(ended_run), "--dry-run", "--wandb", "disabled"]
        error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, OutputError)
    assert f"process {os.getpid()}" in str(error)
