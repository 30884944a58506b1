"""A configuration by dotted keys such as `circuit.n_qubits`, as searches and W&B use them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel

from quantum_rerank.config.experiment import ExperimentConfig
from quantum_rerank.errors import ConfigError

Plain = bool | int | float | str | None
"""A value of a flat configuration; None for an unset value."""


def apply_overrides(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with dotted keys set.

    A list is set element by element (`mlp.hidden_layers.0`), after its
    pseudo-key `length`, if given, has cut it or filled it up with its last element.

    >>> apply_overrides({"mlp": {"hidden_layers": [256, 128]}},
    ...                 {"mlp.hidden_layers.length": 1, "mlp.hidden_layers.0": 64})
    {'mlp': {'hidden_layers': [64]}}
    """
    result: dict[str, Any] = copy.deepcopy(dict(values))
    lengths_first = sorted(overrides.items(), key=lambda item: not item[0].endswith(".length"))
    for key, value in lengths_first:
        *parents, last = key.split(".")
        node: Any = result
        try:
            for parent in parents:
                node = node[int(parent)] if isinstance(node, list) else node.setdefault(parent, {})
            _set(node, last, value)
        except (IndexError, ValueError, TypeError, AttributeError):
            raise ConfigError(f"`{key}` cannot be set: there is no such key.") from None
    return result


def _set(node: Any, key: str, value: Any) -> None:
    """Set one key of a mapping, or one element or the length of a list."""
    if not isinstance(node, list):
        node[key] = value
    elif key == "length":
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # a file may write 2 as 2.0
        if value < 0:
            raise ValueError(value)
        node[:] = (node + (node[-1:] or [None]) * value)[:value]
    else:
        node[int(key)] = value


def flat(config: ExperimentConfig) -> dict[str, Plain]:
    """Return a configuration as dotted keys with plain values, lists as length and elements.

    >>> keys = flat(ExperimentConfig())
    >>> keys["mlp.hidden_layers.length"], keys["mlp.hidden_layers.0"], keys["data.encoder"]
    (2, 256, 'minilm')
    """
    values: dict[str, Plain] = {}

    def add(prefix: str, node: Any) -> None:
        if isinstance(node, list):
            values[f"{prefix}.length"] = len(node)
            node = dict(enumerate(node))
        if isinstance(node, dict):
            for key, value in node.items():
                add(f"{prefix}.{key}" if prefix else str(key), value)
        else:
            values[prefix] = node

    add("", config.model_dump(mode="json"))
    return values


def config_keys(model: type[BaseModel] = ExperimentConfig, prefix: str = "") -> list[str]:
    """List every dotted key of the schema.

    >>> config_keys()[:3]
    ['model', 'seed', 'circuit.n_qubits']
    """
    keys: list[str] = []
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        keys += config_keys(section, f"{prefix}{name}.") if section else [f"{prefix}{name}"]
    return keys


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section class of a field; None for a plain value."""
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
