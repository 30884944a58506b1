"""Claims, and the web pages collected to check them: a claim -> its pages.

The package `gpe-eval` (MIT) has 638 claims on six topics. A page is relevant if it was collected
for the claim, whether it supports or contradicts it. Other pages were not judged, so that an
equally good page may count as not relevant.

Of the evidence only `benign` is read, and not the pages that the package forged to mislead
fact-checkers. Summaries are left out too: they were written with the claim at hand, with phrases
such as "supporting the claim".
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from quantum_rerank.datasets.checks import checked
from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.datasets.json_lines import Record, id_of, parse_record, text_of, with_title
from quantum_rerank.datasets.packages import package_folder
from quantum_rerank.datasets.source import Source
from quantum_rerank.datasets.text_files import each_line
from quantum_rerank.errors import DataError, MissingPackage

KEYS = ("claim_id", "category", "original_claim", "evidence_environment")


class GpeTopic(Source):
    """The source `gpe:TOPIC`."""

    def load(self, argument: str, config: DataConfig) -> Collection:
        """Load a topic, such as `medical`.

        A document is a web page: its title, and every passage that was quoted from it for any
        claim of the topic. A corpus of single passages would be too easy, since each of them was
        selected for the one claim that it answers.

        See `Source.load`.
        """
        claims = _claims(package_folder("gpe", _missing()) / "data" / "gpe.jsonl")
        if argument not in claims:
            topics = ", ".join(sorted(claims))
            raise DataError(f"`gpe:{argument}` is not a topic. The topics are {topics}.")
        return _collection(self.domain(argument), claims[argument])


def _collection(domain: str, claims: list[Record]) -> Collection:
    titles: dict[str, str] = {}
    passages: dict[str, dict[str, None]] = {}
    qrels: dict[str, dict[str, int]] = {}
    for claim in claims:
        pages = qrels[id_of(claim, "claim_id")] = {}
        for evidence in claim["evidence_environment"]["benign"]:
            page = text_of(evidence, "url")
            titles.setdefault(page, text_of(evidence, "title"))
            passages.setdefault(page, {}).update(dict.fromkeys(evidence["contents"]))
            pages[page] = 1
    return checked(
        Collection(
            domain=domain,
            corpus={page: with_title(titles[page], " ".join(passages[page])) for page in titles},
            queries={id_of(c, "claim_id"): text_of(c, "original_claim") for c in claims},
            qrels=qrels,
        )
    )


@lru_cache(maxsize=1)
def _claims(path: Path) -> dict[str, list[Record]]:
    """Return the claims by topic. The file of 100 MB is read once for all topics."""
    if not path.exists():
        raise _missing()
    claims: dict[str, list[Record]] = {}

    def add(line: str) -> None:
        record = {key: value for key, value in parse_record(line, *KEYS).items() if key in KEYS}
        benign = record["evidence_environment"].get("benign", [])
        record["evidence_environment"] = {"benign": benign}  # a twentieth of the line
        claims.setdefault(text_of(record, "category"), []).append(record)

    each_line(path, add)
    return claims


def _missing() -> MissingPackage:
    # The package requires an older numpy than this project, but its data need none.
    return MissingPackage("gpe-eval==0.2.2", None, "The source `gpe`", "--no-deps ")
