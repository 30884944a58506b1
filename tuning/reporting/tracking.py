"""Weights & Biases: a mirror of the search, written by one thread for all trials.

Ray's own callback starts processes per trial and has lost runs; one writer that holds many open
runs costs a quarter of a second each. Nothing here may harm a trial: a failure is reported once
and the search goes on; where W&B's server does not answer, it goes on offline.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import queue
import secrets
import shutil
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from quantum_rerank.config import ExperimentConfig, flat
from quantum_rerank.errors import ConfigError, MissingPackage, first_line
from quantum_rerank.plain_text import pasted
from tuning.records import EPOCH, FINAL, OBJECTIVE, Listener, TrialEnd, TrialOutcome
from tuning.reporting import wandb_service

Mode = Literal["online", "offline", "disabled"]

_PROJECT = "quantum-rerank"
# Names of W&B's own for a mode -> what is meant.
MODES: dict[str, Mode] = {
    "online": "online",
    "offline": "offline",
    "disabled": "disabled",
    "run": "online",
    "dryrun": "offline",
}
_LONGEST_GROUP = 110  # characters, of W&B's 128: a run's name has the trial's number beside it
_AWAY_SECONDS = 10.0  # without an answer from W&B's server until it is taken to be away
_INTERNAL = {"trial_id", "done", "date", "timestamp", "pid", "hostname", "node_ip", FINAL}


def resolve_mode(option: Literal["auto", "online", "offline", "disabled"]) -> Mode:
    """Return the W&B mode that an option stands for.

    Args:
        option: `auto` is the mode of WANDB_MODE; without it, online where wandb is logged in and
            offline elsewhere.

    Raises:
        ConfigError: WANDB_MODE is not a mode of W&B.
    """
    if option != "auto":
        return option
    named = os.environ.get("WANDB_MODE", "").lower()
    if named in MODES:
        return MODES[named]
    if named:
        raise ConfigError(f"WANDB_MODE is `{named}`, but must be {', '.join(MODES)}, or not set.")
    return "online" if _logged_in() else "offline"


def project() -> str:
    """Return the W&B project of every run: that of WANDB_PROJECT, or this project's."""
    return os.environ.get("WANDB_PROJECT") or _PROJECT


