"""Look-up of a text model by its name."""

from __future__ import annotations

from quantum_rerank.embeddings.sentence_transformers_model import SentenceTransformersModel
from quantum_rerank.embeddings.settings import EncoderSettings
from quantum_rerank.embeddings.text_models import ENCODERS, TextModel


def text_model(name: str, settings: EncoderSettings | None = None) -> TextModel:
    """Return the model of a name. Nothing is loaded before its first use.

    Args:
        name: Name in ENCODERS. Other names are left to sentence-transformers: a name on the hub,
            or a folder.
        settings: Settings of the encoder. Defaults to `EncoderSettings()`.
    """
    settings = settings or EncoderSettings()
    if name in ENCODERS:
        return ENCODERS[name](settings)
    return SentenceTransformersModel(name, settings)
