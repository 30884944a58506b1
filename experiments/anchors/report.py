"""The page of the anchors: quality, differences, and the time of training and of a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from experiments.analysis import Measured, averaged, differences, means, measured
from experiments.anchors.encoder import EncoderSetup
from experiments.anchors.plan import ANCHORS, COMPARED, DESCRIPTIONS, DISCRIMINANT, ENCODER, TRAINED
from experiments.plan import FIXED, TUNED
from experiments.results import Result
from experiments.summarising import difference_of, mean_of
from experiments.summary import Difference
from experiments.tables import DIFFERENCE_COLUMNS, Table, difference_cells, with_spread
from quantum_rerank.evaluation import Scores
from quantum_rerank.plural import counted
from quantum_rerank.training.models import FIRST_STAGE

_ROWS = (*COMPARED, *ANCHORS)
_ENOUGH_SEEDS = 5


@dataclass(frozen=True)
class Comparison:
    """The results of all rows.

    Attributes:
        command: The command that prints the page.
        results: The results, of which an encoder's has two rows already.
        milliseconds: Row -> milliseconds a query.
        timed_on: The data set of these.
    """

    command: str
    results: Sequence[Result]
    milliseconds: Mapping[str, float]
    timed_on: str


def document(comparison: Comparison) -> str:
    """Return the page in Markdown."""
    return "\n\n".join(_parts(comparison)) + "\n"


def sentences(scores: Measured) -> list[str]:
    """Return the main results: each anchor beside `tuned`, `discriminant` and `first_stage`."""
    pairs = [
        pair
        for name in ANCHORS
        for pair in ((TUNED, name), (DISCRIMINANT, name), (name, FIRST_STAGE))
    ]
    by_pair = {pair: differences(scores, *pair) for pair in pairs}
    return [
        _sentence(*pair, [difference_of(paired) for paired in by_collection])
        for pair, by_collection in by_pair.items()
        if by_collection
    ]


def _sentence(name: str, other: str, paired: Sequence[Difference]) -> str:
    """Return the number of collections with each sign.

    >>> above = Difference(0.004, 0.01, 0.001, 0.007, p_value=0.01, p_holm=0.01, n_seeds=5)
    >>> _sentence("tuned", "lambdamart", [above])
    '`tuned` minus `lambdamart`: +0.0040 on average over 1 collection; significantly above on 1, \
significantly below on 0, no significant difference on 0.'
    """
    above = sum(cell.significant and cell.difference > 0.0 for cell in paired)
    below = sum(cell.significant and cell.difference < 0.0 for cell in paired)
    return (
        f"`{name}` minus `{other}`: {fmean(cell.difference for cell in paired):+.4f} on average "
        f"over {counted(len(paired), 'collection')}; significantly above on {above}, "
        f"significantly below on {below}, "
        f"no significant difference on {len(paired) - above - below}."
    )


def _parts(comparison: Comparison) -> Iterator[str]:
    scores = measured(comparison.results)
    yield "# Usual rerankers on the same labels"
    machines = sorted({result.machine for result in comparison.results} - {""})
    yield f"Printed by `{comparison.command}`{', measured on:' if machines else '.'}"
    if machines:
        yield "\n>\n".join(f"> {machine}" for machine in machines)
    yield (
        "What would a user of search take instead of this project's model? The anchors below have "
        "the same candidates, splits, training queries and test queries as "
        "[the experiments](experiments.md), whose rows stand beside them. Everything is chosen on "
        "validation queries by the objective of the experiments, and test queries are scored once."
    )
    yield "\n".join(f"- `{name}`: {DESCRIPTIONS[name]}" for name in _ROWS if _has(scores, name))
    yield (
        "LambdaMART is that of LightGBM. Its early stopping and its grid of four (leaves of a "
        "tree, documents of a leaf) are by validation."
    )
    if _has(scores, ENCODER):
        yield from _encoder_notes(EncoderSetup())
    yield "## Main results"
    yield "\n".join(f"- {sentence}" for sentence in sentences(scores))
    yield _scores_table(scores).markdown()
    yield (
        "NDCG@10: means over seeds, with the standard deviation over seeds after ±. Where each "
        "seed draws its own split, it includes the variation of the split. A number of seeds in "
        "brackets is shown where it is below that of `tuned`."
    )
    yield from _limits(scores)
    yield "## Differences"
    yield (
        "The differences are paired over queries, each with its mean over the seeds that both "
        "rows have, with 95 % bootstrap intervals, the p-value of the two-sided paired "
        "randomisation test, and that after Holm's correction over the collections of a table. "
        "Interval and test do not cover further seeds."
    )
    for name in ANCHORS:
        if _has(scores, name):
            yield _pair_table(scores, name).markdown()
    yield "## Time"
    yield (
        "Processor seconds of a training on one core, the mean over seeds. They include validation "
        "after each epoch, the grid of `lambdamart`, and the test queries of the rows of the "
        "experiments; they do not include the vectors of the frozen encoder, or the pass of all "
        "texts through its frozen layers."
    )
    yield _seconds_table(comparison.results).markdown()
    yield (
        f"Milliseconds from the text of a query to the scores of its 100 candidates, on one core, "
        f"the median over the test queries of `{comparison.timed_on}`, beside the mean NDCG@10 "
        "over the collections and seeds that all rows of the table have. The vectors and states "
        "of documents exist before. Most of the time is the encoder's own pass over the query. "
        "`encoder` needs its own index: all documents are embedded again after each training. "
        "`encoder_bm25` keeps both indexes and embeds the query twice."
    )
    yield _latency_table(scores, comparison.milliseconds).markdown()


def _encoder_notes(setup: EncoderSetup) -> Iterator[str]:
    """Yield the training of the encoder in words."""
    yield (
        f"Of the encoder, all-MiniLM-L6-v2, the upper {setup.n_layers} of 6 layers are trained, in "
        "bfloat16, and the lower ones are frozen: training all of it takes about three times as "
        "long on a processor. The loss is that of MultipleNegativesRankingLoss, without known "
        "relevant documents among the negatives, and with one hard negative a pair, drawn from "
        f"the query's {setup.pool} nearest candidates that are not relevant. A batch has "
        f"{setup.batch_size} pairs, and an epoch at most {setup.pairs_per_query} relevant "
        f"documents of a query. There are {setup.epochs} epochs, or more until there are "
        f"{setup.steps} steps, with a patience of {setup.patience} and a learning rate of "
        f"{setup.learning_rate:g}. Epoch 0, the encoder before training, is among the choices."
    )
    yield (
        f"`{TUNED}` has the configuration that a search on ICD-10 found, and the project's design "
        "was developed on these collections. The encoder's settings were not searched for, and a "
        "training of all its layers, or of a larger encoder, may be better than the row here."
    )


def _limits(scores: Measured) -> Iterator[str]:
    """Yield what the rows of anchors do not show, because they have few collections or seeds."""
    for name in ANCHORS:
        seeds = {collection: len(rows[name]) for collection, rows in scores.items() if name in rows}
        if seeds and (len(seeds) < len(scores) or min(seeds.values()) < _ENOUGH_SEEDS):
            yield (
                f"`{name}` was measured on {len(seeds)} of {counted(len(scores), 'collection')}, "
                f"with {counted(min(seeds.values()), 'seed')} or more each. It says nothing about "
                f"other collections, and below {_ENOUGH_SEEDS} seeds it shows a direction, not a "
                "result."
            )


def _has(scores: Measured, name: str) -> bool:
    return any(name in rows for rows in scores.values())


def _scores_table(scores: Measured) -> Table:
    names = [name for name in _ROWS if _has(scores, name)]
    rows = tuple(
        (
            collection,
            str(max(len(averaged(by_seed).domains) for by_seed in of_rows.values())),
            *(_score(of_rows, name) for name in names),
        )
        for collection, of_rows in scores.items()
    )
    return Table("NDCG@10 by collection", ("collection", "test queries, all seeds", *names), rows)


def _score(rows: Mapping[str, Mapping[int, Scores]], name: str) -> str:
    by_seed = rows.get(name)
    if not by_seed:
        return "-"
    text = with_spread(mean_of(means(by_seed), digits=4), "{:.4f}")
    planned = len(rows.get(TUNED, by_seed))
    return (
        text
        if name in FIXED or len(by_seed) >= planned
        else f"{text} ({counted(len(by_seed), 'seed')})"
    )


def _pair_table(scores: Measured, name: str) -> Table:
    rows = tuple(
        (paired.collection, *difference_cells(difference_of(paired)))
        for paired in differences(scores, TUNED, name)
    )
    return Table(f"{TUNED} minus {name}", ("collection", *DIFFERENCE_COLUMNS), rows)


def _seconds_table(results: Sequence[Result]) -> Table:
    datasets = list(dict.fromkeys(result.dataset for result in results))
    rows = []
    for name in (DISCRIMINANT, TUNED, *TRAINED):
        cells = []
        for dataset in datasets:
            seconds = [
                result.record["processor_seconds"]
                for result in results
                if (result.name, result.dataset) == (name, dataset) and not result.failed
            ]
            cells.append(f"{fmean(seconds):.1f}" if seconds else "-")
        rows.append((name, *cells))
    return Table("Processor seconds of a training", ("row", *datasets), tuple(rows))


def _latency_table(scores: Measured, milliseconds: Mapping[str, float]) -> Table:
    names = [name for name in _ROWS if _has(scores, name)]
    shared = [rows for rows in scores.values() if all(name in rows for name in names)]
    rows = tuple(
        (
            name,
            f"{milliseconds[name]:.1f}",
            f"{fmean(_mean_of(name, rows, names) for rows in shared):.4f}" if shared else "-",
        )
        for name in names
        if name in milliseconds
    )
    title = f"Time of a query and NDCG@10, mean over {counted(len(shared), 'collection')}"
    return Table(title, ("row", "milliseconds a query", "NDCG@10"), rows)


def _mean_of(name: str, rows: Mapping[str, Mapping[int, Scores]], names: Sequence[str]) -> float:
    """Return the mean of a row over the seeds that all rows with randomness have."""
    seeds = set.intersection(*(set(rows[other]) for other in names if other not in FIXED))
    shared = {seed: scores for seed, scores in rows[name].items() if seed in seeds}
    return fmean(means(shared or rows[name]))
