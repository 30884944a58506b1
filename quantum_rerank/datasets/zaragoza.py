"""Questions and answers about building in Sweden, in English: a question -> its answer.

The Swedish Construction FAQ by Zaragoza AB (CC BY 4.0) comes with the package
`zaragoza-construction-faq`: 503 answers in 39 categories, each written for its
question by the same editors.
"""

from __future__ import annotations

from typing import NamedTuple

from quantum_rerank.datasets.collection import Collection, checked
from quantum_rerank.datasets.packages import package_folder
from quantum_rerank.datasets.text_files import each_line, id_of, json_record, shortened, text_of
from quantum_rerank.errors import DataError, MissingPackage

ALL = "all"


class Answer(NamedTuple):
    """One line of the package's file."""

    id: str
    category: str
    question: str
    text: str


def load(categories: str) -> Collection:
    """Load `all`, or the categories named, as in `bygglov,tillbyggnad,attefallshus-friggebod`.

    A category has 7 to 30 answers, which rank themselves; several together are a domain
    that has something to rank. Its corpus are their answers alone, so that domains
    trained on and domains held out share no text. A question that is asked in
    several categories is one query with several answers.
    """
    answers = _answers()
    wanted = _wanted(categories, list(dict.fromkeys(answer.category for answer in answers)))
    chosen = [answer for answer in answers if answer.category in wanted]
    first_of: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for answer in chosen:
        query = first_of.setdefault(answer.question, answer.id)
        qrels.setdefault(query, {})[answer.id] = 1
    return checked(
        Collection(
            domain=f"zaragoza:{categories}",
            corpus={answer.id: answer.text for answer in chosen},
            queries={query: question for question, query in first_of.items()},
            qrels=qrels,
        )
    )


def _wanted(categories: str, known: list[str]) -> list[str]:
    if categories == ALL:
        return known
    named = categories.split(",")
    if unknown := [name for name in named if name not in known]:
        raise DataError(
            f"`zaragoza:{categories}`: {shortened(unknown[0])} is no category. "
            f"Give `{ALL}`, or some of {', '.join(known)}."
        )
    return named


def _answers() -> list[Answer]:
    missing = MissingPackage("zaragoza-construction-faq", "zaragoza", "The source `zaragoza`")
    found: list[Answer] = []

    def add(line: str) -> None:
        record = json_record(line, "id", "category", "q", "a")
        category, question, text = (text_of(record, key) for key in ("category", "q", "a"))
        found.append(Answer(id_of(record, "id"), category, question, text))

    each_line(package_folder("zaragoza_construction_faq", missing) / "data" / "faq-en.jsonl", add)
    return found
