"""Settings of an encoder: prompts, device, batch size, progress."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from quantum_rerank.errors import EmbeddingError, first_line

CPU, AUTO = "cpu", "auto"


class Role(StrEnum):
    """Role of a text in retrieval. Some encoders embed queries and documents differently."""

    QUERY = "query"
    DOCUMENT = "document"


@dataclass(frozen=True)
class EncoderSettings:
    """Settings of an encoder.

    Attributes:
        query_prompt: Text put before each query; None for the model's prompt, an empty string
            for no prompt.
        document_prompt: The same for documents.
        device: Device of torch (`cpu`, `cuda`, `cuda:1`, `mps`), or `auto` for the fastest.
            Vectors of different devices differ in their last digits.
        batch_size: Number of texts per batch.
        show_progress_bar: Show the progress of embedding a collection.
    """

    query_prompt: str | None = None
    document_prompt: str | None = None
    device: str = CPU
    batch_size: int = 32
    show_progress_bar: bool = True

    def prompt(self, role: Role) -> str | None:
        """Return the configured prompt of a role."""
        return self.query_prompt if role is Role.QUERY else self.document_prompt


def require_device(device: str) -> None:
    """Refuse a device that torch cannot use. For `cpu` and `auto` torch is not imported.

    Raises:
        EmbeddingError: torch cannot use the device. The message lists usable ones.
    """
    if device in (CPU, AUTO):
        return
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # each device raises errors of its own
        usable = [CPU]
        usable += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        usable += ["mps"] if torch.backends.mps.is_available() else []
        raise EmbeddingError(
            f"The device `{device}` cannot be used here: {first_line(error)}. "
            f"Give {', '.join(f'`{name}`' for name in usable)}, or `auto`."
        ) from None
