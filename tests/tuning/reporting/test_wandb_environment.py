from __future__ import annotations

import shlex
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from quantum_rerank.errors import ConfigError, OutputError
from tuning import search
from tuning.commands import request
from tuning.reporting import wandb_environment
from tuning.reporting.tracking import group_name
from tuning.reporting.wandb_environment import (
    drop_settings_of_one_run,
    refuse_settings_of_run,
    refuse_unusable_settings,
    where_runs_are_written,
)


def test_variables_of_one_run_are_dropped_and_named() -> None:
    environment = {
        "WANDB_RUN_ID": "fixed",
        "WANDB_NAME": "mine",
        "WANDB_RESUME": "must",
        "WANDB_SWEEP_ID": "abc",
        "WANDB_PROJECT": "kept",
        "WANDB_TAGS": "kept",
    }
    dropped = drop_settings_of_one_run(environment)
    assert sorted(dropped) == ["WANDB_NAME", "WANDB_RESUME", "WANDB_RUN_ID", "WANDB_SWEEP_ID"]
    assert environment == {"WANDB_PROJECT": "kept", "WANDB_TAGS": "kept"}
    assert drop_settings_of_one_run(environment) == []


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        *(("WANDB_PROJECT", f"a{character}b", "cannot contain") for character in "/\\#?%:"),
        ("WANDB_PROJECT", "x" * 129, "128 characters"),
        ("WANDB_ENTITY", "my team", "a team's name has none of"),
        ("WANDB_MODE", "nowhere", "'online', 'offline'"),
        ("WANDB_TAGS", "x" * 65, "between 1 and 64"),
        ("WANDB_BASE_URL", "nowhere", "valid URL"),
        ("WANDB_SILENT", "perhaps", "valid boolean"),
        ("WANDB_INIT_TIMEOUT", "soon", "valid number"),
    ],
)
def test_a_value_that_wandb_refuses_is_named_with_its_variable(
    name: str, value: str, why: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_unusable_settings("offline", {name: value})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{name} is `{value}`, refused by W&B: ")
    assert why in problem
    assert problem.endswith("Change it, unset it, or pass --wandb disabled.")


def test_every_bad_variable_is_named_at_once() -> None:
    environment = {"WANDB_PROJECT": "a/b", "WANDB_MODE": "nowhere", "PATH": "/bin"}
    with pytest.raises(ConfigError) as caught:
        refuse_unusable_settings("offline", environment)
    assert len(caught.value.problems) == 2


def test_a_secret_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses:
        def update_from_env_vars(self, environment: dict[str, str]) -> None:
            raise ValueError(f"bad {environment}")

    wandb = type("wandb", (), {"Settings": Refuses})
    monkeypatch.setattr(wandb_environment, "import_wandb", lambda: wandb)
    with pytest.raises(ConfigError) as caught:
        refuse_unusable_settings("offline", {"WANDB_API_KEY": "hidden"})
    assert "WANDB_API_KEY is set, but W&B refuses it" in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("written", ["OFFLINE", "Offline", "dryrun"])
def test_a_mode_in_other_letters_is_given_to_wandb_in_its_own(written: str) -> None:
    environment = {"WANDB_MODE": written}
    refuse_unusable_settings("offline", environment)
    assert environment == {"WANDB_MODE": written.lower()}


def test_nothing_is_checked_where_wandb_is_disabled() -> None:
    refuse_unusable_settings("disabled", {"WANDB_PROJECT": "a/b"})


def test_online_without_a_key_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ConfigError, match=r"Run `wandb login`, or pass --wandb offline\."):
        refuse_unusable_settings("online", {})


def test_where_runs_go_is_told_in_every_mode(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("WANDB_ENTITY", "team")
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert where_runs_are_written("disabled", tmp_path) == "W&B: disabled, no runs are written."
    online = where_runs_are_written("online", tmp_path)
    assert "online, project mine of team at https://wandb.example.org" in online
    folder = tmp_path / "lr=1 or 2?"
    command = where_runs_are_written("offline", folder).partition("`")[2].rpartition("`")[0]
    assert shlex.split(command)[:2] == ["wandb", "sync"]
    assert shlex.split(command)[2] == f"{folder}/wandb/offline-run-*"


@pytest.mark.parametrize("name", ["first", "lr=1?", "a" * 110, "\u6a39" * 80])
def test_a_group_is_called_as_its_folder_where_wandb_takes_that(name: str) -> None:
    assert group_name(name) == name


def test_a_group_s_name_is_printable_short_and_its_own() -> None:
    long = [group_name("x" * 200 + end) for end in "ab"]
    assert len(set(long)) == 2
    assert all(len(f"{name}-00000") <= 128 for name in long)
    assert group_name("two\nlines").isprintable()
    assert group_name("two\nlines") != group_name("two_lines")


@pytest.mark.parametrize("name", ["wandb", ".wandb"])
@pytest.mark.parametrize("is_named", [False, True], ids=["working directory", "WANDB_DIR"])
def test_a_server_that_a_run_folder_names_to_wandb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_named: bool
) -> None:
    settings = tmp_path / "run" / name / "settings"
    settings.parent.mkdir(parents=True)
    settings.write_text("[default]\nbase_url = http://stranger\n")
    environment = {"WANDB_DIR": str(tmp_path / "run")} if is_named else {}
    monkeypatch.chdir(tmp_path if is_named else tmp_path / "run")
    with pytest.raises(OutputError, match="where to send your API key"):
        refuse_settings_of_run(tmp_path / "run", environment)


def test_settings_of_wandb_outside_of_the_run_are_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text("[default]\n")
    monkeypatch.chdir(tmp_path)
    refuse_settings_of_run(tmp_path / "run", {})


def test_a_resumed_run_names_no_server_to_wandb(
    ended_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(_: object) -> NoReturn:
        raise AssertionError("W&B was asked before its settings were checked.")

    monkeypatch.setattr(request, "resolve_mode", asked)
    (ended_run / "wandb").mkdir(exist_ok=True)
    (ended_run / "wandb" / "settings").write_text("[default]\nbase_url = http://stranger\n")
    monkeypatch.chdir(ended_run)
    result = CliRunner().invoke(search.app, ["--resume", "."])
    assert "where to send your API key" in str(result.exception)
