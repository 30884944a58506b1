from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.datasets import load_collection
from quantum_rerank.errors import DataError, MissingPackage


def evidence(page: str, *passages: str, kind: str = "benign") -> dict[str, Any]:
    return {
        "evidence_id": f"{kind}-{page}",
        "evidence_type": kind,
        "title": page.title(),
        "summary": "Supports the claim.",
        "contents": passages,
        "url": page,
    }


def claim(number: int, topic: str, text: str, *benign: dict[str, Any]) -> str:
    environment = {
        "benign": benign,
        "poisoned": {"ata": [evidence("forged", "A lie.", kind="poisoned")]},
        "related_distractor": [evidence("aside", "Not it.", kind="related_distractor")],
    }
    record = {
        "claim_id": f"benchmark-{number}",
        "original_claim": text,
        "ground_truth": "true",
        "category": topic,
        "evidence_environment": environment,
    }
    return json.dumps(record)


LINES = (
    claim(1, "trees", "Oaks are tall.", evidence("oak", "Tall."), evidence("wood", "Hard.")),
    claim(2, "trees", "Oaks are old.", evidence("oak", "Old.", "Tall.")),
    claim(3, "birds", "Owls fly.", evidence("owl", "Flies.")),
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the same layout, found before one that is installed; its file of data."""
    data = tmp_path / "gpe" / "data"
    data.mkdir(parents=True)
    (tmp_path / "gpe" / "__init__.py").touch()
    file = data / "gpe.jsonl"
    file.write_text("\n".join(LINES), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return file


@pytest.mark.usefixtures("package")
def test_a_page_is_one_document_with_all_its_passages() -> None:
    collection = load_collection("gpe:trees")
    assert collection.corpus == {"oak": "Oak. Tall. Old.", "wood": "Wood. Hard."}
    assert collection.queries == {"benchmark-1": "Oaks are tall.", "benchmark-2": "Oaks are old."}
    assert collection.qrels == {"benchmark-1": {"oak": 1, "wood": 1}, "benchmark-2": {"oak": 1}}


@pytest.mark.usefixtures("package")
def test_forged_pages_and_summaries_are_not_read() -> None:
    texts = " ".join(load_collection("gpe:trees").corpus.values())
    assert not any(word in texts for word in ("lie", "Not it", "Supports"))


@pytest.mark.usefixtures("package")
def test_an_unknown_topic_is_refused_with_a_list_of_topics() -> None:
    with pytest.raises(DataError, match="The topics are birds, trees"):
        load_collection("gpe:stars")


def test_a_broken_line_is_refused_with_its_number(package: Path) -> None:
    package.write_text(f"{LINES[0]}\n{{}}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"gpe\.jsonl, line 2: '{}' needs the keys `claim_id`"):
        load_collection("gpe:trees")


def test_the_error_of_a_missing_package_has_the_full_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingPackage, match=r"Run `pip install --no-deps gpe-eval==0\.2\.2`\."):
        load_collection("gpe:medical")


def test_another_package_of_the_same_name_is_refused(package: Path) -> None:
    package.unlink()
    with pytest.raises(MissingPackage, match="gpe-eval"):
        load_collection("gpe:medical")
