"""Define a search space in Python, search it, and use the winner.

    python examples/tune.py

The search runs as `quantum-rerank tune` does, in this process.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from quantum_rerank.cli.main import app
from quantum_rerank.reranker import Reranker

SPACE = {
    "name": "example",
    "base": str(Path("configs/training_config.yaml").resolve()),
    "data": {"seen": ["csv:examples/clicks.csv"]},
    "fixed": {"warmup.steps": 50},
    "budget": {"trials": 3, "epochs": 2, "trial_memory_gb": 4},
    "top_k": 1,
    "confirm_seeds": 1,
    "parameters": {
        "optimizer.mlp_lr": {"type": "float", "low": 0.0003, "high": 0.003, "log": True},
        "circuit.n_layers": {"type": "int", "low": 1, "high": 3},
    },
}


def main() -> None:
    """Search three trials and rank documents with the best."""
    with TemporaryDirectory() as folder:
        space, run = Path(folder) / "space.yaml", Path(folder) / "run"
        space.write_text(json.dumps(SPACE), encoding="utf-8")  # JSON is valid YAML
        app(["tune", "--space", str(space), "--output", str(run)], standalone_mode=False)
        reranker = Reranker.load(run)
        documents = ["Figs ripen in late summer.", "Oaks are pruned in winter."]
        for hit in reranker.rank("pruning an oak", documents):
            print(f"{hit.score:.3f}  {hit.document}")


if __name__ == "__main__":
    main()
