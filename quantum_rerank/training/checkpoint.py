"""The best epoch of a training on disk: weights as safetensors, the rest as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from quantum_rerank.config import ExperimentConfig, build_config
from quantum_rerank.errors import BundleError
from quantum_rerank.similarity import Head, build_head
from quantum_rerank.training.ranking import Validation
from quantum_rerank.training.trainer import BestModel

WEIGHTS, RECORD = "model.safetensors", "checkpoint.json"


def save_checkpoint(
    folder: Path, best: BestModel, config: ExperimentConfig, embedding_dim: int
) -> None:
    """Write the best epoch into an existing folder."""
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in best.head.items()}, folder / WEIGHTS)
    record = {
        "epoch": best.epoch,
        "embedding_dim": embedding_dim,
        "validation": asdict(best.validation),
        "config": config.model_dump(mode="json"),
    }
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")


def load_checkpoint(folder: Path) -> tuple[Head, Validation, ExperimentConfig, int]:
    """Read a checkpoint: the head, its validation, its configuration, and its epoch.

    Raises: BundleError if it is not there or does not fit together.
    """
    from safetensors.torch import load_file

    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        config = build_config(record["config"])
        head = build_head(embedding_dim=record["embedding_dim"], **config.head_arguments())
        head.load_state_dict(load_file(folder / WEIGHTS))
    except Exception as error:  # JSON, safetensors and torch each have their own kinds
        raise BundleError(f"The checkpoint `{folder}` cannot be read: {error}.") from None
    return head.eval(), Validation(**record["validation"]), config, int(record["epoch"])
