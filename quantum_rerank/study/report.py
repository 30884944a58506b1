"""The study as a document: every table, and a sentence for each question that was asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from quantum_rerank.cli.result_tables import Tabular, ends, outcomes
from quantum_rerank.evaluation import COSINE, Scores
from quantum_rerank.machine import machine
from quantum_rerank.similarity import ARMS
from quantum_rerank.study.analysis import (
    BASELINES,
    CLASSICAL,
    SEEN,
    UNSEEN,
    Measured,
    Paired,
    averaged,
    gains,
    means,
    spread,
    targets,
)
from quantum_rerank.study.plan import DEFAULT, FIXED, TUNED, TWIN, Dataset, Setup
from quantum_rerank.study.results import Result, by_name
from quantum_rerank.training.validators import Verdict
from quantum_rerank.training.verdict_table import number

Pairs = Mapping[tuple[str, str], Sequence[Paired]]


@dataclass(frozen=True)
class Told:
    """What a report is made of.

    command: what prints it.  pictures: title -> its file, as the document names it.
    """

    command: str
    seeds: Sequence[int]
    rows: Mapping[str, Setup]
    datasets: Sequence[Dataset]
    left_out: Mapping[str, str]
    results: Sequence[Result]
    found: Measured
    pairs: Pairs
    pictures: Mapping[str, str]


def document(told: Told) -> str:
    """The whole of it, as Markdown."""
    return "\n\n".join(_parts(told)) + "\n"


def _parts(told: Told) -> Iterator[str]:
    yield "# The study"
    yield from _head(told)
    yield "## What was found"
    yield "\n".join(f"- {sentence}" for sentence in sentences(told.found, told.pairs))
    yield from (f"![{title}]({file})" for title, file in told.pictures.items())
    yield "## NDCG@10"
    yield _SPREAD
    yield markdown(scores_table(told.found, (*BASELINES, TWIN, DEFAULT, TUNED)))
    if few := [name for name, rows in told.found.items() if _n_queries(rows) < _FEW]:
        yield f"With fewer than {_FEW} test queries, {_and(few)} can tell little alone."
    yield markdown(arms_table(told.found))
    if SEEN in told.found:
        yield "## ICD-10: chapters trained on, and chapters never seen"
        yield markdown(gains_table(told.found))
    yield "## Differences"
    yield _DIFFERENCES
    yield from (markdown(pair_table(*pair, found)) for pair, found in told.pairs.items())
    yield "## Targets"
    yield _TARGETS
    for name in (TUNED, DEFAULT, TWIN):
        if of_datasets := targets(told.results, name):
            yield markdown(verdicts_table(name, of_datasets))
    yield "## Trainings"
    yield from _trainings(told)


_FEW = 50
_SPREAD = (
    "Means over seeds, with the standard deviation over seeds behind ±, that of the split included "
    "where every seed has its own. Domains of one collection count the same."
)
_DIFFERENCES = (
    "Over queries, each with its mean over the seeds that tested on it: mean difference, 95 % "
    "bootstrap interval, p of the two-sided paired randomisation test, and that p after Holm's "
    "correction over the collections, by which a difference counts as significant (below 0.05). "
    "Interval and test are over queries and say nothing of further seeds."
)
_TARGETS = (
    "Of every seed's training; the range of its values, and how many passed. Stability is over all "
    "seeds. Peak memory is of the process, whose earlier trainings count. What was not measured is "
    "not known."
)


def _head(told: Told) -> Iterator[str]:
    seeds = ", ".join(map(str, told.seeds))
    yield f"Printed by `{told.command}`, seeds {seeds}, on:"
    yield f"> {machine()}"
    yield (
        "Every model is trained on the training queries of its data set, its epoch and its fusion "
        "weight are chosen on validation queries, and its test queries are scored once. All but "
        "time and memory is the same in every run on such a machine."
    )
    if SEEN in told.found:
        yield (
            "ICD-10 is one model of 12 chapters, chosen on their validation queries and on "
            "chapters 7 and 8, and tested on held-out queries (`icd10_seen`) and on four chapters "
            "that nothing was trained or chosen on (`icd10_unseen`), one split for all seeds. "
            "On every other data set each seed draws its own split into 60 % training, 20 % "
            "validation and 20 % test queries, unless it has official ones."
        )
    if tuned := told.rows.get(TUNED):
        yield (
            f"`{DEFAULT}` is the hybrid with the numbers of `configs/`, `{TUNED}` is `{tuned.arm}` "
            "with the numbers that the project's own search found; every other arm has the tuned "
            "numbers, the same data and the same budget."
        )
    if told.left_out:
        lines = [f"- `{name}`: {why}" for name, why in told.left_out.items()]
        yield "\n".join(["Left out:", "", *lines])
    if failed := [one for one in told.results if one.failed]:
        lines = [f"- {one.dataset}, {one.name}, seed {one.seed}: {one.failed}" for one in failed]
        yield "\n".join(["Trainings that ended without a model:", "", *lines])


def sentences(found: Measured, pairs: Pairs) -> list[str]:
    """One for each question, whichever way it was answered."""
    asked = [(TUNED, COSINE), (TUNED, DEFAULT), *((TUNED, name) for name in CLASSICAL)]
    told = [_sentence(*pair, pairs[pair]) for pair in asked if pair in pairs]
    if against := pairs.get((TUNED, COSINE)):
        below = [one.collection for one in against if one.significant and one.found.difference < 0]
        told.append(
            f"Collections where {TUNED} is significantly below {COSINE}: "
            f"{', '.join(below) or 'none'}."
        )
    for name in (TUNED, TWIN):
        seen, unseen = gains(found, SEEN, name), gains(found, UNSEEN, name)
        if seen and unseen:
            told.append(
                f"ICD-10, {name} over {COSINE}: {fmean(seen):+.1%} on held-out queries of the "
                f"chapters trained on, {fmean(unseen):+.1%} on the chapters never seen."
            )
    return told


def _sentence(name: str, other: str, found: Sequence[Paired]) -> str:
    """Which sign a difference has, and where.

    As in: tuned minus mlp_twin: -0.0010 in the mean of 2 collections; positive on 1 ...
    """
    mean = fmean(one.found.difference for one in found)
    above = [one for one in found if one.found.difference > 0.0]
    below = [one for one in found if one.found.difference < 0.0]
    return (
        f"{name} minus {other}: {mean:+.4f} in the mean over {len(found)} "
        f"collection{'s' if len(found) > 1 else ''}; "
        f"positive on {len(above)} ({_significant(above)}), "
        f"negative on {len(below)} ({_significant(below)})."
    )


def _significant(found: Sequence[Paired]) -> str:
    return f"{sum(one.significant for one in found)} significantly"


def scores_table(found: Measured, names: Sequence[str]) -> Tabular:
    """A row per collection, with how many test queries it has."""
    rows = tuple(
        (
            collection,
            str(_n_queries(rows)),
            *(_score(rows.get(name)) for name in names),
        )
        for collection, rows in found.items()
    )
    return Tabular("NDCG@10 by collection", ("collection", "test queries", *names), rows)


def _n_queries(rows: Mapping[str, Sequence[Scores]]) -> int:
    return len(averaged(next(iter(rows.values()))).domains)


def _and(names: Sequence[str]) -> str:
    """
    >>> _and(["med"]), _and(["cisi", "npl", "med"])
    ('med', 'cisi, npl and med')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def arms_table(found: Measured) -> Tabular:
    """A row per arm, in the order in which they were trained."""
    names = dict.fromkeys(name for rows in found.values() for name in rows)
    rows = tuple((name, *(_score(rows.get(name)) for rows in found.values())) for name in names)
    return Tabular("NDCG@10 by arm", ("arm", *found), rows)


