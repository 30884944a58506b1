"""The page of the experiments in Markdown, made from their summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from experiments.analysis import CLASSICAL
from experiments.plan import DEFAULT, FAR, FIXED, ICD10, SEEN, TUNED, TUNED_TWIN, TWIN, UNSEEN
from experiments.summary import Difference, Mean, Row, Summary, pair_name
from experiments.tables import (
    configuration_table,
    gains_table,
    models_table,
    pair_table,
    scores_table,
    targets_table,
    trainings_tables,
)
from quantum_rerank.config import DataConfig
from quantum_rerank.evaluation import COSINE
from quantum_rerank.similarity import MODELS

_FEW_QUERIES = 50

_SCORES = (
    "The values are means over seeds, with the standard deviation over seeds after ±. Where each "
    "seed draws its own split, the standard deviation includes the variation of the split. Domains "
    "of a collection have equal weight. A mean over fewer seeds than planned shows their number."
)
_DIFFERENCES = (
    "The differences are paired over queries. Each query has its mean over the seeds that both "
    "models share and that tested on it. The tables show the mean difference, its 95 % bootstrap "
    "interval, the p-value of the two-sided paired randomisation test, and the p-value after "
    "Holm's correction. A difference is significant if the corrected p-value is below 0.05. The "
    "correction is made within each pair of models, over its collections. It is not made over the "
    "number of pairs. Interval and test are over queries and do not cover further seeds."
)
_POOLED = (
    "Where each seed draws its own split, the test queries of all splits are pooled: one seed may "
    "test on a query that another seed trains on. The queries of a domain have equal weight, "
    "whatever the number of seeds that tested on them. A difference is therefore not exactly the "
    "difference of the means above, in which seeds have equal weight."
)
_TARGETS = (
    "Each cell shows the range of values over the seeds and the number of seeds that pass or fail. "
    "Stability is one value over all seeds. Peak memory (GB, 10^9 bytes) is that of the process, "
    "which includes its earlier trainings. Time is in hours. A value that was not measured is "
    "unknown."
)


def document(summary: Summary, pictures: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        summary: The summary of the experiments.
        pictures: Title -> file, relative to the page.
    """
    return "\n\n".join(_parts(summary, pictures)) + "\n"


def sentences(summary: Summary) -> list[str]:
    """Return the main results in one sentence each."""
    pairs = [(TUNED, COSINE), (TUNED, DEFAULT), *((TUNED, name) for name in CLASSICAL)]
    differences = summary.differences
    lines = [
        _sentence(pair, list(differences.row(pair).values()), summary.mean_differences[pair])
        for pair in (pair_name(*names) for names in pairs)
        if pair in differences.rows
    ]
    against_cosine = differences.row(pair_name(TUNED, COSINE))
    if against_cosine:
        below = [
            collection
            for collection, cell in against_cosine.items()
            if cell.significant and cell.difference < 0
        ]
        lines.append(
            f"Collections on which {TUNED} is significantly below {COSINE}: "
            f"{', '.join(below) or 'none'}."
        )
    gains = summary.gains.cells
    return lines + [
        f"ICD-10, {name} over {COSINE}: {gains[name, SEEN].mean:+.1%} on held-out queries of the "
        f"training chapters, {gains[name, UNSEEN].mean:+.1%} on the unseen chapters"
        f"{_far_gains(gains, name)}."
        for name in (TUNED, TUNED_TWIN, TWIN)
        if (name, SEEN) in gains and (name, UNSEEN) in gains
    ]


def _far_gains(gains: Mapping[tuple[str, str], Mean], name: str) -> str:
    each = [
        f"{gains[name, collection].mean:+.1%} on {collection}"
        for collection in FAR.values()
        if (name, collection) in gains
    ]
    return f", {joined(each)}" if each else ""


