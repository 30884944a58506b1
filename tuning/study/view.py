"""Trials of a study at one moment, and the relations between them.

An attempt at a configuration that was cut short (by Ctrl-C, a budget, a lost worker, a killed
driver) is FAIL, since Optuna ends a trial only once; another trial with the same parameters
continues it from its last checkpoint. A configuration is named by the number of the first
attempt at it. A clone of population based training starts from the weights that its donor had
at some epoch, and takes the place of a trial that was stopped there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from quantum_rerank.config import ExperimentConfig
from tuning.records import Donor, FailureKind, TrialMetadata
from tuning.space import Space
from tuning.study import attributes
from tuning.study.ranking import ranking_key
from tuning.study.retrying import RetryingStorage
from tuning.study.trials import (
    exclude_warm_start,
    is_cut_short,
    parameters,
    scheduled_values,
)

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


class StudyView:
    """Trials of a study as they are at one moment.

    Args:
        trials: Trials in the order of their numbers; all of the study, unless a method is only
            asked about those that are given.
    """

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        self.trials = trials

    @classmethod
    def of(cls, study: optuna.Study) -> StudyView:
        """Return the view of a study as it is now."""

        def read() -> StudyView:
            return cls(study.get_trials(deepcopy=False))

        storage: object = study._storage
        if isinstance(storage, RetryingStorage):
            return storage.unchanged(study._study_id, read)
        return read()

    def __iter__(self) -> Iterator[FrozenTrial]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, number: int) -> FrozenTrial:
        return self._by_number[number]

    @cached_property
    def _by_number(self) -> dict[int, FrozenTrial]:
        return {trial.number: trial for trial in self.trials}

    def searched(self) -> list[FrozenTrial]:
        """Return the trials of the search itself, without those of earlier runs."""
        return exclude_warm_start(self.trials)

    def finished(self) -> list[FrozenTrial]:
        """Return the trials that the budget counts: of the search itself, and over for good."""
        return [t for t in self.searched() if t.state.is_finished() and not is_cut_short(t)]

    def running(self) -> list[FrozenTrial]:
        """Return the trials that are RUNNING."""
        return [trial for trial in self.trials if trial.state == TrialState.RUNNING]

    def has_queued(self) -> bool:
        """Return whether a trial is queued."""
        return any(trial.state == TrialState.WAITING for trial in self.trials)

    def superseded(self) -> set[int]:
        """Return the numbers of attempts that another trial continues."""
        return set(self._continued.values())

    def superseded_ancestors(self, by: Iterable[FrozenTrial]) -> set[int]:
        """Return the numbers of attempts that some trials continue, directly or indirectly.

        Args:
            by: Trials that may continue others.
        """
        ancestors: set[int] = set()
        for trial in by:
            number = trial.number
            while (number := self._continued.get(number, -1)) >= 0:
                ancestors.add(number)
        return ancestors

    def attempts(self, number: int) -> list[int]:
        """Return the attempts at a trial's configuration, from this trial to the first."""
        chain = [number]
        while (previous := self._continued.get(chain[-1])) is not None:
            chain.append(previous)
        return chain

    @cached_property
    def _continued(self) -> dict[int, int]:
        """Number of a trial -> number of the attempt that it continues."""
        links = {trial.number: attributes.continues(trial) for trial in self.trials}
        return {number: previous for number, previous in links.items() if previous is not None}

    @cached_property
    def origins(self) -> dict[int, int]:
        """Number of a trial -> number of the first attempt at its configuration."""
        origins: dict[int, int] = {}
        for trial in self.trials:  # an attempt comes after the one that it continues
            previous = self._continued.get(trial.number, -1)
            origins[trial.number] = origins.get(previous, trial.number)
        return origins

    def n_configurations(self, before: int | None = None) -> int:
        """Return the number of different configurations, each of one attempt or several.

        Args:
            before: Only trials before this one count; None for all.
        """
        firsts = [number for number, origin in self.origins.items() if number == origin]
        return len(firsts) if before is None else sum(number < before for number in firsts)

    def next_ordinal(self) -> int:
        """Return the number of the configuration that the study is asked for next.

        The next attempt at a trial that was killed before it was sampled has the number of that
        trial: with the number of a new one, both would be drawn alike.
        """
        queued = (trial.number for trial in self.trials if trial.state == TrialState.WAITING)
        number = min(queued, default=None)
        return self.n_configurations(before=None if number is None else self.origins[number])

    def ordinal(self, number: int) -> int:
        """Return the number of a trial's configuration, see `attributes.ordinal`."""
        return attributes.ordinal(self[number], self.origins[number])

    def metadata(self, number: int) -> TrialMetadata:
        """Return the metadata of a trial."""
        trial = self[number]
        return TrialMetadata(
            number=number,
            earlier=tuple(self.attempts(number)[1:]),
            is_protected=attributes.start_point(trial) is not None,
            donor=attributes.donor(trial),
            ordinal=self.ordinal(number),
        )

    def times_in_a_row(self, number: int, kind: FailureKind) -> int:
        """Return how many attempts in a row at a trial's configuration failed in a way.

        Args:
            number: Number of the latest attempt.
            kind: Kind of the failures.
        """
        failures = (attributes.failure(self[attempt]) for attempt in self.attempts(number))
        return sum(1 for _ in takewhile(lambda f: f is not None and f.kind == kind, failures))

    def rung_values(self) -> dict[int, dict[int, float]]:
        """Return configuration -> epoch -> value, as a scheduler compares them.

        Trials of earlier runs and attempts that were cut short are included: what was decided on
        them is not decided again when another attempt reports the same epochs.
        """
        rungs: dict[int, dict[int, float]] = {}
        for trial in self.trials:
            if trial.state.is_finished() and (values := scheduled_values(trial)):
                rungs.setdefault(self.origins[trial.number], {}).update(values)
        return rungs

    def ranked(self) -> list[FrozenTrial]:
        """Return the trials that have left weights, the one with the best epoch first.

        Where another trial continued one that was cut short, that one counts as soon as it has
        left weights itself.
        """
        with_weights = [trial for trial in self.trials if attributes.best_epoch(trial)]
        continued = self.superseded_ancestors(by=with_weights)
        latest = [trial for trial in with_weights if trial.number not in continued]
        return sorted(latest, key=ranking_key, reverse=True)

    def reached(self, epoch: int) -> dict[int, FrozenTrial]:
        """Return configuration -> an attempt with a value at an epoch, without failed ones."""
        attempts = {
            self.origins[t.number]: t for t in self.searched() if epoch in t.intermediate_values
        }
        failed = {self.origins[t.number] for t in self.finished() if t.state == TrialState.FAIL}
        return {origin: trial for origin, trial in attempts.items() if origin not in failed}

    def ranked_at(self, epoch: int) -> list[int]:
        """Return the configurations with a value at an epoch that did not fail, best first."""
        values = {n: trial.intermediate_values[epoch] for n, trial in self.reached(epoch).items()}
        return sorted(values, key=lambda number: (-values[number], number))

    def open_configurations(self) -> set[int]:
        """Return the configurations that are not over: running, queued, or cut short."""
        return {self.origins[t.number] for t in self.searched()} - {
            self.origins[t.number] for t in self.finished()
        }

    def without_successor(self) -> list[FrozenTrial]:
        """Return the trials that were stopped and whose place no clone has taken."""
        replaced = {attributes.replaces(trial) for trial in self.trials}
        pruned = [trial for trial in self.searched() if trial.state == TrialState.PRUNED]
        return [trial for trial in pruned if trial.number not in replaced]

    def descent(self, number: int) -> list[Donor]:
        """Return the trainings that a trial's weights come from, the earliest first.

        Each is a configuration with its last epoch; empty where a trial started from scratch.
        """
        latest = {origin: self[number] for number, origin in self.origins.items()}
        line: list[Donor] = []
        donor = attributes.donor(self[number])
        while donor is not None:
            line.insert(0, donor)
            donor = attributes.donor(latest[donor.configuration])
        return line

    def ancestors(self, space: Space, number: int) -> list[tuple[ExperimentConfig, int]]:
        """Return the configurations that have trained a trial's weights before it.

        Args:
            space: Space of the search.
            number: Number of the trial.

        Returns:
            Each configuration with its last epoch, the earliest first, as `make_descendant`
            trains them again.
        """
        return [
            (
                space.config_for(
                    parameters(self[donor.configuration]), self.ordinal(donor.configuration)
                ),
                donor.epoch,
            )
            for donor in self.descent(number)
        ]
