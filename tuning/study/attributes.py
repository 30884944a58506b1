"""User attributes of trials and studies."""

from __future__ import annotations

START_POINT = "start_from"  # user attribute of a trial of the space's start_from


CONTINUES = "continues"  # user attribute: number of the attempt that this trial continues


# User attributes of a clone: the configuration (by the number of the first attempt at it) whose
# weights it starts from, after which epoch, and the stopped trial whose place it has taken.
CLONES, AT_EPOCH, REPLACES = "clones", "at_epoch", "replaces"


_INHERITED = (START_POINT, CLONES, AT_EPOCH, REPLACES)  # by a later attempt


CURVE = "objective_by_epoch"  # user attribute, where there are two objectives: see `curve`


WARM_START = "warm_start"  # user attribute: RUN#NUMBER of another run's trial that came in


PROPOSED_BY = "proposed_by"  # user attribute: RUN#NUMBER of one whose configuration is trained anew
