"""Whose weights stay on disk: the best trials', the Pareto front's, and the start points'."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from quantum_rerank.config import ExperimentConfig
from tuning.records import CHECKPOINT, TrialEnd
from tuning.space import Space, donors_kept
from tuning.study.attributes import START_POINT
from tuning.study.history import attempts, origins
from tuning.study.lineage import donor_of, open_configurations, ordered_at
from tuning.study.ranking import front, ranked_trials
from tuning.study.trial_files import BEST_EPOCH, PROGRESS, TrialFiles, donated

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class CheckpointPruner:
    """A listener that removes the files of trials which cannot be among the best any more.

    trials: the study's, by number, asked at each trial's end.  keep: how many trials'
    weights stay; those of the Pareto front, where there is one, and of the space's start
    points stay as well. A trial that was cut short keeps its progress, since another may
    continue it, and its weights until another attempt at its configuration has left some.
    A trial whose weights are gone, such as after its folder was deleted, takes nobody's place.
    """

    def __init__(
        self, trials: Callable[[], Sequence[FrozenTrial]], keep: int, files: TrialFiles
    ) -> None:
        self._trials, self._keep, self._files = trials, keep, files
        found = trials()
        first, still_open = origins(found), open_configurations(found)
        over = [t for t in found if first[t.number] not in still_open]
        ranked = ranked_trials([t for t in over if START_POINT not in t.user_attrs])
        self._kept, _ = self._parted(self._first_with_weights(ranked))

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Nothing: only how a trial ends counts."""

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Nothing: only how a trial ends counts."""

    def trial_ended(self, end: TrialEnd) -> None:
        if end.is_cut_short:
            return
        trials = self._trials()
        chain = [trials[number] for number in attempts(trials, end.number)]
        # Where the last attempt ended before it left weights, an earlier one's still count.
        latest = next((attempt for attempt in chain if self._has_weights(attempt)), chain[0])
        self._files.remove_file(latest.number, PROGRESS)
        for other in chain:
            if other is not latest:
                self._files.remove(other.number)
        if START_POINT in latest.user_attrs:
            return
        candidates = [trial for trial in (*self._kept, latest) if self._has_weights(trial)]
        self._kept, losers = self._parted(candidates)
        for loser in losers:
            self._files.remove(loser.number)

    def _has_weights(self, trial: FrozenTrial) -> bool:
        has_left_some = bool(trial.user_attrs.get(CHECKPOINT))
        return has_left_some and self._files.holds(trial.number, BEST_EPOCH)

    def _first_with_weights(self, ranked: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The best trials whose weights are there, and those of the front: no other is looked at.

        Of the others the weights were removed, so that to look for them would only take time.
        """
        wanted = {trial.number for trial in front(ranked)}
        found: list[FrozenTrial] = []
        for trial in ranked:
            is_wanted = len(found) < self._keep or trial.number in wanted
            if is_wanted and self._has_weights(trial):
                found.append(trial)
        return found

    def _parted(self, trials: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """The best trials with those of the Pareto front, and the others.

        Whom a trial that was kept before outdoes, a trial that is kept now outdoes as well.
        """
        ranked = ranked_trials(trials)
        kept = {trial.number for trial in (*ranked[: self._keep], *front(ranked))}
        losers = [trial for trial in ranked if trial.number not in kept]
        return [trial for trial in ranked if trial.number in kept], losers


class DonorPruner:
    """A listener that removes what members of a population left for clones that will never be.

    At each epoch of comparison the highest stay, and those from which a clone that is not
    over has started, or is to start.
    trials: the study's, by number.  files: of the donors, by configuration.
    """

    def __init__(
        self, space: Space, trials: Callable[[], Sequence[FrozenTrial]], files: TrialFiles
    ) -> None:
        self._space, self._trials, self._files = space, trials, files
        self._removed: set[tuple[int, int]] = set()

    def trial_started(self, number: int, config: ExperimentConfig) -> None:
        """Nothing: only values count."""

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        if epoch in self._space.perturbation_epochs():
            self._remove_at(epoch)

    def trial_ended(self, end: TrialEnd) -> None:
        for epoch in self._space.perturbation_epochs():
            self._remove_at(epoch)

    def _remove_at(self, epoch: int) -> None:
        trials = self._trials()
        first, still_open = origins(trials), open_configurations(trials)
        came = {first[t.number] for t in trials if epoch in t.intermediate_values}
        wanted = {donor_of(t.user_attrs) for t in trials if first[t.number] in still_open}
        kept = self._highest_there(trials, epoch)
        for configuration in came - kept:
            donor = (configuration, epoch)
            if donor not in wanted and donor not in self._removed:
                self._files.remove_file(configuration, donated(epoch))
                self._removed.add(donor)

    def _highest_there(self, trials: Sequence[FrozenTrial], epoch: int) -> set[int]:
        """The highest configurations at an epoch that left something, and it is still there."""
        scheduler = self._space.header.scheduler
        n_kept = donors_kept(scheduler.population, scheduler.quantile)
        there = (
            configuration
            for configuration in ordered_at(trials, epoch)
            if self._files.holds(configuration, donated(epoch))
        )
        return set(islice(there, n_kept))
