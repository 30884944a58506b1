"""The page of the experiments with few training queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from experiments.analysis import averaged, measured
from experiments.few_labels import COMPARED, CURVE_COLLECTIONS, CURVE_ONLY, DRAWS, FEW
from experiments.plan import Dataset
from experiments.results import Result
from experiments.tables import Table
from quantum_rerank.evaluation import NDCG, Scores
from quantum_rerank.evaluation.comparison import paired_standard_error

PAGE = "few-labels.md"
MODEL, BASELINE = "tuned", "bm25_cosine"

_LEADS = {
    "minus bm25_cosine (in standard errors)": BASELINE,
    "minus first_stage (in standard errors)": "first_stage",
}
"""Column -> the model that `tuned` is compared with."""


@dataclass(frozen=True)
class Lead:
    """Mean difference of two models over test queries, each query's mean over seeds.

    Attributes:
        difference: NDCG@10 of the model minus that of the other.
        standard_error: Its standard error over test queries.
    """

    difference: float
    standard_error: float

    @property
    def in_errors(self) -> float:
        """The difference in standard errors; 0 where the models rank alike."""
        return self.difference / self.standard_error if self.standard_error else 0.0


@dataclass(frozen=True)
class MeasuredCut:
    """The models on one collection with one number of training queries.

    Attributes:
        name: The data set.
        n_queries: The number of training queries.
        scores: Model -> its scores, each query's mean over the seeds that tested on it.
        fusion_weights: The tuned model's weight of each seed.
    """

    name: str
    n_queries: int
    scores: dict[str, Scores]
    fusion_weights: tuple[float, ...]

    def lead(self, model: str, other: str) -> Lead:
        """Compare two models over the test queries."""
        ours, theirs = self.scores[model], self.scores[other]
        error = paired_standard_error(ours.per_query[NDCG], theirs.per_query[NDCG], ours.domains)
        return Lead(ours.metrics[NDCG] - theirs.metrics[NDCG], error)


def measured_cuts(cuts: Sequence[Dataset], results: Iterable[Result]) -> list[MeasuredCut]:
    """Return the scores of every cut that was measured.

    Args:
        cuts: Data sets with their numbers of training queries.
        results: Results of all models.
    """
    of_cuts = []
    for cut in cuts:
        of_cut = [result for result in results if result.dataset == cut.name]
        name = cut.collections["test"]
        by_model = measured(of_cut).get(name, {})
        weights = [r.record["fusion_weight"] for r in of_cut if r.name == MODEL and not r.failed]
        scores = {model: averaged(by_seed) for model, by_seed in by_model.items()}
        collection = cut.name.rpartition("-")[0]
        of_cuts.append(MeasuredCut(collection, cut.train_queries or 0, scores, tuple(weights)))
    return of_cuts


def document(
    cuts: Sequence[MeasuredCut],
    draws: Sequence[MeasuredCut],
    n_seeds: int,
    left_out: Sequence[str],
) -> str:
    """Return the page in Markdown.

    Args:
        cuts: Every measured cut.
        draws: The smallest cuts over more seeds.
        n_seeds: Number of seeds.
        left_out: Names of collections that were not available.
    """
    few = [cut for cut in cuts if cut.n_queries <= FEW[-1] and cut.name not in CURVE_ONLY]
    without = tuple(name for name in COMPARED if name != "discriminant")
    curve = [cut for cut in cuts if cut.name in CURVE_COLLECTIONS]
    parts = [_INTRODUCTION.format(n_seeds=n_seeds)]
    if left_out:
        parts.append(f"Not available and left out: {', '.join(left_out)}.")
    parts += ["## 20, 50 and 100 training queries", *_sentences(few), _table(few, COMPARED)]
    if draws:
        title = f"## {FEW[0]} training queries, {DRAWS * n_seeds} seeds"
        parts += [title, _DRAWS, *_sentences(draws), _table(draws, without)]
    if curve:
        parts += ["## Learning curve", _CURVE, _table(curve, without)]
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """\
# Few training queries

Printed by `python -m experiments.few_labels --beir FOLDER`, means over {n_seeds} seeds. Results \
are files below `runs/few-labels`, so that the same command resumes.

Training and validation queries are cut together, in the same proportion, as if the other queries \
had not been judged: 20 training queries come with about 7 validation queries, and a collection \
keeps at least one of each. The subsets of a seed are nested. Test queries are not cut. A \
collection with fewer training queries is measured with all of them.

`tuned` has the configuration of [the experiments](experiments.md), whose hyperparameters were \
searched with all labels of ICD-10-CM. `bm25_cosine` and `first_stage` are BM25 over words, and \
over stems and 4-grams, each fused with the cosine by the weight that is best on the validation \
queries. `discriminant` is the linear map in closed form.

The rules by which `tuned` is held back where validation queries are few were chosen on training \
and validation queries of ICD-10-CM chapters and `gpe` topics, but for the need of a prior, which \
`zaragoza` with 20 training queries had shown, see \
[Models and losses](models.md#few-validation-queries)."""

_DRAWS = """\
The standard errors are over test queries. They do not cover which queries were judged, on which \
the fitted weights depend most where there are few. More seeds average over it."""

_CURVE = """\
Of `icd10`, the 12 chapters of the experiments are trained and tested on, without unseen chapters: \
whoever has few labels has none of another domain to choose on."""


def _sentences(cuts: Sequence[MeasuredCut]) -> list[str]:
    leads = [(cut, cut.lead(MODEL, BASELINE)) for cut in cuts if _has(cut, MODEL, BASELINE)]
    if not leads:
        return []
    below = [
        f"{cut.name} with {cut.n_queries} ({lead.in_errors:+.1f} standard errors)"
        for cut, lead in leads
        if lead.in_errors < -1.0
    ]
    mean = fmean(lead.difference for _, lead in leads)
    summary = f"`{MODEL}` minus `{BASELINE}` is {mean:+.4f} on average over {len(leads)} rows. It "
    if not below:
        return [f"{summary}is below by more than one standard error on none."]
    return [f"{summary}is below by more than one standard error on {', '.join(below)}."]


def _table(cuts: Sequence[MeasuredCut], names: Sequence[str]) -> str:
    models = [name for name in names if any(name in cut.scores for cut in cuts)]
    rows = tuple(_row(cut, models) for cut in cuts)
    columns = ("collection", "training queries", "test queries, all seeds", *models)
    return Table("NDCG@10", (*columns, *_LEADS, "weight 0"), rows).markdown()


def _row(cut: MeasuredCut, models: Sequence[str]) -> tuple[str, ...]:
    n_test = max((len(scores.per_query[NDCG]) for scores in cut.scores.values()), default=0)
    values = [
        f"{cut.scores[name].metrics[NDCG]:.4f}" if name in cut.scores else "" for name in models
    ]
    leads = [_lead(cut, other) for other in _LEADS.values()]
    zero = sum(weight == 0.0 for weight in cut.fusion_weights)
    counts = (cut.name, f"{cut.n_queries:,}", str(n_test))
    return (*counts, *values, *leads, f"{zero} of {len(cut.fusion_weights)}")


def _lead(cut: MeasuredCut, other: str) -> str:
    if not _has(cut, MODEL, other):
        return ""
    lead = cut.lead(MODEL, other)
    return f"{lead.difference:+.4f} ({lead.in_errors:+.1f})"


def _has(cut: MeasuredCut, *names: str) -> bool:
    return all(name in cut.scores for name in names)
