from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.embeddings import Embeddings, ExampleTexts, TextEncoder
from quantum_rerank.errors import BundleError, DataError, EmbeddingError
from quantum_rerank.export import Manifest, export_model
from quantum_rerank.reranker import Reranker
from quantum_rerank.similarity import build_head

DIM = 3


class ReadVectors(Reranker):
    """A reranker that reads a text's vector off the text: `1 0 0`."""

    def scores(self, query: str, documents: Sequence[str]) -> Any:
        return self.scores_of_embeddings(vector(query), np.stack([vector(d) for d in documents]))


def vector(text: str) -> Embeddings:
    values = np.array([float(word) for word in text.split()], dtype=np.float32)
    unit: Embeddings = values / np.linalg.norm(values)
    return unit


@pytest.fixture
def manifest(small_config: Callable[..., ExperimentConfig]) -> Manifest:
    config = override(small_config({"arm": "cosine"}), {"data.encoder": "npy:vectors"})
    return Manifest(config, DIM, 0.5, "npy:vectors", "abc", {})


@pytest.fixture
def reranker(manifest: Manifest) -> ReadVectors:
    head = build_head(embedding_dim=DIM, **manifest.config.head_arguments())
    return ReadVectors(head, manifest)


DOCUMENTS = ["0 1 0", "1 0 0", "1 1 0", "0 0 1"]


def test_documents_come_best_first_with_their_place_and_score(reranker: ReadVectors) -> None:
    ranked = reranker.rank("1 0.1 0", DOCUMENTS)
    assert [one.document for one in ranked] == ["1 0 0", "1 1 0", "0 1 0", "0 0 1"]
    assert [one.index for one in ranked] == [1, 2, 0, 3]
    scores = reranker.scores("1 0.1 0", DOCUMENTS)
    assert [one.score for one in ranked] == sorted(scores, reverse=True)


def test_equal_documents_stay_in_the_order_given(reranker: ReadVectors) -> None:
    assert [one.index for one in reranker.rank("1 0 0", ["0 1 0", "0 0 1", "0 1 0"])] == [0, 1, 2]


@pytest.mark.parametrize(("top_k", "n"), [(None, 4), (1, 1), (2, 2), (4, 4), (100, 4)])
def test_at_most_top_k_documents_are_returned(
    reranker: ReadVectors, top_k: int | None, n: int
) -> None:
    ranked = reranker.rank("1 0.1 0", DOCUMENTS, top_k)
    assert ranked == reranker.rank("1 0.1 0", DOCUMENTS)[:n]
    assert len(ranked) == n


@pytest.mark.parametrize("top_k", [0, -1])
def test_a_top_k_below_one_is_refused(reranker: ReadVectors, top_k: int) -> None:
    with pytest.raises(DataError, match=f"`top_k` is {top_k}, but must be at least 1"):
        reranker.rank("1 0 0", DOCUMENTS, top_k)


@pytest.fixture
def plain(manifest: Manifest) -> Reranker:
    """A reranker without an encoder that it could ask."""
    return Reranker(build_head(embedding_dim=DIM, **manifest.config.head_arguments()), manifest)


@pytest.mark.parametrize("query", ["", "  \n"])
@pytest.mark.parametrize("documents", [[], ["a document"]])
def test_a_query_without_text_is_refused(plain: Reranker, query: str, documents: list[str]) -> None:
    with pytest.raises(DataError, match="The query has no text"):
        plain.rank(query, documents)


def test_no_documents_give_no_ranking(plain: Reranker) -> None:
    assert plain.rank("a query", []) == []
    assert plain.rank("a query", [], top_k=3) == []
    assert plain.scores("a query", []).shape == (0,)


def test_no_vectors_give_no_scores(plain: Reranker) -> None:
    none = np.empty((0, DIM), dtype=np.float32)
    assert plain.scores_of_embeddings(vector("1 0 0"), none).shape == (0,)


@pytest.mark.parametrize(
    ("query", "documents"),
    [((4,), (2, 3)), ((3,), (2, 4)), ((1, 3), (2, 3)), ((3,), (3,)), ((3,), (2, 2, 3))],
)
def test_vectors_of_a_wrong_shape_are_refused(
    plain: Reranker, query: tuple[int, ...], documents: tuple[int, ...]
) -> None:
    with pytest.raises(EmbeddingError, match=r"must be \(3,\) and \(n, 3\)"):
        plain.scores_of_embeddings(
            np.ones(query, dtype=np.float32), np.ones(documents, dtype=np.float32)
        )


def test_texts_cannot_be_ranked_by_a_model_of_bare_vectors(plain: Reranker) -> None:
    with pytest.raises(EmbeddingError, match="Call `scores_of_embeddings`"):
        plain.rank("a query", ["a document"])


def test_another_encoder_than_the_one_trained_with_is_refused(
    manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    config = override(manifest.config, {"data.encoder": str(tmp_path)})
    head = build_head(embedding_dim=DIM, **config.head_arguments())
    moved = Reranker(head, replace(manifest, config=config, encoder_fingerprint="minilm@0123"))
    with pytest.raises(BundleError, match="but the model was trained with `minilm@0123`"):
        moved.rank("a query", ["a document"])


@pytest.mark.slow  # imports sentence-transformers
def test_texts_are_ranked_with_the_scores_of_the_manifest(
    small_config: Callable[..., ExperimentConfig], tmp_path: Path
) -> None:
    encoder = TextEncoder("minilm", tmp_path / "cache")
    query = "fear of spiders"
    documents = ("Broken left ankle", "Arachnophobia", "Fear of heights")
    vectors = encoder.encode([query, *documents])
    example = ExampleTexts(query, vectors[0], documents, vectors[1:])
    torch.manual_seed(0)
    config = small_config({"data.encoder": "minilm"})
    head = build_head(embedding_dim=384, **config.head_arguments())
    bundle = export_model(
        tmp_path / "bundle", head, config, 0.3, encoder.fingerprint, "abc", {}, [example]
    )
    reranker = Reranker.load(bundle)
    (kept,) = reranker.manifest.examples
    ranked = reranker.rank(kept.query, kept.documents)
    assert ranked[0].score == max(one.score for one in ranked)
    assert {one.document for one in ranked} == set(documents)
    for one in ranked:
        assert one.score == pytest.approx(kept.scores[one.index], abs=1e-5)