def gains_table(found: Measured) -> Tabular:
    """Both gains of each arm over the cosine, with their spread over seeds."""
    rows = tuple(
        (name, *(_gain(gains(found, collection, name)) for collection in (SEEN, UNSEEN)))
        for name in found[SEEN]
    )
    columns = ("arm", "held-out queries, 12 chapters", "4 chapters never seen")
    return Tabular("Gain in NDCG@10 over the cosine", columns, rows)


def pair_table(name: str, other: str, found: Sequence[Paired]) -> Tabular:
    """A row per collection."""
    rows = tuple(
        (
            one.collection,
            f"{one.found.difference:+.4f}",
            f"{one.found.relative:+.1%}",
            f"{one.found.low:+.4f} to {one.found.high:+.4f}",
            f"{one.found.p_value:.4f}",
            f"{one.holm:.4f}",
            one.sign,
        )
        for one in found
    )
    columns = ("collection", "difference", "relative", "95 % interval", "p", "p, Holm", "it is")
    return Tabular(f"{name} minus {other}", columns, rows)


def verdicts_table(name: str, found: Mapping[str, Mapping[str, Sequence[Verdict]]]) -> Tabular:
    """A row per target, a column per data set."""
    by_name = {one: of[0] for by in found.values() for one, of in by.items()}
    rows = tuple(
        (
            target,
            f"{first.rule} {number(first.target)}",
            *(_verdicts(by_target[target]) for by_target in found.values()),
        )
        for target, first in by_name.items()
    )
    return Tabular(f"Targets of {name}", ("target", "asked for", *found), rows)


