"""Values and tensors as bytes, with a hash that detects truncation and changes.

The format is safetensors, which is read without pickle:

    0, 1, 2, ...   the tensors
    json           all other values as text, with placeholders for the tensors
    sha256         hash of all the others
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from quantum_rerank.errors import BundleError

SCHEMA_VERSION = 2
_JSON, _SHA256 = "json", "sha256"
_TENSOR = "$tensor"  # placeholder of a tensor in the text, with its number


def dumps(content: Mapping[str, Any]) -> bytes:
    """Serialize values that JSON supports, with tensors anywhere among them.

    Args:
        content: Name -> value.

    Raises:
        TypeError: A value is neither a tensor nor supported by JSON.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}

    def replace_tensor(value: object) -> dict[str, str]:
        if not isinstance(value, Tensor):
            raise TypeError(f"A {type(value).__name__} cannot be written as JSON.")
        number = str(len(tensors))
        tensors[number] = value.contiguous()
        return {_TENSOR: number}

    text = json.dumps({"schema_version": SCHEMA_VERSION, **content}, default=replace_tensor)
    tensors[_JSON] = _as_tensor(text.encode())
    tensors[_SHA256] = _as_tensor(_sha256(tensors))
    return save(tensors)


def loads(content: bytes, name: str) -> dict[str, Any]:
    """Read the values that `dumps` wrote.

    Args:
        content: The bytes.
        name: Name of the file for error messages.

    Raises:
        BundleError: The bytes were cut off or altered, or are of another version.
    """
    from safetensors.torch import load

    try:
        tensors = load(content)
        whole = tensors.pop(_SHA256).numpy().tobytes() == _sha256(tensors)
    except Exception:  # safetensors and torch each have their own kinds
        whole = False
    if not whole:
        raise BundleError(
            f"{name} ({len(content)} bytes) was cut off or altered: its SHA-256 does not "
            "match. Use an earlier version, or train again."
        )

    def insert_tensor(value: dict[str, Any]) -> Any:
        return tensors[value[_TENSOR]] if _TENSOR in value else value

    try:
        record = dict(json.loads(tensors[_JSON].numpy().tobytes(), object_hook=insert_tensor))
    except (KeyError, TypeError, ValueError, RecursionError):
        raise BundleError(f"{name} is damaged: its values cannot be read.") from None
    if record.get("schema_version") != SCHEMA_VERSION:
        raise BundleError(
            f"{name} has the schema version {record.get('schema_version')}, but this package "
            f"reads {SCHEMA_VERSION}. Use the package that wrote it, or train again."
        )
    return record


def require_maker(recorded: object, expected: Mapping[str, Any] | None, name: str) -> None:
    """Check that a file was written by the expected training.

    Args:
        recorded: Identity of the training in the file, as its writer stored it.
        expected: Name -> value that the file must have; other names are not compared. None:
            any training is accepted.
        name: Name of the file for error messages.

    Raises:
        BundleError: The file has no identity, or that of another training.
    """
    if expected is None:
        return
    if not isinstance(recorded, Mapping):
        raise BundleError(
            f"{name} does not say which training it is of: an earlier version wrote it, or it was "
            "altered. Train again."
        )
    for key, value in expected.items():
        if recorded.get(key) != value:
            there, here = (str(v)[:12] or "empty" for v in (recorded.get(key), value))
            raise BundleError(
                f"{name} is of another training: its {key} is {there}, but {here} is expected "
                "here. Put back the file that belongs here, or train again."
            )


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _sha256(tensors: Mapping[str, Tensor]) -> bytes:
    """Hash names, types, shapes and values in place; the bytes of a file would be a copy."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        digest.update(tensor.flatten().numpy().data)
    return digest.digest()
