"""Random texts and an untrained model of the tuned configuration, for benchmarks of indexes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.embeddings import Embeddings
from quantum_rerank.export import Manifest, write_bundle
from quantum_rerank.lexical import LexicalKind, index_texts
from quantum_rerank.similarity import build_head

EMBEDDING_DIM = 384
ENCODER = "npy:random"
GATE_QUERIES = 1000
LEXICAL: LexicalKind = "stems+ngrams"
TUNED: dict[str, Any] = {
    "model": "hybrid_amplitude",
    "circuit.n_qubits": 6,
    "circuit.engine": "statevector",
    "mlp.hidden_layers": [1024],
    "mlp.linear_path": "discriminant",
    "data.encoder": ENCODER,
}
"""The model of `configs/tuned_config.yaml`, without its gate and lexical part."""

_ONSETS = [*"bcdfghjklmnprstvw", "st", "tr", "pr", "ch", "th", "sh", "br", "cl", "gr"]
_VOWELS = [*"aeiou", "ea", "ou", "io"]
_CODAS = ["", "", "", "n", "r", "s", "t", "l", "nd", "st"]
_BLOCK = 2**14  # texts drawn at once


class RandomTexts:
    """Texts of 10 to 30 words, whose frequencies follow the law of Zipf and Mandelbrot.

    Args:
        n_words: Number of distinct words, of one to four syllables. Frequent ones are short.
        rng: Draws the words and the texts.
    """

    def __init__(self, n_words: int, rng: np.random.Generator) -> None:
        words: dict[str, None] = {}
        while len(words) < n_words:
            parts = [rng.choice(kind, (n_words, 4)) for kind in (_ONSETS, _VOWELS, _CODAS)]
            lengths = rng.integers(1, 5, n_words)
            for row, length in enumerate(lengths):
                syllables = ("".join(part[row, i] for part in parts) for i in range(length))
                words["".join(syllables)] = None
        self._words = sorted(list(words)[:n_words], key=len)
        frequencies = (np.arange(n_words) + 2.7) ** -1.07
        self._cumulative = np.cumsum(frequencies / frequencies.sum())
        self._rng = rng

    def draw(self, n: int, shortest: int = 10, longest: int = 30) -> Iterator[str]:
        """Yield n texts of some numbers of words."""
        for start in range(0, n, _BLOCK):
            lengths = self._rng.integers(shortest, longest + 1, min(_BLOCK, n - start))
            ranks = np.searchsorted(self._cumulative, self._rng.random(int(lengths.sum())))
            numbers = iter(ranks.clip(max=len(self._words) - 1).tolist())
            for length in lengths.tolist():
                yield " ".join(self._words[next(numbers)] for _ in range(length))


def unit_rows(n: int, rng: np.random.Generator) -> Embeddings:
    """Return random unit vectors, (n, dim) float32."""
    rows = rng.standard_normal((n, EMBEDDING_DIM), dtype=np.float32)
    unit: Embeddings = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def write_untrained(folder: Path, changes: dict[str, Any], texts: list[str] | None = None) -> Path:
    """Write a bundle of a model before training.

    Args:
        folder: A new folder.
        changes: Configuration key -> value. A lexical part and a gate, if there are any, are
            used: half of the first stage is BM25, and the gate has `GATE_QUERIES` queries.
        texts: Texts of the lexical part's frequencies.
    """
    config = override(ExperimentConfig(), {"data.encoder": ENCODER, **changes})
    torch.manual_seed(0)
    head = build_head(config.resolved(), EMBEDDING_DIM)
    lexicon = None
    if head.lexical is not None:
        head.lexical.weight.fill_(0.5)
        head.lexical.weight_alone.fill_(0.5)
        lexicon = index_texts(texts or [], LEXICAL, config.data.language).lexicon
    if head.gate is not None:
        head.gate.queries = torch.from_numpy(unit_rows(GATE_QUERIES, np.random.default_rng(1)))
        head.gate.high.fill_(0.5)
    manifest = Manifest(
        config=config,
        embedding_dim=EMBEDDING_DIM,
        fusion_weight=config.fusion.initial_weight,
        encoder_fingerprint=ENCODER,
        data_fingerprint="untrained",
        metrics={},
    )
    return write_bundle(folder, head.state_dict(), manifest, lexicon)
