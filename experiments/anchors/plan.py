"""The rows of the anchors, and those of the experiments that they are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.plan import TUNED, Dataset, Setup, Task, tasks
from quantum_rerank.evaluation import COSINE
from quantum_rerank.training.models import FIRST_STAGE

LAMBDAMART, ENCODER, ENCODER_BM25 = "lambdamart", "encoder", "encoder_bm25"
DISCRIMINANT = "discriminant"
TRAINED = (LAMBDAMART, ENCODER)
ANCHORS = (*TRAINED, ENCODER_BM25)
COMPARED = (COSINE, "bm25_cosine", FIRST_STAGE, DISCRIMINANT, TUNED)
"""The rows of the experiments that are shown beside the anchors."""

DESCRIPTIONS = {
    LAMBDAMART: "gradient boosted trees over the cosine, two BM25 scores and their ranks",
    ENCODER: "cosine of the fine-tuned encoder",
    ENCODER_BM25: "`first_stage` fused with the same, without the gate of `tuned`",
    COSINE: "cosine of the frozen encoder",
    "bm25_cosine": "the cosine fused with BM25 of words",
    FIRST_STAGE: "the cosine fused with BM25 of stems and n-grams",
    DISCRIMINANT: "`first_stage` fused with the linear discriminant of the training queries",
    TUNED: "`first_stage` fused with the tuned hybrid",
}


def anchor_tasks(
    datasets: Sequence[Dataset], first_stage: Setup, names: Sequence[str], seeds: Sequence[int]
) -> list[Task]:
    """Return the trainings of anchors, on the data of the row `first_stage`.

    Args:
        datasets: The data sets.
        first_stage: The row, whose data have the lexical score.
        names: The anchors to train.
        seeds: The seeds. Those of the data set of the search have the same split.
    """
    rows = {name: Setup(name, first_stage.config) for name in names}
    return tasks(datasets, rows, seeds, "minilm")
