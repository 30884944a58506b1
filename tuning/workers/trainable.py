"""The adapter: one trial, `for report in trainer.epochs(): tune.report(...)`."""

from __future__ import annotations

import os
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from quantum_rerank.errors import FilesError
from quantum_rerank.training.data_manager import TrialData
from tuning.limits.failures import failure_reason
from tuning.limits.memory import give_back, kill_descendants
from tuning.records import (
    DONOR,
    EARLIER,
    EPOCH,
    FAILURE,
    FINAL,
    METADATA_KEYS,
    NUMBER,
    OBJECTIVE,
    ORIGIN,
    SECONDS,
    SPENT,
)
from tuning.space import Space
from tuning.study.trial_files import TrialFiles
from tuning.workers.training import train_within
from tuning.workers.trial_context import TRACEBACK, TrialContext

OUT_OF_MEMORY_EXIT_CODE = 137


@dataclass(frozen=True)
class TrialLimits:
    """What a trial may use."""

    memory_gb: float


def run_trial(
    params: dict[str, Any],
    space: Space,
    data: TrialData,
    limits: TrialLimits,
    files: str,
    run: str = "",
) -> None:
    """Train one suggestion under Ray Tune; `files` is the root of `TrialFiles`.

    run: the identifier of the run, which is written into the trial's files.

    An error of the trial's own is reported as its failure and ends it alone. A
    worker above its memory budget leaves a note and exits, which frees the
    memory at once. A worker that takes over from another, in this search or in
    one that was continued, goes on from the last progress that was written down.
    """
    from ray import tune

    give_back()  # what the trial before left in this worker
    place = TrialContext(
        TrialFiles(files),
        int(params[NUMBER]),
        tuple(params[EARLIER]),
        params[DONOR],
        space.perturbation_epochs(),
        run,
    )
    suggested = {key: value for key, value in params.items() if key not in METADATA_KEYS}
    last: dict[str, Any] = {EPOCH: 0}

    def report(metrics: dict[str, Any]) -> None:
        if SECONDS in metrics:
            metrics = {**metrics, SECONDS: round(metrics[SECONDS] + params.get(SPENT, 0.0), 2)}
        last.update(metrics)
        tune.report(metrics)

    def on_excess(used: int) -> None:
        try:
            place.leave_death_note(used, limits.memory_gb)
            kill_descendants(os.getpid())
        finally:
            # Not an exception: a thread cannot raise one in another that sits in an allocation.
            os._exit(OUT_OF_MEMORY_EXIT_CODE)

    try:
        config = space.config_for(suggested, params[ORIGIN])
        against = space.header.objective.cost
        train_within(limits.memory_gb, on_excess, config, data, report, place, against)
    except Exception as error:
        reason = failure_reason(error)
        with suppress(FilesError):  # maybe it was this that failed
            place.files.write(place.number, TRACEBACK, traceback.format_exc().encode())
    else:
        return
    tune.report({**last, FINAL: False, OBJECTIVE: float("nan"), FAILURE: reason})
