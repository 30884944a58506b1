from __future__ import annotations

from pathlib import Path

import numpy as np

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import Collection
from quantum_rerank.embeddings import (
    TextEncoder,
    embedding_source,
    source_of,
)
from quantum_rerank.embeddings.arrays import ArraySource


def test_a_source_is_chosen_by_its_name_without_loading_it(tmp_path: Path) -> None:
    assert isinstance(embedding_source("minilm"), TextEncoder)
    assert isinstance(embedding_source(f"npy:{tmp_path / 'nowhere'}"), ArraySource)


def test_a_collection_is_embedded_by_the_roles_of_its_texts(
    words_encoder: str, trees: Collection
) -> None:
    data = DataConfig(encoder=words_encoder, query_prompt="query: ", document_prompt="passage: ")
    queries, documents = source_of(data).embed(trees)
    bare = TextEncoder(words_encoder)
    for found, texts, prompt in (
        (queries, trees.queries, "query: "),
        (documents, trees.corpus, "passage: "),
    ):
        expected = bare.encode([prompt + text for text in texts.values()])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
