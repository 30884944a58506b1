"""What the task asks of a training, each target as a verdict: passed, failed, or not known.

Pure functions of measured numbers. What was not measured (one seed, no unseen domain) is
not known, which is neither a pass nor a fail.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import fmean, stdev
from typing import Any, Literal

MAX_EPOCHS = 100
MOST_REST = 10  # epochs: a patience that is to stop nothing asks for no longer rest
MAX_GAP = 0.05
MIN_GENERALISATION = 0.8
MIN_CROSS_DOMAIN = 0.7
MIN_UNSEEN_GAIN = 0.0
MIN_IMPROVEMENT = 0.15
MAX_MEMORY_GB = 8.0
MAX_HOURS = 24.0
MAX_SPREAD = 0.5

# Roles of queries: what a model learned from, what it was chosen on, what nothing was chosen on.
TRAIN, VALIDATION, UNSEEN_VALIDATION = "train", "validation", "unseen_validation"
TEST, UNSEEN_TEST = "test", "unseen_test"

Rule = Literal["<=", "<", ">="]
_RULES = {"<=": operator.le, "<": operator.lt, ">=": operator.ge}


@dataclass(frozen=True)
class TargetResult:
    """One target, and how a training stands to it.

    value: None where it is not known.
    passed: whether `value rule target` holds; None where that is not known.
    formula: what `value` is.
    note: what else decides or must be known, such as why a value is missing.
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
        """The verdict in words.

        >>> generalisation(Standing(0.5, 0.4), None).outcome
        'not known'
        """
        return {True: "pass", False: "fail", None: "not known"}[self.passed]


@dataclass(frozen=True)
class Standing:
    """NDCG@10 of a model at its fusion weight, and of the cosine, on the same queries."""

    model: float
    cosine: float

    @property
    def ratio(self) -> float | None:
        """The model's score over the cosine's; None where the cosine has found nothing."""
        return self.model / self.cosine if self.cosine > 0.0 else None


@dataclass(frozen=True)
class Course:
    """How a training went.

    best_epoch: whose weights were kept.  objectives: by epoch, the best validation objective so
        far.  seconds, peak_memory_gb: of the process that trained.  None, or empty: not known.
    patience, min_improvement: of its early stopping.
    """

    best_epoch: int | None = None
    objectives: tuple[float, ...] = ()
    seconds: float | None = None
    peak_memory_gb: float | None = None
    patience: int = 10
    min_improvement: float = 0.001


@dataclass(frozen=True)
class Seeds:
    """Validation objectives of one configuration on several seeds, and the cosine's."""

    objectives: tuple[float, ...] = ()
    cosine: float = 0.0


def verdicts(
    standings: Mapping[str, Standing], course: Course, seeds: Seeds | None = None
) -> list[TargetResult]:
    """Every target of the task. standings: by role; a role without queries is left out."""
    train, validation = standings.get(TRAIN), standings.get(VALIDATION)
    seen = standings.get(TEST) or validation
    unseen = standings.get(UNSEEN_TEST) or standings.get(UNSEEN_VALIDATION)
    return [
        convergence(course),
        overfitting_gap(train, validation),
        generalisation(train, validation),
        cross_domain(seen, unseen),
        unseen_gain(unseen),
        improvement(standings.get(TEST)),
        peak_memory(course.peak_memory_gb),
        training_time(course.seconds),
        stability(seeds or Seeds()),
    ]


def convergence(course: Course) -> TargetResult:
    """The best epoch is within 100, and the training had come to rest after it.

    At rest: over its last epochs, as many as early stopping waits but at most 10, the best
    objective rose by less than early stopping counts. That holds wherever early stopping ended
    the training; where the last epoch did, it tells a plateau from a curve that was cut off
    while it rose (Prechelt, "Early Stopping - But When?", 1998).

    >>> convergence(Course(2, (0.40, 0.5, 0.5, 0.5), patience=2)).passed
    True
    >>> rising = convergence(Course(4, (0.40, 0.42, 0.44, 0.46), patience=2))
    >>> rising.value, rising.outcome, rising.note
    (4, 'fail', 'still rising when it ended: +0.0400 over its last 2 epochs')
    """
    curve, patience = course.objectives, min(course.patience, MOST_REST)
    formula = (
        f"best epoch, with a rise of the best validation objective below "
        f"{course.min_improvement:g} over the last {patience} epochs"
    )
    best = course.best_epoch
    if best is None or not curve:
        note = "the validation objectives by epoch are not on record"
        if best is not None and best > MAX_EPOCHS:
            return TargetResult("convergence", best, "<=", MAX_EPOCHS, False, formula, note)
        return TargetResult("convergence", best, "<=", MAX_EPOCHS, None, formula, note)
    window = min(patience, len(curve) - 1)
    rise = curve[-1] - curve[-1 - window]
    if rise >= course.min_improvement and rise > 0.0:
        note = f"still rising when it ended: {rise:+.4f} over its last {window} epochs"
        return TargetResult("convergence", best, "<=", MAX_EPOCHS, False, formula, note)
    if len(curve) <= patience:
        note = f"{len(curve)} epochs are too few to show a plateau of {patience}"
        return TargetResult("convergence", best, "<=", MAX_EPOCHS, None, formula, note)
    return _judged("convergence", best, "<=", MAX_EPOCHS, formula)


