"""Keys of the reports that a trial sends to Ray; some are kept with the trial in the study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EPOCH, FINAL = "epoch", "final"
OBJECTIVE = "objective"  # of the best epoch so far
EPOCH_OBJECTIVE = "epoch_objective"  # of the weights as they are after this epoch
COST = "cost"  # cost that `objective.cost` names, in the last report of a trial
CHECKPOINT = "best_epoch"  # epoch whose weights are kept
SECONDS, PEAK_RSS_MB = "seconds", "peak_rss_mb"
TRAINING_SECONDS = "training_seconds"  # part of `seconds`, without reports and checkpoints
FAILURE = "failure"
RESTARTED = "restarted"  # reason for which a clone did not start from its donor's weights
WARNING = "warning"  # problem of a training that does not end it
WARM_UP_SAVED = "warm_up_saved"  # seconds of the warm-up that an earlier trial had done
UNSCHEDULED_EPOCH = (
    "unscheduled_epoch"  # epoch at which a trial was stopped; see `scheduled_values`
)


def comparison_value(metrics: Mapping[str, Any], is_population: bool) -> float:
    """Return the value of a report by which trials are compared.

    Args:
        metrics: Report of a trial.
        is_population: Whether trials are members of a population, which are compared by the
            weights that a clone would copy, those of this epoch. Others are compared by their
            best epoch so far, of which a bundle is made.
    """
    best = float(metrics[OBJECTIVE])
    return float(metrics.get(EPOCH_OBJECTIVE, best)) if is_population else best
