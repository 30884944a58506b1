from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import TrialState, create_trial
from typer.testing import CliRunner

from quantum_rerank.config import DataConfig, override
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.errors import BundleError, OutputError
from quantum_rerank.export import read_bundle
from quantum_rerank.export.trained_model import load_model
from quantum_rerank.training.serialization import dumps, loads
from quantum_rerank.training.trial_data import PreparedData, TrialData
from quantum_rerank.training.validation import Validator
from tuning.best_trial import app
from tuning.conclusion.export import TrialEvidence, export_trial
from tuning.conclusion.trained_trial import load_trial
from tuning.records import CHECKPOINT
from tuning.study.attributes import CONTINUES, WARM_START
from tuning.study.run_folder import SUMMARY, load_study, read_record, recorded_space
from tuning.study.storage import TRIALS
from tuning.study.trial_files import BEST_EPOCH, TrialFiles
from tuning.study.view import StudyView


def test_the_best_epoch_decides_and_trials_without_weights_have_no_rank(ended_run: Path) -> None:
    ranked = StudyView(load_study(ended_run).get_trials()).ranked()
    assert [trial.number for trial in ranked] == [1, 0, 2]


def test_no_trial_with_weights_ranks_as_nothing(ended_run: Path) -> None:
    failed = load_study(ended_run).get_trials()[3:]
    assert StudyView(failed).ranked() == []


def cut_short(run: Path, values: tuple[float, ...], **attributes: int) -> int:
    """Another trial of the run, which was interrupted after some epochs."""
    study = load_study(run)
    trial = study.ask()
    for epoch, value in enumerate(values, start=1):
        trial.report(value, epoch)
    for key, attribute in attributes.items():
        trial.set_user_attr(key, attribute)
    study.tell(trial, state=TrialState.FAIL)
    return trial.number


def test_a_trial_that_was_cut_short_ranks_with_its_weights_until_another_continues_it(
    ended_run: Path,
) -> None:
    def ranked() -> list[int]:
        return [trial.number for trial in StudyView(load_study(ended_run).get_trials()).ranked()]

    first = cut_short(ended_run, (0.99,), **{CHECKPOINT: 1})
    assert ranked() == [first, 1, 0, 2]
    second = cut_short(ended_run, (), **{CONTINUES: first})  # again, before its first epoch
    load_study(ended_run).enqueue_trial({}, user_attrs={CONTINUES: second})
    assert ranked() == [first, 1, 0, 2]
    third = cut_short(ended_run, (0.99, 0.95), **{CONTINUES: second, CHECKPOINT: 1})
    assert third == first + 2
    assert ranked() == [third, 1, 0, 2]


def test_a_trial_is_loaded_with_the_weights_of_its_best_epoch(
    ended_run: Path, trial_data: TrialData
) -> None:
    trial = StudyView(load_study(ended_run).get_trials()).ranked()[0]
    loaded = load_trial(ended_run, trial)
    assert (loaded.number, loaded.state, loaded.epoch) == (1, "complete", 1)
    assert loaded.params == trial.params
    assert (
        Validator(trial_data.validation_in_domain, trial_data.validation_out_of_domain)(loaded.head)
        == loaded.validation
    )


def test_a_trial_is_exported_with_its_metrics(
    ended_run: Path, data_config: DataConfig, prepared: PreparedData, tmp_path: Path
) -> None:
    trial = load_trial(ended_run, StudyView(load_study(ended_run).get_trials()).ranked()[0])
    source = embedding_source(data_config.encoder)
    test = {"test": {"ndcg@10": 0.5}}
    bundle = export_trial(tmp_path / "best", trial, prepared, source, TrialEvidence(test))
    head, manifest = read_bundle(bundle)
    assert manifest.config == trial.config
    assert manifest.metrics == {"validation": trial.validation.metrics, **test}
    assert manifest.fusion_weight == trial.validation.fusion_weight
    assert manifest.data_fingerprint == prepared.fingerprint
    assert len(manifest.examples) == len(prepared.examples)
    training = manifest.training
    assert (training["best_epoch"], training["objectives"]) == (1, [0.3, 0.5, 0.6])
    assert (training["seconds"], training["peak_memory_gb"]) == (1.5, 601 * 2**20 / 1e9)
    exported, kept = head.state_dict(), trial.head.state_dict()
    assert all(torch.equal(exported[name], kept[name]) for name in kept)


