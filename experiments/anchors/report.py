"""The page of the anchors: quality, differences, and the time of training and of a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from experiments.analysis import Measured, averaged, differences, means, measured
from experiments.anchors.encoder import EncoderSetup
from experiments.anchors.plan import ANCHORS, COMPARED, DESCRIPTIONS, ENCODER, TRAINED
from experiments.plan import FIXED, TUNED
from experiments.results import Result
from experiments.summarising import difference_of, mean_of
from experiments.summary import Difference
from experiments.tables import DIFFERENCE_COLUMNS, Table, difference_cells, with_spread
from quantum_rerank.plural import counted

_ROWS = (*COMPARED, *ANCHORS)


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
    """Return the main results in one sentence for each anchor."""
    return [
        _sentence(name, [difference_of(paired) for paired in differences(scores, TUNED, name)])
        for name in ANCHORS
        if any(name in rows for rows in scores.values())
    ]


def _sentence(name: str, paired: Sequence[Difference]) -> str:
    """Return the number of collections with each sign.

    >>> above = Difference(0.004, 0.01, 0.001, 0.007, p_value=0.01, p_holm=0.01, n_seeds=5)
    >>> _sentence("lambdamart", [above])
    '`tuned` minus `lambdamart`: +0.0040 on average over 1 collection; significantly above on 1, \
significantly below on 0, no significant difference on 0.'
    """
    above = sum(cell.significant and cell.difference > 0.0 for cell in paired)
    below = sum(cell.significant and cell.difference < 0.0 for cell in paired)
    number = counted(len(paired), "collection")
    return (
        f"`{TUNED}` minus `{name}`: {fmean(cell.difference for cell in paired):+.4f} on average "
        f"over {number}; significantly above on {above}, significantly below on {below}, "
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
        "over the collections that all rows of the table have. The vectors and states of documents "
        "exist before. Most of the time is the encoder's own pass over the query. `encoder` needs "
        "an index of its own: all documents are embedded again after each training. "
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


def _score(rows: Mapping[str, Mapping[int, object]], name: str) -> str:
    by_seed = rows.get(name)
    if not by_seed:
        return "-"
    text = with_spread(mean_of(means(by_seed), digits=4), "{:.4f}")  # type: ignore[arg-type]
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
    for name in (*COMPARED[3:], *TRAINED):
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
            f"{fmean(fmean(means(rows[name])) for rows in shared):.4f}" if shared else "-",
        )
        for name in names
        if name in milliseconds
    )
    title = f"Time of a query and NDCG@10, mean over {counted(len(shared), 'collection')}"
    return Table(title, ("row", "milliseconds a query", "NDCG@10"), rows)
