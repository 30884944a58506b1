"""Retention of trials' files: the best trials, the Pareto front, the start points, the donors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from tuning.records import Donor, Listener, TrialEnd
from tuning.space import Space
from tuning.study import attributes
from tuning.study.ranking import front
from tuning.study.trial_files import BEST_EPOCH, PROGRESS, TrialFiles, donated
from tuning.study.view import StudyView

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class CheckpointPruner(Listener):
    """Listener that removes the files of trials that cannot be among the best any more.

    The weights of the best trials, of the Pareto front and of the space's start points stay. A
    trial that was cut short keeps its checkpoint, since another trial may continue it, and its
    weights until another attempt at its configuration has left some. A trial whose weights are
    gone, such as after its folder was deleted, takes no other trial's place.

    Args:
        view: Returns the study as it is now.
        n_best: Number of trials whose weights stay.
        files: Files of the trials.
    """

    def __init__(self, view: Callable[[], StudyView], n_best: int, files: TrialFiles) -> None:
        self._view, self._n_best, self._files = view, n_best, files
        study = view()
        still_open = study.open_configurations()
        over = [t for t in study if study.origins[t.number] not in still_open]
        ranked = StudyView([t for t in over if attributes.start_point(t) is None]).ranked()
        self._best, _ = self._split(self._first_with_weights(ranked))

    def trial_ended(self, end: TrialEnd) -> None:
        """Remove the files that nothing needs after a trial has ended for good."""
        if end.is_cut_short:
            return
        study = self._view()
        chain = [study[number] for number in study.attempts(end.number)]
        # Where the last attempt ended before it left weights, an earlier one's still count.
        latest = next((attempt for attempt in chain if self._has_weights(attempt)), chain[0])
        self._files.remove_file(latest.number, PROGRESS)
        for attempt in chain:
            if attempt is not latest:
                self._files.remove(attempt.number)
        if attributes.start_point(latest) is not None:
            return
        candidates = [trial for trial in (*self._best, latest) if self._has_weights(trial)]
        self._best, losers = self._split(candidates)
        for loser in losers:
            self._files.remove(loser.number)

    def _has_weights(self, trial: FrozenTrial) -> bool:
        has_left_some = attributes.best_epoch(trial) > 0
        return has_left_some and self._files.holds(trial.number, BEST_EPOCH)

    def _first_with_weights(self, ranked: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the best trials whose weights are there, and those of the front.

        The weights of the others were removed, so that looking for them would only take time.
        """
        on_front = {trial.number for trial in front(ranked)}
        best: list[FrozenTrial] = []
        for trial in ranked:
            may_stay = len(best) < self._n_best or trial.number in on_front
            if may_stay and self._has_weights(trial):
                best.append(trial)
        return best

    def _split(self, trials: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """Return the best trials with those of the Pareto front, and the others.

        A trial that loses against a trial which stayed before loses against those of now too.
        """
        ranked = StudyView(trials).ranked()
        staying = {trial.number for trial in (*ranked[: self._n_best], *front(ranked))}
        losers = [trial for trial in ranked if trial.number not in staying]
        return [trial for trial in ranked if trial.number in staying], losers


class DonorPruner(Listener):
    """Listener that removes the weights of population members that no clone will start from.

    At each epoch of comparison the highest stay, and those from which a clone that is not over
    has started, or is to start.

    Args:
        space: Space of the search.
        view: Returns the study as it is now.
        files: Files of the donors, by configuration.
    """

    def __init__(self, space: Space, view: Callable[[], StudyView], files: TrialFiles) -> None:
        self._space, self._view, self._files = space, view, files
        self._removed: set[Donor] = set()

    def trial_reported(self, number: int, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Remove what a new value at an epoch of comparison makes useless."""
        if epoch in self._space.perturbation_epochs():
            self._remove_at(epoch)

    def trial_ended(self, end: TrialEnd) -> None:
        """Remove what the end of a clone makes useless."""
        for epoch in self._space.perturbation_epochs():
            self._remove_at(epoch)

    def _remove_at(self, epoch: int) -> None:
        study = self._view()
        still_open = study.open_configurations()
        with_value = {study.origins[t.number] for t in study if epoch in t.intermediate_values}
        needed = {attributes.donor(t) for t in study if study.origins[t.number] in still_open}
        highest = self._highest_with_weights(study, epoch)
        for configuration in with_value - highest:
            donor = Donor(configuration, epoch)
            if donor not in needed and donor not in self._removed:
                self._files.remove_file(configuration, donated(epoch))
                self._removed.add(donor)

    def _highest_with_weights(self, study: StudyView, epoch: int) -> set[int]:
        """Return the highest configurations at an epoch whose weights are still there."""
        with_weights = (
            configuration
            for configuration in study.ranked_at(epoch)
            if self._files.holds(configuration, donated(epoch))
        )
        return set(islice(with_weights, self._space.header.scheduler.n_donors))
