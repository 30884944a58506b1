"""Checks of W&B's environment variables before a search starts.

A search has a W&B run per trial. Variables of a single run would give all of them the same id,
name or sweep; values that W&B refuses would end tracking at the first trial.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from pydantic import ValidationError

from quantum_rerank.errors import ConfigError, OutputError
from quantum_rerank.plain_text import pasted
from tuning.reporting.tracking import MODES, Mode, has_key, import_wandb, project

# Of one run, or of the process that has it.
_OF_ONE_RUN = (
    "WANDB_RUN_ID",
    "WANDB_NAME",
    "WANDB_RUN_NAME",
    "WANDB_RUN_GROUP",
    "WANDB_RUN_DIR",
    "WANDB_JOB_TYPE",
    "WANDB_RUN_JOB_TYPE",
    "WANDB_RESUME",
    "WANDB_RESUMED",
    "WANDB_RESUME_FROM",
    "WANDB_FORK_FROM",
    "WANDB_SWEEP_ID",
    "WANDB_SWEEP_PARAM_PATH",
    "WANDB_X_FILES_DIR",
    "WANDB_X_SYNC_DIR_SUFFIX",
    "WANDB_X_START_TIME",
    "WANDB_LAUNCH",
    "WANDB_SERVICE",
)
_SECRET = ("KEY", "TOKEN", "HEADERS", "PROXY", "PROXIES")  # in names whose values are not printed
_NOT_IN_A_NAME = "/\\#?%: "


def drop_settings_of_one_run(environment: MutableMapping[str, str] = os.environ) -> list[str]:
    """Remove the variables that would make all trials one W&B run.

    Args:
        environment: Environment of this process, which W&B reads.

    Returns:
        The names of the variables that were set.
    """
    return [name for name in _OF_ONE_RUN if environment.pop(name, None) is not None]


def refuse_unusable_settings(
    mode: Mode, environment: MutableMapping[str, str] = os.environ
) -> None:
    """Check the variables that W&B reads from the environment.

    Args:
        mode: W&B mode; nothing is checked if it is `disabled`.
        environment: Environment of this process.

    Raises:
        ConfigError: Variables that W&B refuses, each with the way out.
    """
    if mode == "disabled":
        return
    # W&B itself knows the names of its modes in lower case only.
    if (named := environment.get("WANDB_MODE", "").lower()) in MODES:
        environment["WANDB_MODE"] = named
    if problems := list(_refused(environment)):
        raise ConfigError(problems)
    if mode == "online" and not has_key():
        raise ConfigError("wandb is not logged in. Run `wandb login`, or pass --wandb offline.")


def refuse_settings_of_run(folder: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Check that W&B reads no settings file from a run's folder.

    W&B reads `wandb/settings` below the working directory. The file may name the server to which
    the API key is sent, and a run folder may come from anybody.

    Args:
        folder: Folder of the run.
        environment: Of this process.

    Raises:
        OutputError: There is such a file.
    """
    root = Path(environment.get("WANDB_DIR") or ".")
    for name in ("wandb", ".wandb"):
        file = (root / name / "settings").resolve()
        if file.is_relative_to(folder.resolve()) and file.exists():
            raise OutputError(
                f"`{file}` lies in the folder of the run, but would tell W&B where to send your "
                "API key. Remove it, start the command in another folder, or pass --wandb disabled."
            )


def _refused(environment: MutableMapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable whose value W&B refuses."""
    settings = import_wandb().Settings
    for name, value in sorted(environment.items()):
        if not name.startswith("WANDB_"):
            continue
        why = ""
        if name == "WANDB_ENTITY":
            why = _bad_entity(value)
        try:
            settings().update_from_env_vars({name: value})
        except ValidationError as error:
            why = error.errors()[0]["msg"]
        except Exception as error:  # W&B has a tree of its own for what it refuses
            why = str(error)
        if why:
            is_secret = any(word in name for word in _SECRET)
            shown = "is set, but W&B refuses it" if is_secret else f"is `{value}`, refused by W&B"
            reason = "" if is_secret else f": {why.rstrip('.')}"
            yield f"{name} {shown}{reason}. Change it, unset it, or pass --wandb disabled."


def _bad_entity(value: str) -> str:
    forbidden = "".join(symbol for symbol in _NOT_IN_A_NAME if symbol in value)
    return (
        f"a user's or a team's name has none of the characters {forbidden!r}" if forbidden else ""
    )


def where_runs_are_written(mode: Mode, folder: Path) -> str:
    """Return a sentence on the W&B mode and the place of the runs.

    Args:
        mode: W&B mode.
        folder: Folder of the run.
    """
    if mode == "disabled":
        return "W&B: disabled, no runs are written."
    name, files = project(), folder / "wandb"
    if mode == "offline":
        upload = f"upload them with `wandb sync {pasted(files)}/offline-run-*`"
        return f"W&B: offline, project {name}, runs in {files}; {upload}."
    server = os.environ.get("WANDB_BASE_URL", "the server that you are logged in to")
    entity = os.environ.get("WANDB_ENTITY", "your default entity")
    return f"W&B: online, project {name} of {entity} at {server}, files in {files}."
