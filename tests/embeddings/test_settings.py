from __future__ import annotations

import pytest

from quantum_rerank.embeddings import EncoderSettings, Role, TextEncoder
from quantum_rerank.embeddings.settings import require_device
from quantum_rerank.errors import EmbeddingError


def test_each_role_has_its_prompt() -> None:
    settings = EncoderSettings("query: ", "passage: ")
    assert settings.prompt(Role.QUERY) == "query: "
    assert settings.prompt(Role.DOCUMENT) == "passage: "


@pytest.mark.parametrize("device", ["cpu", "auto", "cpu:0"])
def test_an_existing_device_is_accepted(device: str) -> None:
    require_device(device)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta", "", "cpu,cuda"])
def test_a_missing_device_is_refused_with_the_usable_ones(device: str) -> None:
    pattern = rf"The device `{device}` cannot be used here: .*\. Give `cpu`.* or `auto`\."
    with pytest.raises(EmbeddingError, match=pattern):
        TextEncoder("minilm", settings=EncoderSettings(device=device))
