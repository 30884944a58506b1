from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from quantum_rerank.config import ExperimentConfig, flat, override
from quantum_rerank.errors import ConfigError
from tests.tuning.reasons import failure
from tuning.records import EPOCH, FINAL, OBJECTIVE, TrialEnd, TrialOutcome
from tuning.reporting import tracking
from tuning.reporting.tracking import WandbTracker, logged_metrics, project, resolve_mode

WANDB = str(Path(sys.executable).parent / "wandb")
CONFIGS = [
    override(ExperimentConfig(), {"circuit.n_qubits": 2 + number, "loss.name": name})
    for number, name in enumerate(("triplet", "infonce", "contrastive"))
]
ENDS = [
    TrialEnd(0, TrialOutcome.COMPLETE, 2, 0.6),
    TrialEnd(1, TrialOutcome.PRUNED, 1, 0.2),
    TrialEnd(2, TrialOutcome.FAILED, 1, None, failure("nan: the loss became nan")),
]


def runs_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Run name -> what W&B itself reads back."""
    found = {}
    for path in folder.rglob("*.wandb"):
        command = [WANDB, "leet", "inspect", "--summary", "--json", str(path)]
        record = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        found[record["name"]] = record
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trials, followed as a search has them followed: open at once, ended in any order."""
    folder = tmp_path_factory.mktemp("wandb")
    tracker = WandbTracker("quantum-rerank", "tiny", folder, "offline")
    for number, config in enumerate(CONFIGS):
        tracker.trial_started(number, config)
    for epoch, values in ((1, (0.5, 0.2, 0.3)), (2, (0.6,))):
        for number, value in enumerate(values):
            metrics = {EPOCH: epoch, OBJECTIVE: value, "train_loss": 1.5 / epoch, FINAL: False}
            tracker.trial_reported(number, epoch, {**metrics, "pid": 42, "time_total_s": 1.0})
    for end in reversed(ENDS):
        tracker.trial_ended(end)
    tracker.close(seconds=1800.0)
    return folder


@pytest.fixture(scope="module")
def runs(written: Path) -> dict[str, dict[str, Any]]:
    return runs_in(written)


@pytest.fixture(params=range(3), ids=[str(end.outcome) for end in ENDS])
def number(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.mark.slow
def test_every_trial_has_a_run_of_its_own(runs: dict[str, dict[str, Any]]) -> None:
    assert sorted(runs) == ["tiny-00000", "tiny-00001", "tiny-00002"]


@pytest.mark.slow
def test_the_packages_are_listed_once(written: Path) -> None:
    (listed,) = written.rglob("requirements.txt")
    assert "wandb==" in listed.read_text()


@pytest.mark.slow
def test_a_run_holds_its_whole_configuration(runs: dict[str, dict[str, Any]], number: int) -> None:
    expected = {**flat(CONFIGS[number]), "trial": number}
    assert runs[f"tiny-{number:05d}"]["config"] == expected


@pytest.mark.slow
def test_a_run_ends_as_its_trial_did(runs: dict[str, dict[str, Any]], number: int) -> None:
    end, run = ENDS[number], runs[f"tiny-{number:05d}"]
    summary = run["summary"]
    assert (summary["state"], summary[EPOCH]) == (end.outcome, end.epoch)
    assert summary[OBJECTIVE] == ([0.6, 0.2, 0.3][number])
    assert summary.get("reason", "") == str(end.failure or "")
    assert run["exit_code"] == (1 if end.outcome == TrialOutcome.FAILED else 0)


@pytest.mark.slow
def test_a_run_can_be_found_by_its_tags(runs: dict[str, dict[str, Any]], number: int) -> None:
    tags = {"hybrid", "lightning.qubit", CONFIGS[number].loss.name}
    assert set(runs[f"tiny-{number:05d}"]["tags"]) == tags


@pytest.mark.slow
def test_a_run_shows_no_key_of_the_machinery(runs: dict[str, dict[str, Any]]) -> None:
    own = {key for key in runs["tiny-00000"]["summary"] if not key.startswith("_")}
    assert own == {EPOCH, OBJECTIVE, "train_loss", "state"}


@pytest.mark.slow
def test_a_trial_that_nobody_ended_is_closed_as_failed(tmp_path: Path) -> None:
    tracker = WandbTracker("quantum-rerank", "tiny", tmp_path, "offline")
    tracker.trial_started(0, CONFIGS[0])
    tracker.trial_reported(0, 1, {EPOCH: 1, OBJECTIVE: 0.5})
    tracker.close(seconds=1800.0)
    run = runs_in(tmp_path)["tiny-00000"]
    assert (run["exit_code"], run["summary"][OBJECTIVE]) == (1, 0.5)


@pytest.mark.slow
@pytest.mark.filterwarnings("default:W&B is given up:UserWarning")
def test_a_folder_that_cannot_be_written_is_a_warning_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "file").write_text("in the way")
    tracker = WandbTracker("quantum-rerank", "tiny", tmp_path / "file" / "run", "offline")
    for number, config in enumerate(CONFIGS):
        tracker.trial_started(number, config)
        tracker.trial_reported(number, 1, {EPOCH: 1, OBJECTIVE: 0.5})
    for end in ENDS:
        tracker.trial_ended(end)
    tracker.close(seconds=1800.0)
    assert list(tmp_path.rglob("*.wandb")) == []
    said = [str(warning.message) for warning in recwarn]
    assert sum("W&B is given up for this search" in text for text in said) == 1