def overfitting_gap(train: Standing | None, validation: Standing | None) -> TargetResult:
    """Training minus validation NDCG@10, on the domains trained on and at one fusion weight.

    The weight is the one fitted on validation, since that is the model which is used. The
    two sets of queries are never equally hard: the gap of the cosine, which has learned from
    neither, is told beside it.

    >>> overfit = overfitting_gap(Standing(0.70, 0.51), Standing(0.60, 0.50))
    >>> round(overfit.value, 4), overfit.outcome, overfit.note
    (0.1, 'fail', 'the cosine has a gap of +0.0100 between the same queries')
    """
    formula = "NDCG@10 of training queries - NDCG@10 of validation queries, same fusion weight"
    if train is None or validation is None:
        return _unknown("overfitting gap", "<=", MAX_GAP, formula, _NO_TRAINING)
    cosine = train.cosine - validation.cosine
    note = f"the cosine has a gap of {cosine:+.4f} between the same queries"
    gap = train.model - validation.model
    return _judged("overfitting gap", gap, "<=", MAX_GAP, formula, note)


def generalisation(train: Standing | None, validation: Standing | None) -> TargetResult:
    """Validation over training NDCG@10, on the domains trained on and at one fusion weight.

    >>> generalisation(Standing(0.70, 0.51), Standing(0.60, 0.50)).value
    0.8571428571428572
    """
    formula = "NDCG@10 of validation queries / NDCG@10 of training queries, same fusion weight"
    if train is None or validation is None:
        return _unknown("generalisation", ">=", MIN_GENERALISATION, formula, _NO_TRAINING)
    if train.model <= 0.0:
        note = "the NDCG@10 of the training queries is 0"
        return _unknown("generalisation", ">=", MIN_GENERALISATION, formula, note)
    value = validation.model / train.model
    return _judged("generalisation", value, ">=", MIN_GENERALISATION, formula)


def cross_domain(seen: Standing | None, unseen: Standing | None) -> TargetResult:
    """How much of its standing to the cosine a model keeps on domains never trained on.

    Plain scores compare how hard two domains are; a ratio of gains has no meaning where they
    are small, and none at all at 0. Each score over the cosine's own is free of both: 1 where a
    model does as well on unseen domains as on seen ones, compared with the cosine.

    >>> round(cross_domain(Standing(0.60, 0.50), Standing(0.406, 0.40)).value, 4)
    0.8458
    >>> cross_domain(Standing(0.80, 0.50), Standing(0.40, 0.40)).outcome  # +60 %, and +0 %
    'fail'
    """
    formula = "(model / cosine on unseen domains) / (model / cosine on seen domains), NDCG@10"
    if seen is None or unseen is None:
        note = f"no queries of {'a seen' if seen is None else 'an unseen'} domain"
        return _unknown("cross-domain", ">=", MIN_CROSS_DOMAIN, formula, note)
    above, below = unseen.ratio, seen.ratio
    if above is None or not below:
        return _unknown("cross-domain", ">=", MIN_CROSS_DOMAIN, formula, "a score of 0")
    note = f"seen {below - 1.0:+.1%}, unseen {above - 1.0:+.1%} over the cosine"
    return _judged("cross-domain", above / below, ">=", MIN_CROSS_DOMAIN, formula, note)


def unseen_gain(unseen: Standing | None) -> TargetResult:
    """No loss on domains never trained on, which a ratio of 0.7 alone would let pass.

    >>> loss = unseen_gain(Standing(0.336, 0.40))
    >>> round(loss.value, 4), loss.outcome
    (-0.16, 'fail')
    """
    formula = "NDCG@10 / cosine's NDCG@10 - 1, on unseen domains"
    if unseen is None:
        note = "no queries of an unseen domain"
        return _unknown("no loss on unseen domains", ">=", MIN_UNSEEN_GAIN, formula, note)
    return _gain("no loss on unseen domains", unseen, MIN_UNSEEN_GAIN, formula)


