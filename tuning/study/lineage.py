"""Who descends from whom: trials that went on from another's weights, as a study holds them.

A clone starts where its donor was at some epoch, and takes the place of a trial
that was stopped there. All of it is in the user attributes of the clone, so what a
population is follows from its study alone. A configuration's name is the number
of the first attempt at it. `trials` are all of the study, by number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from quantum_rerank.config import ExperimentConfig
from tuning.records import RESTARTED
from tuning.space import Space
from tuning.study.attributes import AT_EPOCH, CLONES, REPLACES, WARM_START
from tuning.study.history import exclude_warm_start, finished_trials, origins

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def came_to(trials: Sequence[FrozenTrial], epoch: int) -> dict[int, FrozenTrial]:
    """Configuration -> an attempt at it with a value at an epoch; without those that failed."""
    first = origins(trials)
    came = {
        first[t.number]: t for t in exclude_warm_start(trials) if epoch in t.intermediate_values
    }
    failed = {first[t.number] for t in finished_trials(trials) if t.state == TrialState.FAIL}
    return {origin: trial for origin, trial in came.items() if origin not in failed}


def open_configurations(trials: Sequence[FrozenTrial]) -> set[int]:
    """Configurations that are not over: at work, queued, or cut short."""
    first = origins(trials)
    return {first[t.number] for t in exclude_warm_start(trials)} - {
        first[t.number] for t in finished_trials(trials)
    }


def without_successor(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that were stopped, and whose place no clone has taken."""
    replaced = {trial.user_attrs.get(REPLACES) for trial in trials}
    pruned = [t for t in exclude_warm_start(trials) if t.state == TrialState.PRUNED]
    return [t for t in pruned if t.number not in replaced]


def donor_of(attributes: Mapping[str, Any]) -> tuple[int, int] | None:
    """The configuration and epoch that a trial goes on from; None if it started from scratch."""
    if CLONES not in attributes or RESTARTED in attributes:
        return None
    return int(attributes[CLONES]), int(attributes[AT_EPOCH])


def ancestors(
    space: Space, trials: Sequence[FrozenTrial], number: int
) -> list[tuple[ExperimentConfig, int]]:
    """The configurations that had trained a trial's weights before it, the earliest first.

    Each with its last epoch in them: what `make_descendant` trains again.
    """
    return [
        (space.config_for(given(trials[origin]), origin), epoch)
        for origin, epoch in descent(trials, number)
    ]


def given(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's parameters, also of one that was killed before it had asked for all of them."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def came_from(trial: FrozenTrial) -> tuple[str, int] | None:
    """The earlier run that has trained a trial, and its number there; None if it is this one's."""
    if WARM_START not in trial.user_attrs:
        return None
    run, _, number = str(trial.user_attrs[WARM_START]).rpartition("#")
    return run, int(number)


def descent(trials: Sequence[FrozenTrial], number: int) -> list[tuple[int, int]]:
    """What a trial's weights had seen before its own epochs, the earliest first.

    Each: a configuration, and its last epoch. Empty where a trial started from scratch.
    """
    latest = {origin: trials[number] for number, origin in origins(trials).items()}
    line: list[tuple[int, int]] = []
    donor = donor_of(trials[number].user_attrs)
    while donor is not None:
        line.insert(0, donor)
        donor = donor_of(latest[donor[0]].user_attrs)
    return line


def ordered_at(trials: Sequence[FrozenTrial], epoch: int) -> list[int]:
    """The configurations that came to an epoch and did not fail, the highest first."""
    values = {n: trial.intermediate_values[epoch] for n, trial in came_to(trials, epoch).items()}
    return sorted(values, key=lambda number: (-values[number], number))