def _parts(summary: Summary, pictures: Mapping[str, str]) -> Iterator[str]:
    yield "# Results of the experiments"
    yield from _head(summary)
    yield "## Main results"
    yield "\n".join(f"- {sentence}" for sentence in sentences(summary))
    yield from (f"![{title}]({file})" for title, file in pictures.items())
    yield "## NDCG@10"
    yield from _scores(summary)
    if summary.gains.rows:
        yield "## ICD-10: training chapters and unseen chapters"
        yield gains_table(summary).markdown()
    yield "## Differences"
    yield _DIFFERENCES
    if any(summary.datasets.values()):
        yield _POOLED
    yield from (pair_table(summary, pair).markdown() for pair in summary.differences.rows)
    yield "## Targets"
    yield _TARGETS
    yield from (targets_table(summary, name).markdown() for name in summary.targets)
    yield "## Trainings"
    yield from _trainings(summary)


def _head(summary: Summary) -> Iterator[str]:
    seeds = ", ".join(map(str, summary.seeds))
    measured = ", measured on:" if summary.machines else "."
    yield f"Printed by `{summary.command}`, seeds {seeds}{measured}"
    if summary.machines:
        yield "\n>\n".join(f"> {machine}" for machine in summary.machines)
    yield (
        "Every model is trained on the training queries of its data set. Its epoch and its fusion "
        "weight are chosen on validation queries, and its test queries are scored once. All values "
        "except time and memory are the same in every run on such a machine."
    )
    yield from _data(summary)
    yield from _configurations(summary)
    yield from listed("Missing data sets:", [f"`{k}`: {v}" for k, v in summary.left_out.items()])
    yield from listed("Input that was not used as given, at most in any split:", summary.skipped)
    yield from listed(
        "Trainings that ended without a model:",
        [f"{x.dataset}, {x.row}, seed {x.seed}: {x.reason}" for x in summary.failed],
    )


def listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield "\n".join([title, "", *(f"- {line}" for line in lines)])


def _data(summary: Summary) -> Iterator[str]:
    """Yield the data sets and their splits."""
    n_seen, n_unseen = len(ICD10.seen), len(ICD10.unseen_test) - len(FAR)
    if ICD10.name in summary.datasets:
        yield (
            f"`{ICD10.name}` is one model of {n_seen} chapters of ICD-10-CM. Its epoch and its "
            f"fusion weight are chosen on their validation queries and on chapters "
            f"{_validation_chapters()}. It is tested on held-out queries of the {n_seen} chapters "
            f"(`{SEEN}`) and on {n_unseen} chapters that no training and no choice has seen "
            f"(`{UNSEEN}`), and on two such chapters whose queries are far from those of the "
            f"training ({joined([f'`{name}`' for name in FAR.values()])})."
        )
    data = DataConfig()
    shares = (1.0 - data.validation_split - data.test_split, data.validation_split, data.test_split)
    training, validation, test = (f"{100.0 * share:.0f} %" for share in shares)
    fixed = [f"`{name}`" for name, by_seed in summary.datasets.items() if not by_seed]
    by_seed = [f"`{name}`" for name, by_seed in summary.datasets.items() if by_seed]
    text = [f"All seeds have the same split of {joined(fixed)}."] if fixed else []
    text += [f"Each seed draws its own split of {joined(by_seed)}."] if by_seed else []
    yield (
        f"{' '.join(text)} A split is {training} training, {validation} validation and {test} test "
        "queries. The official splits of a collection are used where it has them."
    )


