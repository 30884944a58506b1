"""The term frequencies of a bundle, as safetensors: numbers of terms, no texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.lexical import LexicalKind, Lexicon, TermStatistics, extractors_of

_TERMS, _FREQUENCIES, _CORPUS = "terms", "frequencies", "corpus"


def lexicon_bytes(lexicon: Lexicon) -> bytes:
    """Serialize term frequencies.

    Args:
        lexicon: Term frequencies of each kind of terms.
    """
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {}
    for extractor, statistics in zip(lexicon.extractors, lexicon.statistics, strict=True):
        corpus = np.array([statistics.n_documents, statistics.mean_length], np.float64)
        tensors |= {
            f"{extractor.kind}.{_TERMS}": statistics.terms,
            f"{extractor.kind}.{_FREQUENCIES}": statistics.frequencies,
            f"{extractor.kind}.{_CORPUS}": corpus,
        }
    return save(tensors)


def read_lexicon(content: bytes, kind: LexicalKind, language: str) -> Lexicon:
    """Read term frequencies that `lexicon_bytes` wrote.

    Args:
        content: Bytes of the file.
        kind: Kinds of terms of the model.
        language: Language of the model.

    Raises:
        KeyError: The frequencies of a kind are missing.
        ValueError: The numbers are not frequencies of a corpus.
    """
    from safetensors.numpy import load

    tensors = load(content)
    kinds = [extractor.kind for extractor in extractors_of(kind, language)]
    return Lexicon(kind, language, tuple(_statistics(tensors, name) for name in kinds))


def _statistics(tensors: Mapping[str, NDArray[Any]], kind: str) -> TermStatistics:
    terms, frequencies = tensors[f"{kind}.{_TERMS}"], tensors[f"{kind}.{_FREQUENCIES}"]
    corpus = tensors[f"{kind}.{_CORPUS}"]
    if terms.ndim != 1 or terms.shape != frequencies.shape or corpus.shape != (2,):
        raise ValueError(f"the shapes of the {kind} do not fit each other")
    if not terms.dtype == frequencies.dtype == np.int64 or corpus.dtype != np.float64:
        raise ValueError(f"the {kind} have other types of numbers")
    n_documents, mean_length = float(corpus[0]), float(corpus[1])
    if not (np.isfinite(corpus).all() and n_documents >= 0 and mean_length >= 0):
        raise ValueError(f"the {kind} are of {n_documents} documents of {mean_length} terms")
    if (np.diff(terms) <= 0).any():
        raise ValueError(f"the {kind} are not in ascending order")
    if ((frequencies < 1) | (frequencies > n_documents)).any():
        raise ValueError(f"the {kind} have frequencies outside of 1 to {n_documents:.0f}")
    return TermStatistics(terms, frequencies, int(n_documents), mean_length)
