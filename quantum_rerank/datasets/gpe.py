"""Claims and what was found on the web to check them: a claim -> pages that bear on it.

Comes with the package `gpe-eval` (MIT): 638 claims on six topics. Relevant means that
a page was collected for the claim, whether it speaks for it or against it; nobody
judged the rest, so a page that would do as well may count as not relevant.

Of its evidence only `benign` is read, not what the package forged to mislead
fact-checkers. Its summaries are left out too: they were written with the claim in
sight, down to "supporting the claim".
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from quantum_rerank.datasets.collection import Collection, checked
from quantum_rerank.datasets.packages import package_folder
from quantum_rerank.datasets.text_files import (
    each_line,
    id_of,
    json_record,
    text_of,
    with_title,
)
from quantum_rerank.errors import DataError, MissingPackage

KEYS = ("claim_id", "category", "original_claim", "evidence_environment")


def load(topic: str) -> Collection:
    """Load one topic, such as `medical`.

    A document is a page of the web: its title and every passage that was quoted from
    it for any claim of the topic. Passages by claim would be no corpus, for each of them
    was picked out for the one claim that it answers.
    """
    claims = _claims(package_folder("gpe", _missing()) / "data" / "gpe.jsonl")
    if topic not in claims:
        raise DataError(f"`gpe:{topic}` names no topic. Topics are {', '.join(sorted(claims))}.")
    titles: dict[str, str] = {}
    passages: dict[str, dict[str, None]] = {}
    qrels: dict[str, dict[str, int]] = {}
    for claim in claims[topic]:
        pages = qrels[id_of(claim, "claim_id")] = {}
        for evidence in claim["evidence_environment"]["benign"]:
            page = text_of(evidence, "url")
            titles.setdefault(page, text_of(evidence, "title"))
            passages.setdefault(page, {}).update(dict.fromkeys(evidence["contents"]))
            pages[page] = 1
    return checked(
        Collection(
            domain=f"gpe:{topic}",
            corpus={page: with_title(titles[page], " ".join(passages[page])) for page in titles},
            queries={id_of(c, "claim_id"): text_of(c, "original_claim") for c in claims[topic]},
            qrels=qrels,
        )
    )


@lru_cache(maxsize=1)
def _claims(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Claims by topic. Six domains are six times the same file of 100 MB."""
    if not path.exists():
        raise _missing()
    claims: dict[str, list[dict[str, Any]]] = {}

    def add(line: str) -> None:
        record = {key: value for key, value in json_record(line, *KEYS).items() if key in KEYS}
        benign = record["evidence_environment"].get("benign", [])
        record["evidence_environment"] = {"benign": benign}  # a twentieth of the line
        claims.setdefault(text_of(record, "category"), []).append(record)

    each_line(path, add)
    return claims


def _missing() -> MissingPackage:
    # It asks for a numpy older than what this project runs on, of which its data need none.
    return MissingPackage("gpe-eval==0.2.2", None, "The source `gpe`", "--no-deps ")
