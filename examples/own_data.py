"""Train a reranker on a table of clicks, and rank documents with it.

    python examples/own_data.py

Use a table of your own in the place of examples/clicks.csv: docs/data.md describes the formats.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from quantum_rerank.config import load_config
from quantum_rerank.reranker import Reranker
from quantum_rerank.workflows.train import RunListener, train_run

CHANGES = {
    "data.seen": ["csv:examples/clicks.csv"],
    "training.max_epochs": 5,  # the file has 30; a few are enough for 48 queries
    "warmup.steps": 100,
}


def main() -> None:
    """Train one model beside the cosine, print their validation scores, and rank documents."""
    config = load_config(Path("configs/tuned_config.yaml"), CHANGES)
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        finished = train_run(run, config, [], RunListener())
        for name, model in finished.results.measured.items():
            print(f"{name}: validation NDCG@10 {model.validation.objective:.4f}")
        reranker = Reranker.load(run)
        documents = ["Figs ripen in late summer.", "Oaks are pruned in winter."]
        for hit in reranker.rank("pruning an oak", documents):
            print(f"{hit.score:.3f}  {hit.document}")


if __name__ == "__main__":
    main()
