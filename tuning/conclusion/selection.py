"""Choice of the winner: a trial replaces the reference only if it is distinguishable from it.

The reference is the first start point of a space, which was known before the search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from quantum_rerank.evaluation.comparison import paired_standard_error
from quantum_rerank.evaluation.ranking import score_on
from quantum_rerank.training.trial_data import TrialData
from tuning.conclusion.race import Confirmed, error_of_mean, paired, validation_ratio
from tuning.conclusion.trained_trial import TrainedTrial


@dataclass(frozen=True)
class Selection:
    """Comparison of the trial with the best validation objective and the reference.

    Attributes:
        leader: Number of the trial with the best objective.
        reference: Number of the reference.
        lead: Objective of the leader minus that of the reference, the mean over divisions.
        standard_error: Standard error of the difference, see `standard_error`.
    """

    leader: int
    reference: int
    lead: float
    standard_error: float

    @property
    def is_distinguishable(self) -> bool:
        """Return whether the leader is ahead by more than one standard error."""
        return self.lead > self.standard_error

    def __str__(self) -> str:
        comparison = (
            f"Trial {self.leader} leads the reference, trial {self.reference}, by {self.lead:+.4f} "
            f"on validation (paired standard error {self.standard_error:.4f})"
        )
        if self.is_distinguishable:
            return f"{comparison}."
        return f"{comparison}: not distinguishable, so the reference is the winner."

    def as_record(self) -> dict[str, Any]:
        """Return the selection as JSON holds it."""
        return {**asdict(self), "is_distinguishable": self.is_distinguishable}


def select(
    confirmed: Sequence[Confirmed], reference: int | None, data: TrialData, metric: str
) -> tuple[list[Confirmed], Selection | None]:
    """Put the reference first unless a trial is distinguishable from it.

    The maximum over many trials is partly luck on the validation queries. The reference was
    known before and needs no luck.

    Args:
        confirmed: Best trials, the best first.
        reference: Number of the reference; None for none.
        data: Data with the validation queries.
        metric: Metric of the objective.

    Returns:
        The trials in the new order, and the comparison; None where the reference leads, or is
        not among the best.
    """
    defenders = [trial for trial in confirmed if trial.trial.number == reference]
    others = [trial for trial in confirmed if trial.trial.number != reference]
    if not defenders or not others:
        return list(confirmed), None
    leader, defender = others[0], defenders[0]
    if lead(leader, defender) < 0.0:
        return [defender, *others], None
    selection = Selection(
        leader=leader.trial.number,
        reference=defender.trial.number,
        lead=lead(leader, defender),
        standard_error=standard_error(leader, defender, data, metric),
    )
    if selection.is_distinguishable:
        return list(confirmed), selection
    return [defender, *others], selection


def lead(left: Confirmed, right: Confirmed) -> float:
    """Return the mean difference of two trials on the divisions that both were trained on."""
    differences = paired(left, right)
    return fmean(differences) if differences else left.mean - right.mean


def standard_error(left: Confirmed, right: Confirmed, data: TrialData, metric: str) -> float:
    """Return the standard error of the difference of two trials.

    On one division into train and validation it is that over the validation queries, paired. The
    mean over further divisions has a smaller one, see `error_of_mean`; the standard deviation
    over divisions is at least that error, since few divisions may agree by chance.

    Args:
        left: Trial.
        right: Another one.
        data: Data with the validation queries of the search.
        metric: Metric that is compared.
    """
    over_queries = query_error(left.trial, right.trial, data, metric)
    differences = paired(left, right)
    if len(differences) < 2:
        return over_queries
    return error_of_mean(differences, validation_ratio(data), over_queries)


def query_error(left: TrainedTrial, right: TrainedTrial, data: TrialData, metric: str) -> float:
    """Return the standard error of the difference of two trials over the validation queries.

    Args:
        left: Trained trial.
        right: Another one.
        data: Data with the validation queries.
        metric: Metric that is compared.
    """
    ours, theirs = (
        score_on(trial.head, trial.validation.fusion_weight, data.validation)
        for trial in (left, right)
    )
    return paired_standard_error(ours.per_query[metric], theirs.per_query[metric], ours.domains)
