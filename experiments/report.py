"""The study as a document: every table, and a sentence for each question that was asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from experiments.analysis import (
    CLASSICAL,
    Difference,
    Measured,
    Pairs,
    gains,
    targets,
)
from experiments.plan import (
    DEFAULT,
    FIXED,
    ICD10,
    SEEN,
    TUNED,
    TUNED_TWIN,
    TWIN,
    UNSEEN,
    Dataset,
    Setup,
)
from experiments.results import Result
from experiments.tables import (
    gains_table,
    markdown,
    models_table,
    n_queries,
    numbers_table,
    pair_table,
    scores_table,
    trainings_tables,
    verdicts_table,
)
from quantum_rerank.config import DataConfig, ExperimentConfig
from quantum_rerank.evaluation import COSINE
from quantum_rerank.similarity import MODELS
from quantum_rerank.training.data_manager import told_skips


@dataclass(frozen=True)
class Told:
    """What a report is made of.

    command: what prints it.
    searched: the tuned rows whose numbers are those of the project's own searches.
    skipped: domain -> what was not taken as it was given -> how often in a split, at most.
    """

    command: str
    seeds: Sequence[int]
    rows: Mapping[str, Setup]
    searched: frozenset[str]
    datasets: Sequence[Dataset]
    left_out: Mapping[str, str]
    skipped: Mapping[str, Mapping[str, int]]
    results: Sequence[Result]
    found: Measured
    pairs: Pairs


def document(told: Told, pictures: Mapping[str, str]) -> str:
    """The whole of it, as Markdown.  pictures: title -> its file, as the document names it."""
    return "\n\n".join(_parts(told, pictures)) + "\n"


def _parts(told: Told, pictures: Mapping[str, str]) -> Iterator[str]:
    yield "# The study"
    yield from _head(told)
    yield "## What was found"
    yield "\n".join(f"- {sentence}" for sentence in sentences(told.found, told.pairs))
    yield from (f"![{title}]({file})" for title, file in pictures.items())
    yield "## NDCG@10"
    yield from _scores(told)
    if SEEN in told.found:
        yield "## ICD-10: chapters trained on, and chapters never seen"
        yield markdown(gains_table(told.found, len(told.seeds)))
    yield "## Differences"
    yield _DIFFERENCES
    if any(dataset.splits_by_seed for dataset in told.datasets):
        yield _POOLED
    yield from (markdown(pair_table(*pair, found)) for pair, found in told.pairs.items())
    yield "## Targets"
    yield _TARGETS
    for name in (TUNED, DEFAULT, TUNED_TWIN, TWIN):
        if of_datasets := targets(told.results, name):
            yield markdown(verdicts_table(name, of_datasets))
    yield "## Trainings"
    yield from _trainings(told)


_FEW = 50
_SPREAD = (
    "Means over seeds, with the standard deviation over seeds behind ±, that of the split included "
    "where every seed has its own. Domains of one collection count the same. A mean of fewer seeds "
    "than were asked for says of how many."
)
_DIFFERENCES = (
    "Paired over queries; each query has its mean over the seeds that both models share and that "
    "tested on it. Columns: mean difference, 95 % bootstrap interval, p of the two-sided paired "
    "randomisation test, and p after Holm's correction. A difference is significant where the "
    "corrected p is below 0.05. The correction is made within each pair of models, over its "
    "collections; it is not made over the number of pairs. Interval and test are over queries and "
    "do not cover further seeds."
)
_POOLED = (
    "Where each seed has its own split, the test queries of all splits are pooled: a query that "
    "one seed tests on may be one that another seed trains on. Queries of a domain weigh alike, "
    "however many seeds tested on them, so a difference is not exactly that of the means above, in "
    "which seeds weigh alike."
)
_TARGETS = (
    "Of every seed's training; the range of its values, and how many passed. Stability is over all "
    "seeds. Peak memory is of the process, whose earlier trainings count. What was not measured is "
    "not known."
)


def _head(told: Told) -> Iterator[str]:
    seeds = ", ".join(map(str, told.seeds))
    machines = sorted({one.machine for one in told.results} - {""})
    yield f"Printed by `{told.command}`, seeds {seeds}{', measured on:' if machines else '.'}"
    if machines:
        yield "\n>\n".join(f"> {machine}" for machine in machines)
    yield (
        "Every model is trained on the training queries of its data set, its epoch and its fusion "
        "weight are chosen on validation queries, and its test queries are scored once. All but "
        "time and memory is the same in every run on such a machine."
    )
    yield from _of_data(told.datasets)
    yield from _of_numbers(told)
    if told.left_out:
        lines = [f"- `{name}`: {why}" for name, why in told.left_out.items()]
        yield "\n".join(["Left out:", "", *lines])
    if told.skipped:
        lines = [f"- {line}" for line in told_skips(told.skipped)]
        yield "\n".join(["Not taken as it was given, in any split at most:", "", *lines])
    if failed := [one for one in told.results if one.failed]:
        lines = [f"- {one.dataset}, {one.name}, seed {one.seed}: {one.failed}" for one in failed]
        yield "\n".join(["Trainings that ended without a model:", "", *lines])


def _of_data(datasets: Sequence[Dataset]) -> Iterator[str]:
    """Which models there are, and how queries were split."""
    n_seen, n_unseen = len(ICD10.seen), len(ICD10.unseen_test)
    if ICD10 in datasets:
        yield (
            f"`{ICD10.name}` is one model of {n_seen} chapters of ICD-10-CM, chosen on their "
            f"validation queries and on chapters {_chosen_on()}, and tested on held-out queries of "
            f"the {n_seen} (`{SEEN}`) and on {n_unseen} chapters that nothing was trained or "
            f"chosen on (`{UNSEEN}`)."
        )
    data = DataConfig()
    shares = (1.0 - data.validation_split - data.test_split, data.validation_split, data.test_split)
    training, validation, test = (f"{100.0 * share:.0f} %" for share in shares)
    once = [f"`{one.name}`" for one in datasets if not one.splits_by_seed]
    by_seed = [f"`{one.name}`" for one in datasets if one.splits_by_seed]
    told = [f"Of {_and(once)} all seeds have the same split."] if once else []
    told += [f"Of {_and(by_seed)} each seed draws its own split."] if by_seed else []
    yield (
        f"{' '.join(told)} A split is {training} training, {validation} validation and {test} test "
        "queries, but a collection's official splits are kept where it has them."
    )


def _of_numbers(told: Told) -> Iterator[str]:
    """With which numbers the models were trained, and what these were chosen on."""
    default, tuned = told.rows.get(DEFAULT), told.rows.get(TUNED)
    twin = told.rows.get(TUNED_TWIN)
    controls = [name for name in told.rows if name not in (DEFAULT, TUNED, TUNED_TWIN, *FIXED)]
    if default:
        yield (
            f"`{DEFAULT}` is the hybrid with the numbers of `configs/`, which have a budget of "
            f"their own: {_budget(default)}."
        )
    if tuned:
        found = (
            "that the project's own search found. It searched for the hybrids, and chose on "
            f"validation queries of the {len(ICD10.seen)} chapters of ICD-10 and on its chapters "
            f"{_chosen_on()} only: on every other data set its numbers are transferred."
        )
        yield f"`{TUNED}` is `{tuned.model}` with the numbers {_origin(told, TUNED, found)}"
    if twin:
        found = (
            "those that a search of the same budget, on the same data, found for it. Its ranges "
            "are the hybrids', with the number of outputs in the place of the circuit."
        )
        yield (
            f"`{TUNED_TWIN}` is the classical `{twin.model}` with numbers of its own: "
            f"{_origin(told, TUNED_TWIN, found)}"
        )
    if controls:
        yield (
            f"Every other model that is trained has the numbers of `{TUNED}` too, and with them "
            f"{_budget(told.rows[controls[0]])}. None of these controls was searched for itself: "
            f"where `{TUNED}` leads one, the lead may be the search's and not the model's."
        )
    searched = {name: row.config for name, row in ((TUNED, tuned), (TUNED_TWIN, twin)) if row}
    if searched:
        untuned = default.config if default else ExperimentConfig()
        numbers = numbers_table(untuned, searched)
        yield markdown(numbers) if numbers.rows else "The tuned numbers are the default ones."


def _origin(told: Told, name: str, found: str) -> str:
    """Where the numbers of a tuned row are from.  found: what is said of the project's own."""
    if name in told.searched:
        return found
    option = f"--{name.replace('_', '-')}"
    return f"given by `{option}`; what they were chosen on is not known here."