def _verdicts(found: Sequence[Verdict]) -> str:
    values = ends(found)
    return outcomes(found) if values == "-" else f"{values}: {outcomes(found)}"


def _trainings(told: Told) -> Iterator[str]:
    trained = {
        dataset: {name: of for name, of in rows.items() if name not in FIXED}
        for dataset, rows in by_name(told.results).items()
    }
    names = [name for name in told.rows if any(name in rows for rows in trained.values())]
    for title, told_of in (
        ("Epochs, best of all, mean over seeds", _epochs),
        ("Fusion weight, mean over seeds", _weight),
        ("Processor seconds of a training, mean over seeds", _seconds),
    ):
        rows = tuple(
            (name, *(told_of(of[name]) if name in of else "-" for of in trained.values()))
            for name in names
        )
        yield markdown(Tabular(title, ("arm", *trained), rows))
    what = [f"- `{name}`: {ARMS[told.rows[name].arm].what}" for name in names]
    yield "\n".join(["What the arms are:", "", *what])


def _epochs(by_seed: Sequence[Result]) -> str:
    best, last = (fmean(one.record[key] for one in by_seed) for key in ("best_epoch", "epochs"))
    return f"{best:.0f} of {last:.0f}"


def _weight(by_seed: Sequence[Result]) -> str:
    return f"{fmean(one.record['fusion_weight'] for one in by_seed):.2f}"


def _seconds(by_seed: Sequence[Result]) -> str:
    return f"{fmean(one.record['processor_seconds'] for one in by_seed):.0f}"


def _score(by_seed: Sequence[Scores] | None) -> str:
    return _with_spread(means(by_seed), "{:.4f}") if by_seed else "-"


def _gain(values: Sequence[float]) -> str:
    return _with_spread([100.0 * value for value in values], "{:+.1f}", " %") if values else "-"


def _with_spread(values: Sequence[float], form: str, unit: str = "") -> str:
    """
    >>> _with_spread([0.5, 0.7], "{:.2f}")
    '0.60 ± 0.14'
    """
    sd = spread(values)
    mean = form.format(fmean(values))
    return mean + unit if sd is None else f"{mean} ± {form.replace('+', '').format(sd)}{unit}"


def markdown(table: Tabular) -> str:
    """A table below its title, numbers to the right."""
    lines = [table.columns, (":--", *("--:" for _ in table.columns[1:])), *table.rows]
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([f"**{table.title}**", "", *body])