# Weights that are not the trial's.


def put(run: Path, number: int, content: bytes) -> None:
    files = TrialFiles(str(run / TRIALS))
    files.remove(number)
    files.write(number, BEST_EPOCH, content)


def content_of(run: Path, number: int) -> bytes:
    return next(TrialFiles(str(run / TRIALS)).versions(number, BEST_EPOCH))


def changed(content: bytes, **values: Any) -> bytes:
    return dumps({**loads(content, "the checkpoint"), **values})


def refusal(run: Path, number: int, output: Path) -> str:
    """What an export of a trial is refused with."""
    arguments = [str(run), "--output", str(output), "--trial", str(number)]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, BundleError)
    assert not output.exists()
    return str(error)


def test_weights_of_another_trial_are_refused(ended_run: Path, tmp_path: Path) -> None:
    put(ended_run, 0, content_of(ended_run, 1))
    why = refusal(ended_run, 0, tmp_path / "out")
    assert "file of trial 0" in why
    assert "its trial is 1, but 0 is expected here" in why


def test_weights_of_the_same_trial_of_another_run_are_refused(
    ended_run: Path, tmp_path: Path
) -> None:
    content = content_of(ended_run, 1)
    maker = loads(content, "the checkpoint")["made_by"]
    put(ended_run, 1, changed(content, made_by={**maker, "run": "f" * 32}))
    assert "its run is ffffffffffff, but" in refusal(ended_run, 1, tmp_path / "out")


def test_weights_of_an_attempt_at_another_configuration_are_refused(
    ended_run: Path, tmp_path: Path
) -> None:
    content = content_of(ended_run, 1)
    maker = loads(content, "the checkpoint")["made_by"]
    put(ended_run, 1, changed(content, made_by={**maker, "configuration": 0}))
    assert "its configuration is 0, but 1" in refusal(ended_run, 1, tmp_path / "out")


def test_weights_that_name_no_training_are_refused(ended_run: Path, tmp_path: Path) -> None:
    record = loads(content_of(ended_run, 1), "the checkpoint")
    del record["made_by"]
    put(ended_run, 1, dumps(record))
    assert "does not say which training it is of" in refusal(ended_run, 1, tmp_path / "out")


@pytest.mark.parametrize("key", ["optimizer.mlp_lr", "seed", "training.max_epochs"])
def test_weights_of_other_numbers_than_the_study_has_are_refused(
    ended_run: Path, tmp_path: Path, key: str
) -> None:
    config = load_trial(ended_run, load_study(ended_run).trials[1]).config
    other = override(config, {key: 7 if key != "optimizer.mlp_lr" else 0.007})
    content = content_of(ended_run, 1)
    put(ended_run, 1, changed(content, config=other.model_dump(mode="json")))
    assert f"`{key}` is {7 if key != 'optimizer.mlp_lr' else 0.007} in the file" in refusal(
        ended_run, 1, tmp_path / "out"
    )


def test_weights_by_another_engine_are_the_same_trial_s(ended_run: Path) -> None:
    trial = load_study(ended_run).trials[1]
    other = override(load_trial(ended_run, trial).config, {"circuit.engine": "torch"})
    content = content_of(ended_run, 1)
    put(ended_run, 1, changed(content, config=other.model_dump(mode="json")))
    assert load_trial(ended_run, trial).config == other


def test_weights_of_another_epoch_than_the_study_has_are_refused(
    ended_run: Path, tmp_path: Path
) -> None:
    put(ended_run, 1, changed(content_of(ended_run, 1), epoch=2))
    why = refusal(ended_run, 1, tmp_path / "out")
    assert "is of epoch 2, but the trial's best epoch is 1 in the study" in why