def _chosen_on() -> str:
    """
    >>> _chosen_on()
    '7 and 8'
    """
    return _and([spec.removeprefix("icd10:") for spec in ICD10.unseen_validation])


def _budget(row: Setup) -> str:
    training = row.config.training
    return f"at most {training.max_epochs} epochs, a patience of {training.early_stopping_patience}"


def _scores(told: Told) -> Iterator[str]:
    yield _SPREAD
    yield markdown(
        scores_table(told.found, (*FIXED, TWIN, TUNED_TWIN, DEFAULT, TUNED), len(told.seeds))
    )
    if few := [name for name, rows in told.found.items() if n_queries(rows) < _FEW]:
        yield f"With fewer than {_FEW} queries tested, {_and(few)} can tell little alone."
    yield markdown(models_table(told.found, len(told.seeds)))


def _trainings(told: Told) -> Iterator[str]:
    trained = {one.name for one in told.results if not one.failed}
    names = [name for name in told.rows if name in trained and name not in FIXED]
    yield from map(markdown, trainings_tables(told.results, names, len(told.seeds)))
    what = [f"- `{name}`: {MODELS[told.rows[name].model].description}" for name in names]
    yield "\n".join(["What the models are:", "", *what])


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
    for name in (TUNED, TUNED_TWIN, TWIN):
        seen, unseen = gains(found, SEEN, name), gains(found, UNSEEN, name)
        if seen and unseen:
            told.append(
                f"ICD-10, {name} over {COSINE}: {fmean(seen):+.1%} on held-out queries of the "
                f"chapters trained on, {fmean(unseen):+.1%} on the chapters never seen."
            )
    return told


def _sentence(name: str, other: str, found: Sequence[Difference]) -> str:
    """Which sign a difference has, and where.

    >>> from quantum_rerank.evaluation import Comparison
    >>> fewer = Comparison(-0.004, -0.01, -0.007, -0.001, p_value=0.01, n_queries=90)
    >>> _sentence("tuned", "rbf", [Difference("cran", fewer, holm=0.01, n_seeds=5)])
    'tuned minus rbf: -0.0040 in the mean over 1 collection; positive on 0 (0 significantly), \
negative on 1 (1 significantly).'
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


def _significant(found: Sequence[Difference]) -> str:
    return f"{sum(one.significant for one in found)} significantly"


def _and(names: Sequence[str]) -> str:
    """
    >>> _and(["med"]), _and(["cisi", "npl", "med"])
    ('med', 'cisi, npl and med')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
