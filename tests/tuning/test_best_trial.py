from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from quantum_rerank.config import override
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.errors import BundleError, OutputError
from quantum_rerank.export import read_bundle
from quantum_rerank.training.data_manager import PreparedData, TrialData
from quantum_rerank.training.ranking import Validator
from tuning.best_trial import (
    STUDY,
    SUMMARY,
    app,
    export_trial,
    load_study,
    load_trial,
    ranked_trials,
)


def test_complete_trials_come_before_pruned_ones_and_those_without_weights_not_at_all(
    ended_run: Path,
) -> None:
    ranked = ranked_trials(load_study(ended_run).get_trials())
    assert [trial.number for trial in ranked] == [1, 0, 2]


def test_no_trial_with_weights_ranks_as_nothing(ended_run: Path) -> None:
    failed = load_study(ended_run).get_trials()[3:]
    assert ranked_trials(failed) == []


def test_a_trial_is_loaded_with_the_weights_of_its_best_epoch(
    ended_run: Path, trial_data: TrialData
) -> None:
    trial = ranked_trials(load_study(ended_run).get_trials())[0]
    loaded = load_trial(ended_run, trial)
    assert (loaded.number, loaded.state, loaded.epoch) == (1, "complete", 1)
    assert loaded.params == trial.params
    assert Validator(trial_data.seen, trial_data.unseen)(loaded.head) == loaded.validation


@pytest.mark.parametrize("content", [None, "other.txt"])
def test_a_folder_without_a_study_is_refused_in_words(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / content).write_text("something else")
    with pytest.raises(OutputError, match=r"holds no run: there is no study\.db in it"):
        load_study(tmp_path)
    assert not (tmp_path / STUDY).exists()


@pytest.mark.parametrize("content", [b"", b"no database at all"])
def test_a_study_file_that_holds_no_study_is_refused_in_words(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / STUDY).write_bytes(content)
    with pytest.raises(OutputError):
        load_study(tmp_path)


def test_a_trial_is_exported_with_its_metrics(
    ended_run: Path, prepared: PreparedData, tmp_path: Path
) -> None:
    trial = load_trial(ended_run, ranked_trials(load_study(ended_run).get_trials())[0])
    source = embedding_source(f"npy:{tmp_path / 'vectors'}")
    test = {"test": {"ndcg@10": 0.5}}
    bundle = export_trial(tmp_path / "best", trial, prepared, source, test)
    head, manifest = read_bundle(bundle)
    assert manifest.config == trial.config
    assert manifest.metrics == {"validation": trial.validation.metrics, **test}
    assert manifest.fusion_weight == trial.validation.fusion_weight
    assert manifest.data_fingerprint == prepared.fingerprint
    assert len(manifest.examples) == len(prepared.examples)
    exported, kept = head.state_dict(), trial.head.state_dict()
    assert all(torch.equal(exported[name], kept[name]) for name in kept)


@pytest.fixture
def exportable(ended_run: Path, prepared: PreparedData, tmp_path: Path) -> Path:
    """The run again, with its checkpoints saying where its data lies."""
    data = {
        "data.seen": [f"beir:{tmp_path / name}" for name in ("park", "forest")],
        "data.unseen_validation": [f"beir:{tmp_path / 'garden'}"],
        "data.unseen_test": [f"beir:{tmp_path / 'orchard'}"],
        "data.candidates": 12,
        "data.encoder": f"npy:{tmp_path / 'vectors'}",
    }
    for trial in ranked_trials(load_study(ended_run).get_trials()):
        path = ended_run / trial.user_attrs["checkpoint"] / "checkpoint.json"
        record = json.loads(path.read_text())
        config = override(load_trial(ended_run, trial).config, data)
        path.write_text(json.dumps(record | {"config": config.model_dump(mode="json")}))
    return ended_run


def test_the_best_trial_of_a_run_can_be_exported_again(
    exportable: Path, prepared: PreparedData, tmp_path: Path
) -> None:
    tested = [{"number": 1, "test": {"ndcg@10": 0.75}, "test_unseen": {"ndcg@10": 0.5}}]
    (exportable / SUMMARY).write_text(json.dumps({"tested": tested}))
    output = tmp_path / "again"
    result = CliRunner().invoke(app, [str(exportable), "--output", str(output)])
    assert result.exception is None
    assert "Exported trial 1 (epoch 1)" in result.output
    manifest = read_bundle(output)[1]
    assert manifest.data_fingerprint == prepared.fingerprint
    assert manifest.metrics["test"] == {"ndcg@10": 0.75}
    assert manifest.metrics["test_unseen"] == {"ndcg@10": 0.5}


def test_another_trial_can_be_exported_and_has_no_test_metrics(
    exportable: Path, tmp_path: Path
) -> None:
    output = tmp_path / "again"
    result = CliRunner().invoke(app, [str(exportable), "--output", str(output), "--trial", "2"])
    assert result.exception is None
    assert list(read_bundle(output)[1].metrics) == ["validation"]


@pytest.mark.parametrize("number", [3, 99])
def test_a_trial_without_weights_cannot_be_exported(
    ended_run: Path, tmp_path: Path, number: int
) -> None:
    arguments = [str(ended_run), "--output", str(tmp_path / "again"), "--trial", str(number)]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, OutputError)
    assert f"no trial {number} with kept weights" in str(error)


def test_a_summary_that_was_cut_off_is_named(exportable: Path, tmp_path: Path) -> None:
    (exportable / SUMMARY).write_text('{"tested": [')
    arguments = [str(exportable), "--output", str(tmp_path / "again")]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, BundleError)
    assert "was cut off" in str(error)
