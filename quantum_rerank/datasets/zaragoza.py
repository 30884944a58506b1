"""Questions and answers about building in Sweden, in English: a question -> its answer.

The Swedish Construction FAQ by Zaragoza AB (CC BY 4.0) comes with the package
`zaragoza-construction-faq`. It has 503 answers in 39 categories, each written for its question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from quantum_rerank.datasets.checks import checked
from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.datasets.json_lines import id_of, parse_record, text_of
from quantum_rerank.datasets.packages import package_folder
from quantum_rerank.datasets.source import Source
from quantum_rerank.datasets.text_files import each_line, shortened
from quantum_rerank.errors import DataError, MissingPackage

ALL = "all"


class Answer(NamedTuple):
    """A line of the package's file."""

    id: str
    category: str
    question: str
    text: str


class ZaragozaFaq(Source):
    """The source `zaragoza:CATEGORIES`."""

    def load(self, argument: str, config: DataConfig) -> Collection:
        """Load `all`, or some categories, such as `bygglov,tillbyggnad`.

        A category has 7 to 30 answers, too few to rank, so that several form a domain. Its corpus
        is their answers only, so that domains of training and of testing share no text. A
        question of several categories is one query with several relevant answers.

        See `Source.load`.
        """
        answers = _answers()
        categories = _categories(argument, [answer.category for answer in answers])
        chosen = [answer for answer in answers if answer.category in categories]
        first_of: dict[str, str] = {}
        qrels: dict[str, dict[str, int]] = {}
        for answer in chosen:
            query = first_of.setdefault(answer.question, answer.id)
            qrels.setdefault(query, {})[answer.id] = 1
        return checked(
            Collection(
                domain=self.domain(argument),
                corpus={answer.id: answer.text for answer in chosen},
                queries={query: question for question, query in first_of.items()},
                qrels=qrels,
            )
        )


def _categories(argument: str, existing: Sequence[str]) -> list[str]:
    """Return the categories that an argument names."""
    names = list(dict.fromkeys(existing))
    if argument == ALL:
        return names
    categories = argument.split(",")
    if unknown := [name for name in categories if name not in names]:
        raise DataError(
            f"`zaragoza:{argument}`: {shortened(unknown[0])} is not a category. "
            f"Give `{ALL}`, or some of {', '.join(names)}."
        )
    return categories


def _answers() -> list[Answer]:
    missing = MissingPackage("zaragoza-construction-faq", "zaragoza", "The source `zaragoza`")
    answers: list[Answer] = []

    def add(line: str) -> None:
        record = parse_record(line, "id", "category", "q", "a")
        category, question, text = (text_of(record, key) for key in ("category", "q", "a"))
        answers.append(Answer(id_of(record, "id"), category, question, text))

    each_line(package_folder("zaragoza_construction_faq", missing) / "data" / "faq-en.jsonl", add)
    return answers
