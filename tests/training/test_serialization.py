from __future__ import annotations

from typing import Any

import pytest
import torch

from quantum_rerank.errors import BundleError
from quantum_rerank.training import serialization
from quantum_rerank.training.serialization import dumps, loads


def test_values_and_tensors_are_read_back_in_their_places() -> None:
    weights = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    content: dict[str, Any] = {
        "number": 0.1 + 0.2,
        "text": "\u00e4",
        "nothing": None,
        "tensor": weights,
        "nested": {"list": [1, weights.T, {"deep": torch.tensor(7)}], "empty": torch.zeros(0, 4)},
    }
    values = loads(dumps(content), "this")
    assert (values["number"], values["text"], values["nothing"]) == (0.1 + 0.2, "\u00e4", None)
    assert torch.equal(values["tensor"], weights)
    first, transposed, deep = values["nested"]["list"]
    assert first == 1
    assert torch.equal(transposed, weights.T)
    assert deep["deep"].item() == 7
    assert values["nested"]["empty"].shape == (0, 4)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.int64, torch.uint8, torch.bool]
)
def test_a_tensor_keeps_its_type(dtype: torch.dtype) -> None:
    tensor = torch.ones(3).to(dtype)
    values = loads(dumps({"tensor": tensor}), "this")["tensor"]
    assert values.dtype == dtype
    assert torch.equal(values, tensor)


def test_the_same_content_is_the_same_bytes() -> None:
    assert dumps({"a": torch.ones(2), "b": 1}) == dumps({"a": torch.ones(2), "b": 1})
    assert dumps({"a": torch.ones(2)}) != dumps({"a": torch.zeros(2)})


def test_values_that_json_does_not_support_are_refused() -> None:
    with pytest.raises(TypeError, match="A set cannot be written as JSON"):
        dumps({"set": {1, 2}})


@pytest.mark.parametrize("kept", [0, 1, 8, 100, -1])
def test_truncated_bytes_are_refused_with_the_name_of_the_file(kept: int) -> None:
    content = dumps({"a": torch.ones(100)})[:kept]
    with pytest.raises(BundleError, match=rf"trial 3 \({len(content)} bytes\) was cut off"):
        loads(content, "trial 3")


def test_a_change_of_any_byte_is_detected() -> None:
    content = dumps({"a": torch.ones(2)})
    for place in range(len(content)):
        altered = bytearray(content)
        altered[place] ^= 1
        with pytest.raises(BundleError, match="was cut off or altered"):
            loads(bytes(altered), "this")


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialization, "SCHEMA_VERSION", 99)
    content = dumps({})
    monkeypatch.undo()
    with pytest.raises(BundleError, match="this has the schema version 99, but this package"):
        loads(content, "this")