def _configurations(summary: Summary) -> Iterator[str]:
    """Yield the origin of each row's configuration."""
    default, tuned = summary.rows.get(DEFAULT), summary.rows.get(TUNED)
    twin = summary.rows.get(TUNED_TWIN)
    controls = [name for name in summary.rows if name not in (DEFAULT, TUNED, TUNED_TWIN, *FIXED)]
    if default:
        yield (
            f"`{DEFAULT}` is the hybrid with the configuration in `configs/`, which has its own "
            f"budget: {_budget(default)}."
        )
    if tuned:
        origin = (
            "found by the project's own search. The search covered the hybrids. It used the "
            f"validation queries of the {len(ICD10.seen)} chapters of ICD-10 and of its chapters "
            f"{_validation_chapters()} only, and so did the choices that followed: the start as "
            "the discriminant, the epochs and the size of a step. On every other data set the "
            "configuration is transferred. The rules that fit the lexical weight and the gate "
            "were developed with the test queries of these data sets in view, so that the gains "
            "over the cosine are optimistic by as much as the rules suit them."
        )
        yield (
            f"`{TUNED}` is `{tuned.model}` with the configuration {_origin(summary, TUNED, origin)}"
        )
    if twin:
        origin = (
            "found by a search with the same budget and the same data. Its ranges are those of the "
            "hybrids, with the number of outputs in place of the circuit. It has the same start, "
            "epochs, lexical part and gate."
        )
        yield (
            f"`{TUNED_TWIN}` is the classical `{twin.model}` with the configuration "
            f"{_origin(summary, TUNED_TWIN, origin)}"
        )
    if controls:
        yield (
            f"Every other trained model has the configuration of `{TUNED}` and therefore "
            f"{_budget(summary.rows[controls[0]])}. These controls were not tuned themselves: "
            f"where `{TUNED}` is better than one of them, the search may be the reason, not the "
            "model."
        )
    if tuned or twin:
        table = configuration_table(summary)
        yield table.markdown() if table.rows else "The tuned configurations are the default one."


def _origin(summary: Summary, name: str, origin: str) -> str:
    """Return the origin of a tuned row's configuration.

    Args:
        summary: The summary.
        name: The row.
        origin: The text for the project's own configuration.
    """
    if name in summary.searched:
        return origin
    option = f"--{name.replace('_', '-')}"
    return f"given by `{option}`. The data that it was chosen on are not recorded."


def _validation_chapters() -> str:
    """Return the chapters of ICD-10 that are used for validation only.

    >>> _validation_chapters()
    '7 and 8'
    """
    return joined([domain.removeprefix("icd10:") for domain in ICD10.unseen_validation])


def _budget(row: Row) -> str:
    return f"at most {row.max_epochs} epochs and a patience of {row.patience}"


def _scores(summary: Summary) -> Iterator[str]:
    yield _SCORES
    yield scores_table(summary, (*FIXED, TWIN, TUNED_TWIN, DEFAULT, TUNED)).markdown()
    if few := [name for name, number in summary.n_queries.items() if number < _FEW_QUERIES]:
        yield f"Fewer than {_FEW_QUERIES} test queries, too few for a conclusion: {joined(few)}."
    yield models_table(summary).markdown()


def _trainings(summary: Summary) -> Iterator[str]:
    names = [name for name in summary.rows if name in summary.trainings.rows]
    yield from (table.markdown() for table in trainings_tables(summary, names))
    lines = [f"`{name}`: {MODELS[summary.rows[name].model].description}" for name in names]
    yield from listed("The models:", lines)


def _sentence(pair: str, differences: Sequence[Difference], mean: float) -> str:
    """Return the sign of a difference and the number of collections with each sign.

    >>> fewer = Difference(-0.004, -0.01, -0.007, -0.001, p_value=0.01, p_holm=0.01, n_seeds=5)
    >>> _sentence("tuned minus rbf", [fewer], mean=-0.004)
    'tuned minus rbf: -0.0040 on average over 1 collection; positive on 0 (0 significantly), \
negative on 1 (1 significantly).'
    """
    above = [cell for cell in differences if cell.difference > 0.0]
    below = [cell for cell in differences if cell.difference < 0.0]
    return (
        f"{pair}: {mean:+.4f} on average over {len(differences)} "
        f"collection{'s' if len(differences) > 1 else ''}; "
        f"positive on {len(above)} ({_significant(above)}), "
        f"negative on {len(below)} ({_significant(below)})."
    )


def _significant(differences: Sequence[Difference]) -> str:
    return f"{sum(cell.significant for cell in differences)} significantly"


def joined(names: Sequence[str]) -> str:
    """Join names as in a sentence.

    >>> joined(["med"]), joined(["cisi", "npl", "med"])
    ('med', 'cisi, npl and med')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
