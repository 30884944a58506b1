from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.embeddings.roles import ModelRoles, model_roles
from quantum_rerank.embeddings.settings import Role

ROUTER = "sentence_transformers.base.modules.router.Router"
PLAIN = ModelRoles(frozenset(), routed=False, has_default=False)


def folder_with(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ({"query": "query: ", "document": "passage: "}, {Role.QUERY, Role.DOCUMENT}),
        ({"query": "Represent this sentence: "}, {Role.QUERY}),
        ({"query": "", "passage": "passage: "}, {Role.DOCUMENT}),
        ({"corpus": "text: "}, {Role.DOCUMENT}),
        ({"query": "", "document": ""}, set()),
        ({"classification": "Classify: "}, set()),
        (None, set()),
    ],
)
def test_the_prompts_of_a_role_are_those_of_sentence_transformers(
    tmp_path: Path, prompts: dict[str, str] | None, expected: set[Role]
) -> None:
    found = model_roles(
        folder_with(tmp_path, {"config_sentence_transformers.json": {"prompts": prompts}})
    )
    assert found == ModelRoles(frozenset(expected), routed=False, has_default=False)


def test_a_default_prompt_is_one_that_has_a_text(tmp_path: Path) -> None:
    config = {"prompts": {"sts": "Same? ", "empty": ""}, "default_prompt_name": "sts"}
    name = "config_sentence_transformers.json"
    assert model_roles(folder_with(tmp_path, {name: config})).has_default
    config["default_prompt_name"] = "empty"
    assert model_roles(folder_with(tmp_path, {name: config})) == PLAIN


@pytest.mark.parametrize(
    "files",
    [
        {"modules.json": [{"idx": 0, "type": ROUTER, "path": ""}]},
        {"modules.json": [{"type": "sentence_transformers.models.Asym"}]},
        {"0_Transformer/sentence_bert_config.json": {"query_length": 32}},
    ],
)
def test_a_model_may_treat_roles_differently_without_a_prompt(
    tmp_path: Path, files: dict[str, Any]
) -> None:
    assert model_roles(folder_with(tmp_path, files)).routed


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', "[1]"])
def test_damaged_files_have_no_roles(tmp_path: Path, content: str) -> None:
    for name in ("config_sentence_transformers.json", "modules.json", "sentence_bert_config.json"):
        (tmp_path / name).write_text(content)
    assert model_roles(tmp_path) == PLAIN
