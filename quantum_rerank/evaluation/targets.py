"""Targets of a training: each is passed, failed, or not known.

Pure functions of measured numbers. A target whose measurement is missing (one seed, no unseen
domain) is not known, which is neither a pass nor a fail.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import fmean, stdev
from typing import Any, Literal

from quantum_rerank.evaluation.measurements import (
    ModelAndCosine,
    SeedGains,
    TrainingSummary,
)
from quantum_rerank.evaluation.roles import (
    TEST,
    TRAIN,
    UNSEEN_TEST,
    UNSEEN_VALIDATION,
    VALIDATION,
)

MAX_EPOCHS = 100
MAX_PLATEAU = 10  # epochs without a rise that are required at most, however long the patience
MAX_GAP = 0.05
MIN_GENERALISATION = 0.8
MIN_CROSS_DOMAIN = 0.7
MIN_UNSEEN_GAIN = 0.0
MIN_IMPROVEMENT = 0.15
MAX_MEMORY_GB = 8.0
MAX_HOURS = 24.0
MAX_SPREAD = 0.5

Rule = Literal["<=", "<", ">="]
_RULES = {"<=": operator.le, "<": operator.lt, ">=": operator.ge}
_NO_TRAINING = "no training and validation queries of a domain that was trained on"


@dataclass(frozen=True)
class TargetResult:
    """One target with the value of a training.

    Attributes:
        name: Name of the target.
        value: The measured value, or None if it is not known.
        rule: Comparison of the value with the target.
        target: The limit.
        passed: True if `value rule target` holds, or None if that is not known.
        formula: Definition of the value.
        note: Further information, such as the reason for a missing value.
    """

    name: str
    value: float | None
    rule: Rule
    target: float
    passed: bool | None
    formula: str
    note: str = ""

    @property
    def outcome(self) -> str:
        """The result in words.

        >>> generalisation(ModelAndCosine(0.5, 0.4), None).outcome
        'not known'
        """
        return {True: "pass", False: "fail", None: "not known"}[self.passed]


@dataclass(frozen=True)
class _Target:
    """A target before it is compared with a value."""

    name: str
    rule: Rule
    limit: float
    formula: str

    def check(self, value: float, note: str = "") -> TargetResult:
        return self.result(value, bool(_RULES[self.rule](value, self.limit)), note)

    def unknown(self, note: str, value: float | None = None) -> TargetResult:
        return self.result(value, None, note)

    def failed(self, note: str, value: float | None = None) -> TargetResult:
        return self.result(value, False, note)

    def result(self, value: float | None, passed: bool | None, note: str) -> TargetResult:
        return TargetResult(
            name=self.name,
            value=value,
            rule=self.rule,
            target=self.limit,
            passed=passed,
            formula=self.formula,
            note=note,
        )


def evaluate_targets(
    scores: Mapping[str, ModelAndCosine],
    summary: TrainingSummary,
    seeds: SeedGains | None = None,
) -> list[TargetResult]:
    """Evaluate every target of a training.

    Args:
        scores: Role -> scores, without the roles that have no queries.
        summary: Epochs, time and memory of the training.
        seeds: Validation objectives with other seeds, if they are known.

    Returns:
        A result for each target.
    """
    train, validation = scores.get(TRAIN), scores.get(VALIDATION)
    seen = scores.get(TEST) or validation
    unseen = scores.get(UNSEEN_TEST) or scores.get(UNSEEN_VALIDATION)
    return [
        convergence(summary),
        overfitting_gap(train, validation),
        generalisation(train, validation),
        cross_domain(seen, unseen),
        unseen_gain(unseen),
        improvement(scores.get(TEST)),
        peak_memory(summary.peak_memory_gb),
        training_time(summary.seconds),
        stability(seeds or SeedGains()),
    ]


def convergence(summary: TrainingSummary) -> TargetResult:
    """Check that the best epoch is within the limit and that a plateau follows it.

    A plateau: over the last epochs, as many as early stopping waits but at most `MAX_PLATEAU`,
    the best objective rose by less than early stopping counts. This always holds if early
    stopping ended the training. If the last epoch ended it, it distinguishes a plateau from a
    curve that was cut off while it rose (Prechelt, "Early Stopping - But When?", 1998).

    Args:
        summary: Epochs of the training.

    >>> convergence(TrainingSummary(2, (0.40, 0.5, 0.5, 0.5), patience=2)).passed
    True
    >>> rising = convergence(TrainingSummary(4, (0.40, 0.42, 0.44, 0.46), patience=2))
    >>> rising.value, rising.outcome, rising.note
    (4, 'fail', 'still rising when it ended: +0.0400 over its last 2 epochs')
    """
    curve, patience = summary.objectives, min(summary.patience, MAX_PLATEAU)
    target = _Target(
        name="convergence",
        rule="<=",
        limit=MAX_EPOCHS,
        formula=f"best epoch, with a rise of the best validation objective below "
        f"{summary.min_improvement:g} over the last {patience} epochs",
    )
    best = summary.best_epoch
    if summary.is_closed_form:
        return target.result(best, True, "the model is computed in closed form")
    if best is None or not curve:
        note = "the validation objectives by epoch are not on record"
        too_late = best is not None and best > MAX_EPOCHS
        return target.failed(note, best) if too_late else target.unknown(note, best)
    window = min(patience, len(curve) - 1)
    rise = curve[-1] - curve[-1 - window]
    if rise >= summary.min_improvement and rise > 0.0:
        note = f"still rising when it ended: {rise:+.4f} over its last {window} epochs"
        return target.failed(note, best)
    if len(curve) <= patience:
        note = f"{len(curve)} epochs are too few to show a plateau of {patience}"
        return target.unknown(note, best)
    return target.check(best)


def overfitting_gap(
    train: ModelAndCosine | None, validation: ModelAndCosine | None
) -> TargetResult:
    """Check training minus validation NDCG@10, on the domains trained on.

    Both are at the fusion weight that was fitted on validation, since that is the model in use.
    The two sets of queries are never equally hard, so the note has the gap of the cosine, which
    is not trained.

    Args:
        train: Scores on training queries.
        validation: Scores on validation queries of the same domains.

    >>> overfit = overfitting_gap(ModelAndCosine(0.70, 0.51), ModelAndCosine(0.60, 0.50))
    >>> round(overfit.value, 4), overfit.outcome, overfit.note
    (0.1, 'fail', 'the cosine has a gap of +0.0100 between the same queries')
    """
    target = _Target(
        name="overfitting gap",
        rule="<=",
        limit=MAX_GAP,
        formula="NDCG@10 of training queries - NDCG@10 of validation queries, same fusion weight",
    )
    if train is None or validation is None:
        return target.unknown(_NO_TRAINING)
    cosine = train.cosine - validation.cosine
    note = f"the cosine has a gap of {cosine:+.4f} between the same queries"
    return target.check(train.model - validation.model, note)


def generalisation(train: ModelAndCosine | None, validation: ModelAndCosine | None) -> TargetResult:
    """Check validation over training NDCG@10, on the domains trained on.

    Args:
        train: Scores on training queries.
        validation: Scores on validation queries of the same domains.

    >>> generalisation(ModelAndCosine(0.70, 0.51), ModelAndCosine(0.60, 0.50)).value
    0.8571428571428572
    """
    target = _Target(
        name="generalisation",
        rule=">=",
        limit=MIN_GENERALISATION,
        formula="NDCG@10 of validation queries / NDCG@10 of training queries, same fusion weight",
    )
    if train is None or validation is None:
        return target.unknown(_NO_TRAINING)
    if train.model <= 0.0:
        return target.unknown("the NDCG@10 of the training queries is 0")
    return target.check(validation.model / train.model)


def cross_domain(seen: ModelAndCosine | None, unseen: ModelAndCosine | None) -> TargetResult:
    """Check the share of its ratio to the cosine that a model keeps on unseen domains.

    Plain scores would compare the difficulty of two domains, and a ratio of gains has no meaning
    if they are small or 0. Each score is therefore divided by the cosine's: the value is 1 if a
    model does as well on unseen domains as on seen ones, relative to the cosine.

    Args:
        seen: Scores on held-out queries of domains that were trained on.
        unseen: Scores on queries of other domains.

    >>> round(cross_domain(ModelAndCosine(0.60, 0.50), ModelAndCosine(0.406, 0.40)).value, 4)
    0.8458
    >>> cross_domain(ModelAndCosine(0.80, 0.50), ModelAndCosine(0.40, 0.40)).outcome
    'fail'
    """
    target = _Target(
        name="cross-domain",
        rule=">=",
        limit=MIN_CROSS_DOMAIN,
        formula="(model / cosine on unseen domains) / (model / cosine on seen domains), NDCG@10",
    )
    if seen is None or unseen is None:
        return target.unknown(f"no queries of {'a seen' if seen is None else 'an unseen'} domain")
    above, below = unseen.ratio, seen.ratio
    if above is None or not below:
        return target.unknown("a score of 0")
    note = f"seen {below - 1.0:+.1%}, unseen {above - 1.0:+.1%} over the cosine"
    return target.check(above / below, note)


def unseen_gain(unseen: ModelAndCosine | None) -> TargetResult:
    """Check that there is no loss on unseen domains, which `cross_domain` alone would accept.

    Args:
        unseen: Scores on queries of domains that were not trained on.

    >>> loss = unseen_gain(ModelAndCosine(0.336, 0.40))
    >>> round(loss.value, 4), loss.outcome
    (-0.16, 'fail')
    """
    target = _Target(
        name="no loss on unseen domains",
        rule=">=",
        limit=MIN_UNSEEN_GAIN,
        formula="NDCG@10 / cosine's NDCG@10 - 1, on unseen domains",
    )
    return _gain(target, unseen, "no queries of an unseen domain")


def improvement(test: ModelAndCosine | None) -> TargetResult:
    """Check the relative gain in NDCG@10 over the cosine on held-out test queries.

    Args:
        test: Scores on test queries of the domains that were trained on.

    >>> gain = improvement(ModelAndCosine(0.58, 0.50))
    >>> round(gain.value, 4), gain.outcome
    (0.16, 'pass')
    """
    target = _Target(
        name="ranking improvement",
        rule=">=",
        limit=MIN_IMPROVEMENT,
        formula="NDCG@10 / cosine's NDCG@10 - 1, on held-out queries of seen domains",
    )
    return _gain(target, test, "no held-out queries of a seen domain")


def peak_memory(gigabytes: float | None) -> TargetResult:
    """Check the largest resident memory of a training.

    Args:
        gigabytes: Memory in GB (10**9 bytes).

    >>> peak_memory(0.9).outcome, peak_memory(8.0).outcome
    ('pass', 'fail')
    """
    target = _Target(
        name="peak memory", rule="<", limit=MAX_MEMORY_GB, formula="largest resident memory, GB"
    )
    return target.unknown("it is not on record") if gigabytes is None else target.check(gigabytes)


def training_time(seconds: float | None) -> TargetResult:
    """Check the hours from the first step to the last.

    Args:
        seconds: Duration of the training.

    >>> training_time(3600.0).value
    1.0
    """
    target = _Target(name="time", rule="<", limit=MAX_HOURS, formula="time taken, hours")
    return (
        target.unknown("it is not on record") if seconds is None else target.check(seconds / 3600)
    )


def stability(seeds: SeedGains) -> TargetResult:
    """Check the spread over seeds relative to the gain over the cosine.

    At a spread of half the gain, the gain is two standard deviations above 0: if seeds were
    normally distributed, 1 in 44 would be at the cosine or below it. A spread has no meaning
    without the gain: 0.01 is little beside a gain of 0.1 and all of a gain of 0.01.

    Args:
        seeds: Gains of one configuration with several seeds.

    >>> stable = stability(SeedGains((0.08, 0.10, 0.12)))
    >>> round(stable.value, 4), stable.outcome
    (0.2, 'pass')
    >>> stability(SeedGains((0.08,))).outcome
    'not known'
    """
    target = _Target(
        name="stability",
        rule="<=",
        limit=MAX_SPREAD,
        formula="standard deviation / mean over seeds of (validation objective - cosine's)",
    )
    values = seeds.gains
    if len(values) < 2:
        return target.unknown("one seed, but at least 2 are needed")
    gain, spread = fmean(values), stdev(values)
    note = f"{len(values)} seeds: mean gain {gain:+.4f}, standard deviation {spread:.4f}"
    return target.check(spread / gain, note) if gain > 0.0 else target.failed(note)


def target_records(results: Sequence[TargetResult]) -> list[dict[str, Any]]:
    """Return target results as JSON values, each with its outcome in words.

    Args:
        results: Results of `evaluate_targets`.

    >>> target_records([training_time(3600.0)])[0]["outcome"]
    'pass'
    """
    return [{**asdict(result), "outcome": result.outcome} for result in results]


def read_target_records(records: Sequence[Mapping[str, Any]]) -> list[TargetResult]:
    """Return the target results that `target_records` wrote.

    Args:
        records: Results as JSON values.

    >>> read_target_records(target_records([training_time(3600.0)])) == [training_time(3600.0)]
    True
    """
    names = [field.name for field in fields(TargetResult)]
    return [TargetResult(**{name: record[name] for name in names}) for record in records]


def _gain(target: _Target, scores: ModelAndCosine | None, missing: str) -> TargetResult:
    if scores is None:
        return target.unknown(missing)
    if scores.ratio is None:
        return target.unknown("the cosine's NDCG@10 is 0")
    return target.check(scores.ratio - 1.0)
