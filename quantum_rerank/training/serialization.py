"""Values and tensors as bytes that are refused where they were cut off or altered.

They are safetensors, so that reading them runs no pickle:

    0, 1, 2, ...   the tensors
    json           everything else, as text, with the places that the tensors have in it
    sha256         of all the others
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
_TENSOR = "$tensor"  # stands in the text for a tensor, with its number


def dumps(content: Mapping[str, Any]) -> bytes:
    """Write values down: what JSON knows, with tensors anywhere among them."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}

    def set_apart(value: object) -> dict[str, str]:
        if not isinstance(value, Tensor):
            raise TypeError(f"A {type(value).__name__} cannot be written down as JSON.")
        number = str(len(tensors))
        tensors[number] = value.contiguous()
        return {_TENSOR: number}

    text = json.dumps({"schema_version": SCHEMA_VERSION, **content}, default=set_apart)
    tensors[_JSON] = _as_tensor(text.encode())
    tensors[_SHA256] = _as_tensor(_sha256(tensors))
    return save(tensors)


def loads(content: bytes, name: str) -> dict[str, Any]:
    """Read what `seal` wrote, every tensor back in its place.

    name: what it is called in an error.
    Raises: BundleError if the bytes were cut off or altered, or are of another version.
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
            "fit. Use an earlier one, or train anew."
        )

    def put_back(value: dict[str, Any]) -> Any:
        return tensors[value[_TENSOR]] if _TENSOR in value else value

    found = json.loads(tensors[_JSON].numpy().tobytes(), object_hook=put_back)
    if found["schema_version"] != SCHEMA_VERSION:
        raise BundleError(
            f"{name} has the schema version {found['schema_version']}, but this package "
            f"reads {SCHEMA_VERSION}. Use the package that wrote it, or train anew."
        )
    return dict(found)


def refuse_other_maker(said: object, expected: Mapping[str, Any], name: str) -> None:
    """Raise BundleError unless a file says of itself that it is of the expected training.

    Args:
        said: what the file says, as its writer has put it there.
        expected: name -> value, each of which the file has to say; others are not compared.
        name: what the file is called in an error.
    """
    if not isinstance(said, Mapping):
        raise BundleError(
            f"{name} does not say which training it is of: an earlier version wrote it, or it was "
            "altered. Train anew."
        )
    for key, value in expected.items():
        if said.get(key) != value:
            there, here = (str(one)[:12] or "empty" for one in (said.get(key), value))
            raise BundleError(
                f"{name} is of another training: its {key} is {there}, but {here} is expected "
                "here. Put back the file that belongs here, or train anew."
            )


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _sha256(tensors: Mapping[str, Tensor]) -> bytes:
    """Over names, types, shapes and values: in place, where the bytes of a file would be a copy."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        digest.update(tensor.flatten().numpy().data)
    return digest.digest()
