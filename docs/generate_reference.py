"""Write docs/reference.md, the reference of all configuration and search space keys.

    python docs/generate_reference.py

Types, bounds and defaults come from the schema. The meaning of a configuration key is the comment
beside it in configs/*.yaml; that of a search space's key is the description of its field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from quantum_rerank.config import ExperimentConfig
from tuning import space

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "docs" / "reference.md"

_CONFIGS = ("training_config.yaml", "optimizer_config.yaml", "data_config.yaml")
_KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w.]+):(?P<value>[^#]*)(?:#\s*(?P<comment>.*))?$")
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}
_TYPES = {"integer": "integer", "number": "number", "string": "text", "object": "mapping"}
_INTRODUCTION = """\
# Configuration reference

This page is written by `python docs/generate_reference.py`.

A configuration file nests its sections. On the command line (`--set`) and in a search space a
key is dotted, such as `circuit.n_qubits`. Angles are in radians. The fidelity of a query and
a document is the squared overlap of their states; [Models and losses](models.md) explains the rest.
"""
_PARAMETERS: dict[str, type[BaseModel]] = {
    "float": space.FloatParameter,
    "int": space.IntParameter,
    "categorical": space.CategoricalParameter,
}


def comments(path: Path) -> dict[str, str]:
    """Return the comment beside each key of a YAML file, by dotted key."""
    texts: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not (match := _KEY.match(line)):
            continue
        indent = len(match["indent"])
        parents = [parent for parent in parents if parent[0] < indent]
        parents.append((indent, match["key"]))
        if comment := match["comment"]:
            texts[".".join(key for _, key in parents)] = comment.strip()
    return texts


def values_of(schema: Mapping[str, Any]) -> str:
    """Describe the valid values of a field in words.

    >>> values_of({"type": "integer", "minimum": 2, "maximum": 12})
    'integer, at least 2, at most 12'
    >>> values_of({"enum": ["adam", "sgd"]})
    '`adam`, `sgd`'
    """
    if "anyOf" in schema:
        return " or ".join(values_of(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        choices = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{choice}`" for choice in choices)
    if schema.get("type") == "array":
        items = schema.get("items", {})
        return f"list of: {values_of(items)}" if items else "list"
    simple = {"boolean": "`true`, `false`", "null": "`null`"}
    kind = schema.get("type", "any")
    if kind in simple:
        return simple[kind]
    bounds = [f"{words} {_number(schema[key])}" for key, words in _BOUNDS.items() if key in schema]
    return ", ".join([_TYPES.get(kind, kind), *bounds])


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def registered_names(model: type[BaseModel], key: str) -> str:
    """Return the names that a registry allows for a text field, or nothing for other fields."""
    try:
        model.model_validate({key: "\0"})
    except ValidationError as error:
        for problem in error.errors():
            if problem["loc"] == (key,) and problem["type"] == "registry":
                names = re.findall(r"'([^']*)'", problem["msg"])
                return ", ".join(f"`{name}`" for name in names)
    return ""


def rows(
    model: type[BaseModel], prefix: str, meanings: Mapping[str, str]
) -> Iterator[tuple[str, str, str, str]]:
    """Yield key, values, default and meaning of each field that is not a section."""
    schema = model.model_json_schema()
    for key, field in schema["properties"].items():
        is_mapping = field.get("type") == "object"
        if "$ref" in json.dumps(field) and not is_mapping:
            continue
        required = key in schema.get("required", [])
        default = "required" if required else f"`{json.dumps(field.get('default'))}`"
        is_factory = not required and "default" not in field
        values = registered_names(model, key) or values_of(field)
        name = f"{prefix}{key}"
        meaning = meanings.get(name) or field.get("description", "")
        yield f"`{name}`", values, "empty" if is_factory else default, meaning


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield each section of a schema with its dotted prefix, the schema itself first."""
    yield prefix, model
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from sections(field.annotation, f"{prefix}{key}.")


def table(model: type[BaseModel], prefix: str, meanings: Mapping[str, str]) -> str:
    """Return the Markdown table of a section's keys."""
    lines = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for row in rows(model, prefix, meanings):
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(lines) + "\n"


def reference() -> str:
    """Return the whole page."""
    meanings: dict[str, str] = {}
    for name in _CONFIGS:
        meanings |= comments(ROOT / "configs" / name)
    parts = [_INTRODUCTION, "## Configuration\n"]
    for prefix, model in sections(ExperimentConfig):
        parts.append(f"### {prefix.rstrip('.') or 'Top level'}\n")
        parts.append(table(model, prefix, meanings))
    parts.append("## Search space\n")
    for prefix, model in sections(space.Header):
        parts.append(f"### Space: {prefix.rstrip('.') or 'top level'}\n")
        parts.append(table(model, prefix, {}))
    parts.append("### Space: guesses of `prior`\n")
    parts.append(table(space.Guess, "prior.KEY.", {}))
    for name, model in _PARAMETERS.items():
        parts.append(f"### Space: parameters of type {name}\n")
        parts.append(table(model, "", {}))
    return "\n".join(parts)


if __name__ == "__main__":
    OUTPUT.write_text(reference(), encoding="utf-8")
