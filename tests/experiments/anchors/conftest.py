"""The four small domains with the encoder of the experiments and a lexical score."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.anchors.encoder import Texts, data_texts
from experiments.plan import Task
from quantum_rerank.config import DataConfig, ExperimentConfig
from quantum_rerank.embeddings import source_of
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.trial_data import PreparedData


@pytest.fixture(scope="session")
def anchor_data(data_config: DataConfig) -> DataConfig:
    return data_config.model_copy(update={"encoder": "minilm", "lexical": "stems+ngrams"})


@pytest.fixture(scope="session")
def with_texts(anchor_data: DataConfig) -> PreparedData:
    return prepare(anchor_data, source_of(anchor_data))


@pytest.fixture(scope="session")
def texts(anchor_data: DataConfig) -> Texts:
    return data_texts(anchor_data, 2)


@pytest.fixture
def task(
    small_config: Callable[..., ExperimentConfig], anchor_data: DataConfig
) -> Callable[..., Task]:
    def build(name: str, model: str = "") -> Task:
        config = small_config({"model": "cosine", "seed": 1})
        return Task("woods", name, model or name, config.model_copy(update={"data": anchor_data}))

    return build