def test_an_epoch_that_a_killed_worker_wrote_and_did_not_report_is_not_the_trial_s(
    ended_run: Path,
) -> None:
    trial = load_study(ended_run).trials[1]
    later = changed(content_of(ended_run, 1), epoch=2)
    TrialFiles(str(ended_run / TRIALS)).write(1, BEST_EPOCH, later)
    assert load_trial(ended_run, trial).epoch == 1


def test_weights_of_a_later_attempt_are_of_the_first_one_s_configuration(
    ended_run: Path,
) -> None:
    study = load_study(ended_run)
    first = study.trials[1]
    attributes = {CONTINUES: 1, CHECKPOINT: 1}
    study.add_trial(
        create_trial(
            value=0.6,
            params=first.params,
            distributions=first.distributions,
            user_attrs=attributes,
        )
    )
    maker = loads(content_of(ended_run, 1), "the checkpoint")["made_by"]
    put(ended_run, 4, changed(content_of(ended_run, 1), made_by={**maker, "trial": 4}))
    loaded = load_trial(ended_run, study.trials[4])
    space = recorded_space(read_record(ended_run))
    assert (loaded.number, loaded.config) == (4, space.config_for(first.params, 1))


def test_the_best_trial_of_a_run_can_be_exported_again(
    ended_run: Path, prepared: PreparedData, tmp_path: Path
) -> None:
    tested = [{"number": 1, "test": {"ndcg@10": 0.75}, "unseen_test": {"ndcg@10": 0.5}}]
    (ended_run / SUMMARY).write_text(json.dumps({"tested": tested}))
    output = tmp_path / "again"
    result = CliRunner().invoke(app, [str(ended_run), "--output", str(output)])
    assert result.exception is None
    assert "Exported trial 1 (epoch 1)" in result.output
    manifest = read_bundle(output)[1]
    assert manifest.data_fingerprint == prepared.fingerprint
    assert manifest.metrics["test"] == {"ndcg@10": 0.75}
    assert manifest.metrics["unseen_test"] == {"ndcg@10": 0.5}


def test_a_trial_is_exported_again_with_what_it_came_to_on_fresh_seeds(
    ended_run: Path, prepared: PreparedData, tmp_path: Path
) -> None:
    summary = {
        "tested": [{"number": 1}],
        "confirmed": [{"number": 1, "values": [0.7, 0.8], "gains": [0.1, 0.3]}],
    }
    (ended_run / SUMMARY).write_text(json.dumps(summary))
    for number, gains in ((1, (0.1, 0.3)), (0, ())):
        output = tmp_path / f"trial-{number}"
        arguments = [str(ended_run), "--output", str(output), "--trial", str(number)]
        assert CliRunner().invoke(app, arguments).exception is None
        assert load_model(output).seeds.gains == gains


def test_another_trial_can_be_exported_and_has_no_test_metrics(
    ended_run: Path, tmp_path: Path
) -> None:
    output = tmp_path / "again"
    result = CliRunner().invoke(app, [str(ended_run), "--output", str(output), "--trial", "2"])
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


def test_a_summary_that_was_cut_off_is_named(ended_run: Path, tmp_path: Path) -> None:
    (ended_run / SUMMARY).write_text('{"tested": [')
    arguments = [str(ended_run), "--output", str(tmp_path / "again")]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, BundleError)
    assert "was cut off" in str(error)


def test_a_trial_of_an_earlier_run_is_exported_where_it_was_trained(
    ended_run: Path, tmp_path: Path
) -> None:
    load_study(ended_run).add_trial(create_trial(value=0.9, user_attrs={WARM_START: "/runs/old#7"}))
    arguments = [str(ended_run), "--output", str(tmp_path / "again"), "--trial", "4"]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, OutputError)
    assert "python -m tuning.best_trial /runs/old --trial 7" in str(error)