@pytest.mark.filterwarnings("default:W&B is given up:UserWarning")
def test_whatever_goes_wrong_is_said_once_and_harms_nobody(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    tracker = WandbTracker("quantum-rerank", "tiny", tmp_path, "offline")
    for epoch in range(3):
        tracker.trial_reported(7, epoch, {OBJECTIVE: 0.5})  # of a trial that nobody started
    tracker.trial_ended(TrialEnd(7, TrialOutcome.COMPLETE, 3, 0.5))
    tracker.close(seconds=1800.0)
    (warning,) = recwarn
    assert "W&B is given up for this search" in str(warning.message)


@pytest.mark.filterwarnings("default:W&B is given up:UserWarning")
def test_an_error_without_a_message_is_named_by_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise TimeoutError

    monkeypatch.setattr(tracking, "start_run", fail)
    tracker = WandbTracker("quantum-rerank", "tiny", tmp_path, "offline")
    tracker.trial_started(0, CONFIGS[0])
    tracker.close(seconds=1800.0)
    (warning,) = recwarn
    assert str(warning.message) == "W&B is given up for this search: TimeoutError"


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """W&B's address is one where nobody listens; wandb reads it once, when it is set up."""
    with monkeypatch.context() as patched:
        patched.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        patched.setenv("WANDB_API_KEY", "0" * 40)
        wandb.teardown()
        yield
    wandb.teardown()


@pytest.mark.slow
@pytest.mark.filterwarnings("default:W&B does not answer:UserWarning")
def test_where_the_server_does_not_answer_the_runs_are_written_offline(
    no_server: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    monkeypatch.setattr(tracking, "_AWAY_SECONDS", 1.0)
    tracker = WandbTracker("quantum-rerank", "tiny", tmp_path, "online")
    for number, config in enumerate(CONFIGS[:2]):
        tracker.trial_started(number, config)
        tracker.trial_reported(number, 1, {EPOCH: 1, OBJECTIVE: 0.5})
    for end in ENDS[:2]:
        tracker.trial_ended(end)
    tracker.close(seconds=1800.0)
    assert sorted(runs_in(tmp_path)) == ["tiny-00000", "tiny-00001"]
    assert all(path.parent.name.startswith("offline-") for path in tmp_path.rglob("*.wandb"))
    said = [str(warning.message) for warning in recwarn]
    assert sum("W&B does not answer" in text for text in said) == 1
    assert any(f"wandb sync {tmp_path}" in text for text in said)


@pytest.mark.slow
def test_an_id_in_the_environment_does_not_make_all_trials_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "fixed")
    monkeypatch.setenv("WANDB_TAGS", "mine,yours")
    wandb.teardown()  # it reads the environment once, when it is set up
    tracker = WandbTracker("quantum-rerank", "tiny", tmp_path, "offline")
    for end in ENDS[:2]:
        tracker.trial_started(end.number, CONFIGS[end.number])
        tracker.trial_ended(end)
    tracker.close()
    wandb.teardown()
    runs = runs_in(tmp_path)
    assert len({run["run_id"] for run in runs.values()}) == len(runs) == 2
    assert {"mine", "yours", "hybrid"} <= set(runs["tiny-00000"]["tags"])


def test_a_tracker_that_is_disabled_writes_nothing(tmp_path: Path) -> None:
    tracker = WandbTracker("quantum-rerank", "tiny", tmp_path, "disabled")
    tracker.trial_started(0, CONFIGS[0])
    tracker.trial_reported(0, 1, {EPOCH: 1, OBJECTIVE: 0.5})
    tracker.trial_ended(ENDS[0])
    tracker.close(seconds=1800.0)
    assert list(tmp_path.rglob("*.wandb")) == []


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
def test_a_mode_that_was_asked_for_stands(monkeypatch: pytest.MonkeyPatch, mode: Any) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert resolve_mode(mode) == mode


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
def test_auto_hears_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    assert resolve_mode("auto") == mode


@pytest.mark.parametrize(("named", "mode"), [("dryrun", "offline"), ("Offline", "offline")])
def test_auto_knows_other_names_of_a_mode(
    monkeypatch: pytest.MonkeyPatch, named: str, mode: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", named)
    assert resolve_mode("auto") == mode


def test_a_mode_that_nobody_knows_is_refused_rather_than_uploaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "nowhere")
    with pytest.raises(ConfigError, match="WANDB_MODE is `nowhere`, but must be online, offline"):
        resolve_mode("auto")


def test_the_project_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    assert project() == "quantum-rerank"
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    assert project() == "mine"


def test_auto_is_offline_where_nobody_is_logged_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert resolve_mode("auto") == "offline"


@pytest.mark.parametrize(
    "key",
    [
        "trial_id", "done", "timestamp", "pid", "hostname", "node_ip", "date", FINAL,
        "time_total_s", "time_this_iter_s", "training_iteration", "iterations_since_restore",
        "config/loss.margin",
    ],
)  # fmt: skip
def test_keys_of_the_machinery_are_not_logged(key: str) -> None:
    assert logged_metrics({key: 1.0, "train_loss": 0.5}) == {"train_loss": 0.5}


@pytest.mark.parametrize("value", ["text", None, True, [1.0], float("nan"), float("inf")])
def test_what_is_no_finite_number_is_not_logged(value: Any) -> None:
    assert logged_metrics({"train_loss": value, EPOCH: 3}) == {EPOCH: 3.0}


def test_an_objective_that_is_not_a_number_is_logged_as_such() -> None:
    assert str(logged_metrics({OBJECTIVE: float("nan")})[OBJECTIVE]) == "nan"
