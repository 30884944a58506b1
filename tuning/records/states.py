"""States of trials and searches."""

from __future__ import annotations

from typing import Literal

INTERRUPT, TERMINATED, HANGUP = "Ctrl-C", "SIGTERM", "SIGHUP"


TrialState = Literal["complete", "pruned", "failed"]


# First words of a failure's reason that are not the configuration's fault.
INTERRUPTED, WORKER_LOST = "interrupted", "worker lost"


STORAGE = "storage"  # a trial's files could not be written


CUT_SHORT = (INTERRUPTED, WORKER_LOST, STORAGE)