def logged_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a report that W&B shows, with the same keys in search and sweep."""
    return {
        key: float(value)
        for key, value in metrics.items()
        if isinstance(value, (int, float))
        and not isinstance(value, bool)
        and key not in _INTERNAL
        and not key.startswith(("time_", "training_iteration", "iterations_", "config/"))
        and (math.isfinite(value) or key == OBJECTIVE)
    }


def start_run(
    project: str, group: str, name: str | None, folder: Path, mode: Mode, **settings: Any
) -> Any:
    """Open one W&B run as every trial has it, and define its axis."""
    wandb = import_wandb()
    folder.mkdir(parents=True, exist_ok=True)  # else W&B takes a temporary folder, silently
    run = wandb.init(
        project=project,
        group=group,
        job_type="trial",
        name=name,
        dir=str(folder),
        mode=mode,
        reinit="create_new",
        settings=wandb.Settings(
            console="off",
            x_disable_stats=True,
            x_disable_meta=True,
            disable_git=True,
            save_code=False,
            silent=True,
            **settings,
        ),
    )
    run.define_metric(EPOCH)
    run.define_metric("*", step_metric=EPOCH)
    return run


def describe_run(run: Any, config: ExperimentConfig) -> None:
    """Write the configuration of a trial and its tags.

    Args:
        run: W&B run; keys that a sweep has set stay as they are.
        config: Configuration of the trial.
    """
    run.config.update({k: v for k, v in flat(config).items() if k not in run.config})
    tags = (*(run.tags or ()), config.model, config.circuit.engine, config.loss.name)
    run.tags = tuple(dict.fromkeys(tags))  # beside those of WANDB_TAGS


def finish_run(run: Any, end: TrialEnd) -> None:
    """Write the outcome of a trial, and close its run; a failed trial exits with 1."""
    run.summary["state"] = str(end.outcome)
    run.summary[EPOCH] = end.epoch
    if end.objective is not None:
        run.summary[OBJECTIVE] = end.objective
    if end.failure:
        run.summary["reason"] = str(end.failure)
    run.finish(exit_code=1 if end.outcome == TrialOutcome.FAILED else 0)


def group_name(folder_name: str) -> str:
    """Make a group's name of a run folder's name: printable, and within W&B's length.

    A name that is cut ends with a hash, so that two long names stay two groups.

    >>> group_name("lr=1?")
    'lr=1?'
    """
    name = "".join(c if c.isprintable() else "_" for c in folder_name)
    if name == folder_name and len(name) <= _LONGEST_GROUP:
        return name
    digest = hashlib.sha256(os.fsencode(folder_name)).hexdigest()[:8]
    return f"{name[: _LONGEST_GROUP - 9]}-{digest}"


class WandbTracker(Listener):
    """Listener that writes a W&B run per trial, from a thread of its own.

    Args:
        project: W&B project.
        group: Name of the group of runs.
        folder: Folder of the files.
        mode: W&B mode; it becomes offline where the server does not answer.
    """

    def __init__(self, project: str, group: str, folder: Path, mode: Mode) -> None:
        self._project, self._group = project, group_name(group)
        self._folder, self._mode = folder, mode
        self._runs: dict[int, Any] = {}
        self._has_requirements = False
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._failed = False
        self._thread = threading.Thread(target=self._write, name="wandb-writer", daemon=True)
        self._thread.start()

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        self._tasks.put(lambda: self._open(number, config))

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        shown = logged_metrics(metrics)
        self._tasks.put(lambda: self._runs[number].log({**shown, EPOCH: epoch}))

    def trial_ended(self, end: TrialEnd) -> None:
        self._tasks.put(lambda: self._finish(end))

    def close(self, seconds: float = 60.0) -> None:
        """Write what is queued and close open runs, or give up after so many seconds."""
        self._tasks.put(None)
        if reason := wandb_service.finish(self._thread, seconds):
            text = f"W&B is given up: {reason}. Its files may lack the end of the last trials."
            warnings.warn(text, stacklevel=2)
        wandb_service.limit_exit(wandb_service.STOPPED_SECONDS)

    def _open(self, number: int, config: ExperimentConfig) -> None:
        run = self._runs[number] = self._start(f"{self._group}-{number:05d}")
        self._has_requirements = True
        describe_run(run, config)
        run.config.update({"trial": number})

    def _start(self, name: str) -> Any:
        run_id = secrets.token_hex(4)  # of this trial: WANDB_RUN_ID would be that of all
        where = (self._project, self._group, name, self._folder, self._mode)
        # All runs have the same packages, which take 0.2 s to list: the first run has the list.
        settings: dict[str, Any] = {
            "run_id": run_id,
            "x_save_requirements": not self._has_requirements,
        }
        if self._mode != "online":
            return start_run(*where, **settings)
        try:
            return start_run(
                *where,
                **settings,
                init_timeout=_AWAY_SECONDS,
                finish_timeout=_AWAY_SECONDS,
                finish_timeout_raises=True,
            )
        except Exception as error:  # wandb has many for a server that does not answer
            self._go_on_offline(error)
        # A folder that it has begun would be uploaded as one more run.
        for folder in self._folder.glob(f"wandb/run-*-{run_id}"):
            shutil.rmtree(folder, ignore_errors=True)
        return self._start(name)

    def _finish(self, end: TrialEnd) -> None:
        try:
            finish_run(self._runs.pop(end.number), end)
        except TimeoutError as error:  # the run is on disk, as one written offline
            self._go_on_offline(error)

    def _go_on_offline(self, error: Exception) -> None:
        if self._mode == "online":
            text = (
                f"W&B does not answer ({first_line(error)}): the search goes on offline. "
                f"Upload it later with `wandb sync {pasted(self._folder / 'wandb')}/*run-*`."
            )
            warnings.warn(text, stacklevel=2)
        self._mode = "offline"

    def _write(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._failed:
                continue
            try:
                task()
            except Exception as error:  # no error of W&B may reach a trial
                self._failed = True
                reason = first_line(error)
                warnings.warn(f"W&B is given up for this search: {reason}", stacklevel=1)
        with contextlib.suppress(Exception):
            for run in self._runs.values():
                run.finish(exit_code=1)


def _logged_in() -> bool:
    wandb = import_wandb()
    try:
        return bool(wandb.Api(timeout=5).api_key)
    except Exception:  # not logged in, or no network: both mean offline
        return False


def has_key() -> bool:
    """Return whether wandb has an API key, also where its server does not answer."""
    wandb = import_wandb()
    try:
        return bool(wandb.Api(timeout=5).api_key)
    except wandb.errors.AuthenticationError:
        return True
    except wandb.errors.UsageError:
        return False
    except Exception:  # any other problem is reported when the first run starts
        return True


def import_wandb() -> Any:
    """Return the package wandb, set so that it never asks a question at a terminal."""
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        import wandb
    except ImportError:
        raise MissingPackage("wandb", "tune", "Tracking") from None
    return wandb
