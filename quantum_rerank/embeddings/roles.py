"""Prompts and routes in a model's files, by which queries and documents differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantum_rerank.embeddings.settings import Role

PROMPT_NAMES = {Role.QUERY: ("query",), Role.DOCUMENT: ("document", "passage", "corpus")}
"""Under which names sentence-transformers looks for a role's prompt; the first one counts."""

_CONFIG, _MODULES = "config_sentence_transformers.json", "modules.json"
_OF_A_TRANSFORMER = "sentence_bert_config.json"
_ROUTERS = (".Router", ".Asym")
_LENGTHS = ("query_length", "document_length", "query_expansion")


@dataclass(frozen=True)
class OwnRoles:
    """Roles that the files of a model tell apart.

    prompted: the roles that have a prompt.
    routed: whether roles differ in more than their prompts.
    has_default: whether `encode`, which knows no role, puts a prompt before every text.
    """

    prompted: frozenset[Role]
    routed: bool
    has_default: bool


def own_roles(folder: Path) -> OwnRoles:
    """Read the roles of a model, which is not loaded; a model of another library has none."""
    config = _settings_in(folder / _CONFIG)
    prompts = config.get("prompts") or {}
    return OwnRoles(
        frozenset(role for role in Role if any(prompts.get(name) for name in PROMPT_NAMES[role])),
        _is_routed(folder),
        bool(prompts.get(config.get("default_prompt_name"))),
    )


def _is_routed(folder: Path) -> bool:
    modules = _json_in(folder / _MODULES)
    kinds = [str(module.get("type")) for module in modules or [] if isinstance(module, dict)]
    if any(kind.endswith(_ROUTERS) for kind in kinds):
        return True
    transformers = map(_settings_in, folder.rglob(_OF_A_TRANSFORMER))
    return any(transformer.get(length) for transformer in transformers for length in _LENGTHS)


def _settings_in(path: Path) -> Mapping[str, Any]:
    settings = _json_in(path)
    return settings if isinstance(settings, dict) else {}


def _json_in(path: Path) -> Any:
    """The content of a file; None where there is none, or it says nothing."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # a damaged file is refused when the model is loaded
