"""Function that Ray Tune runs in a worker: it trains one trial and reports its epochs."""

from __future__ import annotations

import os
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from quantum_rerank.errors import FilesError
from quantum_rerank.training.trial_data import TrialData
from tuning.limits.failures import failure_of
from tuning.limits.memory import give_back, kill_descendants
from tuning.limits.memory_watchdog import OUT_OF_MEMORY_EXIT_CODE
from tuning.records import (
    EPOCH,
    FAILURE,
    FINAL,
    OBJECTIVE,
    SECONDS,
    metadata_of,
    parameters_of,
)
from tuning.space import Space
from tuning.study.trial_files import TrialFiles
from tuning.workers.training import TrialTask, train_within
from tuning.workers.trial_context import TRACEBACK, TrialContext


@dataclass(frozen=True)
class TrialLimits:
    """Resources that a trial may use.

    Attributes:
        memory_gb: Memory, in GiB.
    """

    memory_gb: float


def run_trial(
    ray_config: dict[str, Any],
    space: Space,
    data: TrialData,
    limits: TrialLimits,
    files: str,
    run: str = "",
) -> None:
    """Train one trial under Ray Tune.

    An error of the trial is reported as its failure and ends it alone. A worker above its memory
    budget leaves a note and exits, which frees the memory at once. A worker that takes over from
    another one, in this session or a later one, resumes from the last checkpoint.

    Args:
        ray_config: Parameters of the trial, and its metadata.
        space: Space of the search.
        data: Data of the search.
        limits: Resources of the trial.
        files: Root of `TrialFiles`.
        run: Identifier of the run, which is written into the trial's files.
    """
    from ray import tune

    give_back()  # memory of the previous trial in this worker
    metadata = metadata_of(ray_config)
    context = TrialContext(TrialFiles(files), metadata, space.perturbation_epochs(), run)
    last: dict[str, Any] = {EPOCH: 0}

    def report(metrics: dict[str, Any]) -> None:
        if SECONDS in metrics:
            metrics = {**metrics, SECONDS: round(metrics[SECONDS] + metadata.spent_seconds, 2)}
        last.update(metrics)
        tune.report(metrics)

    def on_excess(used: int) -> None:
        try:
            context.leave_death_note(used, limits.memory_gb)
            kill_descendants(os.getpid())
        finally:
            # Not an exception: a thread cannot raise one in another that sits in an allocation.
            os._exit(OUT_OF_MEMORY_EXIT_CODE)

    try:
        config = space.config_for(parameters_of(ray_config), metadata.ordinal)
        task = TrialTask(config, data, context, space.header.objective.cost)
        train_within(limits.memory_gb, on_excess, task, report)
    except Exception as error:
        failure = failure_of(error)
        with suppress(FilesError):  # it may be the error itself
            context.files.write(context.number, TRACEBACK, traceback.format_exc().encode())
    else:
        return
    tune.report({**last, FINAL: False, OBJECTIVE: float("nan"), FAILURE: failure})
