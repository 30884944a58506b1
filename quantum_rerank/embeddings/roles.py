"""Prompts and routes in a model's files, by which it embeds queries and documents differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantum_rerank.embeddings.settings import Role
from quantum_rerank.regular_files import read_json

PROMPT_NAMES = {Role.QUERY: ("query",), Role.DOCUMENT: ("document", "passage", "corpus")}
"""Names by which sentence-transformers looks up the prompt of a role; the first match counts."""

_CONFIG, _MODULES = "config_sentence_transformers.json", "modules.json"
_TRANSFORMER_CONFIG = "sentence_bert_config.json"
_ROUTERS = (".Router", ".Asym")
_LENGTHS = ("query_length", "document_length", "query_expansion")


@dataclass(frozen=True)
class ModelRoles:
    """Differences between roles in a model's files.

    Attributes:
        prompted: Roles with a prompt.
        routed: Roles differ in more than their prompts.
        has_default: `encode`, which has no role, puts a prompt before every text.
    """

    prompted: frozenset[Role]
    routed: bool
    has_default: bool


def model_roles(folder: Path) -> ModelRoles:
    """Read the roles of a model without loading it.

    Args:
        folder: Folder of the model. Models of other libraries have no roles.
    """
    config = _read_object(folder / _CONFIG)
    prompts = config.get("prompts") or {}
    return ModelRoles(
        frozenset(role for role in Role if any(prompts.get(name) for name in PROMPT_NAMES[role])),
        _is_routed(folder),
        bool(prompts.get(config.get("default_prompt_name"))),
    )


def _is_routed(folder: Path) -> bool:
    modules = _read_json(folder / _MODULES)
    types = [str(module.get("type")) for module in modules or [] if isinstance(module, dict)]
    if any(name.endswith(_ROUTERS) for name in types):
        return True
    transformers = map(_read_object, folder.rglob(_TRANSFORMER_CONFIG))
    return any(transformer.get(length) for transformer in transformers for length in _LENGTHS)


def _read_object(path: Path) -> Mapping[str, Any]:
    value = _read_json(path)
    return value if isinstance(value, dict) else {}


def _read_json(path: Path) -> Any:
    """Return the content of a file, or None if it does not exist or is damaged."""
    try:
        return read_json(path, follow_link=True)
    except (OSError, ValueError):
        return None  # a damaged file is refused when the model is loaded
