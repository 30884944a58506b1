from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quantum_rerank.datasets import Collection, load_collection


@pytest.fixture
def trees(beir_folder: Callable[..., Path]) -> Collection:
    return load_collection(f"beir:{beir_folder('trees')}")