def improvement(test: Standing | None) -> TargetResult:
    """Relative gain in NDCG@10 over the cosine, on queries that nothing was chosen on.

    >>> gain = improvement(Standing(0.58, 0.50))
    >>> round(gain.value, 4), gain.outcome
    (0.16, 'pass')
    """
    formula = "NDCG@10 / cosine's NDCG@10 - 1, on held-out queries of seen domains"
    if test is None:
        note = "no held-out queries of a seen domain"
        return _unknown("ranking improvement", ">=", MIN_IMPROVEMENT, formula, note)
    return _gain("ranking improvement", test, MIN_IMPROVEMENT, formula)


def peak_memory(gigabytes: float | None) -> TargetResult:
    """The most memory that a training held, in units of 10**9 bytes.

    >>> peak_memory(0.9).outcome, peak_memory(8.0).outcome
    ('pass', 'fail')
    """
    formula = "largest resident memory, GB"
    if gigabytes is None:
        return _unknown("peak memory", "<", MAX_MEMORY_GB, formula, "it is not on record")
    return _judged("peak memory", gigabytes, "<", MAX_MEMORY_GB, formula)


def training_time(seconds: float | None) -> TargetResult:
    """Hours from the first step to the last.

    >>> training_time(3600.0).value
    1.0
    """
    formula = "time taken, hours"
    if seconds is None:
        return _unknown("time", "<", MAX_HOURS, formula, "it is not on record")
    return _judged("time", seconds / 3600.0, "<", MAX_HOURS, formula)


def stability(seeds: Seeds) -> TargetResult:
    """Spread over seeds against the gain that is claimed.

    At half the gain, a gain is two standard deviations away from none: were seeds normally
    distributed, 1 in 44 would be at the cosine or below it. A spread by itself
    says nothing, as 0.01 is little beside a gain of 0.1 and all of a gain of 0.01.

    >>> stable = stability(Seeds((0.58, 0.60, 0.62), cosine=0.50))
    >>> round(stable.value, 4), stable.outcome
    (0.2, 'pass')
    >>> stability(Seeds((0.58,), cosine=0.50)).outcome
    'not known'
    """
    formula = "standard deviation / mean over seeds of (validation objective - cosine's)"
    values = seeds.objectives
    if len(values) < 2:
        note = "one seed, but at least 2 are needed"
        return _unknown("stability", "<=", MAX_SPREAD, formula, note)
    gain, spread = fmean(values) - seeds.cosine, stdev(values)
    note = f"{len(values)} seeds: mean gain {gain:+.4f}, standard deviation {spread:.4f}"
    if gain <= 0.0:
        return TargetResult("stability", None, "<=", MAX_SPREAD, False, formula, note)
    return _judged("stability", spread / gain, "<=", MAX_SPREAD, formula, note)


def as_record(found: Sequence[TargetResult]) -> list[dict[str, Any]]:
    """Verdicts as JSON knows them, the outcome in words.

    >>> as_record([training_time(3600.0)])[0]["outcome"]
    'pass'
    """
    return [{**asdict(verdict), "outcome": verdict.outcome} for verdict in found]


def from_record(record: Sequence[Mapping[str, Any]]) -> list[TargetResult]:
    """The verdicts of an `as_record`.

    >>> from_record(as_record([training_time(3600.0)])) == [training_time(3600.0)]
    True
    """
    names = [field.name for field in fields(TargetResult)]
    return [TargetResult(**{name: one[name] for name in names}) for one in record]


_NO_TRAINING = "no training and validation queries of a domain that was trained on"


def _gain(name: str, standing: Standing, target: float, formula: str) -> TargetResult:
    if standing.ratio is None:
        return _unknown(name, ">=", target, formula, "the cosine's NDCG@10 is 0")
    return _judged(name, standing.ratio - 1.0, ">=", target, formula)


def _judged(
    name: str, value: float, rule: Rule, target: float, formula: str, note: str = ""
) -> TargetResult:
    passed = bool(_RULES[rule](value, target))
    return TargetResult(name, value, rule, target, passed, formula, note)


def _unknown(name: str, rule: Rule, target: float, formula: str, note: str) -> TargetResult:
    return TargetResult(name, None, rule, target, None, formula, note)
