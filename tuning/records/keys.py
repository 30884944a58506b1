"""Keys of a trial's reports, and of the attributes kept with it in the study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Keys of a trial's report to Ray, and of what is kept beside a trial in the study.
EPOCH, OBJECTIVE, FINAL = "epoch", "objective", "final"


EPOCH_OBJECTIVE = "epoch_objective"  # of the weights as they are; `objective` is of the best so far


FAILURE, PEAK_RSS_MB, SECONDS = "failure", "peak_rss_mb", "seconds"


COST = "cost"  # what `objective.cost` names, in a trial's last report


TRAINING_SECONDS = "training_seconds"  # of `seconds`, without reports and checkpoints


CHECKPOINT = "best_epoch"  # whose weights are kept


RESTARTED = "started_over"  # why a clone did not start from its donor's weights


UNSCHEDULED_EPOCH = (
    "unjudged_epoch"  # at which a trial was stopped; by the scheduler only if it is pruned
)


WARNING = "warning"  # what is wrong with a training, though not so that it would end


def comparison_value(metrics: Mapping[str, Any], is_population: bool) -> float:
    """What of a report trials are compared by: the best so far, of which a bundle is made.

    Members of a population by what they are now, for that is what is cloned.
    """
    best = float(metrics[OBJECTIVE])
    return float(metrics.get(EPOCH_OBJECTIVE, best)) if is_population else best
