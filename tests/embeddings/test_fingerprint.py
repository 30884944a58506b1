from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from quantum_rerank.embeddings import (
    EncoderSettings,
    TextEncoder,
)


def test_the_fingerprint_depends_on_weights_and_settings(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    first = TextEncoder(str(tmp_path)).fingerprint
    weights.write_bytes(b"two")
    assert TextEncoder(str(tmp_path)).fingerprint != first
    settings = tmp_path / "config.json"
    settings.write_text("{}")
    with_settings = TextEncoder(str(tmp_path)).fingerprint
    settings.write_text('{"pooling": "max"}')
    assert TextEncoder(str(tmp_path)).fingerprint != with_settings


def test_the_fingerprint_depends_on_code_and_skips_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"one")
    plain = TextEncoder(str(tmp_path)).fingerprint
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    assert TextEncoder(str(tmp_path)).fingerprint == plain
    (tmp_path / "modeling.py").write_text("")
    assert TextEncoder(str(tmp_path)).fingerprint != plain


def test_the_fingerprint_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"one")
    here, there = (TextEncoder(str(tmp_path / name)).fingerprint for name in ("here", "there"))
    assert here == there


def test_only_prompts_change_the_fingerprint_of_an_encoder(words_encoder: str) -> None:
    def fingerprint(**settings: Any) -> str:
        return TextEncoder(words_encoder, settings=EncoderSettings(**settings)).fingerprint

    # As earlier versions had it, whose bundles and caches stay good.
    plain = hashlib.sha256(b"model.txt" + b"words").hexdigest()
    assert fingerprint() == fingerprint(query_prompt="", document_prompt="") == plain
    assert fingerprint(device="auto", batch_size=7, show_progress_bar=False) == plain
    prompted = {
        fingerprint(query_prompt="a"),
        fingerprint(query_prompt="b"),
        fingerprint(document_prompt="a"),
        fingerprint(query_prompt="a", document_prompt="a"),
    }
    assert len(prompted | {plain}) == 5
    assert fingerprint(query_prompt="a", document_prompt="") == fingerprint(query_prompt="a")


def test_the_fingerprint_distinguishes_the_models_prompts_from_none(
    words_encoder: str, tmp_path: Path
) -> None:
    config = tmp_path / "words" / "config_sentence_transformers.json"
    config.write_text(json.dumps({"prompts": {"query": "query: ", "document": "passage: "}}))
    own = TextEncoder(words_encoder).fingerprint
    none = TextEncoder(words_encoder, settings=EncoderSettings("", "")).fingerprint
    half = TextEncoder(words_encoder, settings=EncoderSettings("")).fingerprint
    files = config.name.encode() + config.read_bytes() + b"model.txt" + b"words"
    assert none == hashlib.sha256(files).hexdigest()
    assert len({own, none, half}) == 3
