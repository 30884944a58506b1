"""The model card: the README of a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator

from quantum_rerank.config import DataConfig, ExperimentConfig
from quantum_rerank.export.manifest import Manifest
from quantum_rerank.plural import counted
from quantum_rerank.similarity import MODELS

_USE = """```python
from quantum_rerank.reranker import Reranker
Reranker.load("this/folder").rank("a query", ["a document", "another"], top_k=10)
```"""

_LIMITS = (
    "The model reranks the candidates of a first retrieval in the domains that it was trained on. "
    "In other domains it can be worse than plain cosine. No quantum advantage is claimed: the "
    "circuit is simulated on a classical computer."
)


def model_card(manifest: Manifest) -> str:
    """Return the model card in Markdown: model, use, training, results and limits."""
    parts = [
        f"# Reranker `{manifest.config.model}`",
        "\n".join(_model(manifest)),
        _USE,
        "## Training\n" + "\n".join(_training(manifest)),
        "## Results\n" + "\n".join(_results(manifest)),
        "These are the results of one training with one seed. Another seed gives other values.",
        "## Limits\n" + _LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _model(manifest: Manifest) -> Iterator[str]:
    config = manifest.config
    model = MODELS[config.model]
    first = "first stage" if config.has_lexical_part else "cosine"
    yield (
        f"Score = (1 - w) {first} + w affinity, w = {manifest.fusion_weight:.2f}, over "
        f"`{config.data.encoder}` embeddings ({manifest.embedding_dim}-d)."
    )
    if config.has_lexical_part:
        weight = manifest.metrics.get("validation", {}).get("lexical_weight", 0.0)
        yield (
            f"First stage = (1 - v) cosine + v BM25, v = {weight:.2f}, over {config.data.lexical} "
            f"({config.data.language})."
        )
    yield from _prompts(config.data)
    if config.fusion.gate == "nearest":
        yield "w decreases for queries that are far from the training queries."
    yield f"Affinity: {model.description}."
    for component, text in _components(config).items():
        if component in model.components:
            yield text


def _components(config: ExperimentConfig) -> dict[str, str]:
    """Return component of a model -> its description."""
    circuit = config.circuit
    return {
        "state": f"State: {circuit.n_qubits} qubits, simulated exactly.",
        "circuit": f"Circuit: {counted(circuit.n_layers, 'layer')}.",
        "entangler": f"Entangler: `{circuit.entangler}`.",
        "mlp": f"MLP: {list(config.mlp.hidden_layers)}.",
        "linear": f"Rank: {config.linear.rank}.",
    }


def _prompts(data: DataConfig) -> Iterator[str]:
    for kind, prompt in (("query", data.query_prompt), ("document", data.document_prompt)):
        if prompt:
            yield f"Text before each {kind}: `{json.dumps(prompt, ensure_ascii=False)}`."


def _training(manifest: Manifest) -> Iterator[str]:
    config = manifest.config
    unseen = config.data.unseen_validation
    also = f" and of {', '.join(unseen)}" if unseen else ""
    yield (
        f"Trained on {', '.join(config.data.seen)}. The epoch and w were chosen on the validation "
        f"queries of these domains{also}. "
        f"Loss `{config.loss.name}`, seed {config.seed}."
    )
    yield f"Data fingerprint: `{manifest.data_fingerprint}`."


def _results(manifest: Manifest) -> Iterator[str]:
    yield "| queries | metric | value |"
    yield "|---|---|---|"
    for role, metrics in manifest.metrics.items():
        for name, value in metrics.items():
            yield f"| {role} | {name} | {value:.4f} |"
