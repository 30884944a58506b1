"""ICD-10-CM as a retrieval collection: a clinical term -> its code.

The US edition of the classification comes with the package `simple-icd-10-cm`. A query is an
inclusion term, its relevant document the title of the code that lists the term, and a chapter is
a domain.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from xml.etree import ElementTree

from quantum_rerank.datasets.checks import checked
from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.datasets.packages import package_folder
from quantum_rerank.datasets.source import Source
from quantum_rerank.errors import DataError, MissingPackage


class Icd10Chapter(Source):
    """The source `icd10:CHAPTER`."""

    def load(self, argument: str, config: DataConfig) -> Collection:
        """Load a chapter, `1` to `22`.

        Terms equal to their code's title would be trivial queries and are left out. A term of
        several codes is one query with several relevant documents. So is a term whose code shares
        its title with other codes, which no text can distinguish.

        See `Source.load`.
        """
        chapters = _chapters()
        if argument not in chapters:
            raise DataError(
                f"`icd10:{argument}` is not a chapter. The chapters are 1 to {len(chapters)}."
            )
        corpus, terms = _codes_and_terms(chapters[argument])
        _add_equal_titles(corpus, terms)
        ids = {term: f"{next(iter(codes))}#{n}" for n, (term, codes) in enumerate(terms.items())}
        return checked(
            Collection(
                domain=self.domain(argument),
                corpus=corpus,
                queries={ids[term]: term for term in terms},
                qrels={ids[term]: codes for term, codes in terms.items()},
            )
        )


def _codes_and_terms(
    chapter: ElementTree.Element,
) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Return code -> title, and term -> code -> grade."""
    corpus: dict[str, str] = {}
    terms: dict[str, dict[str, int]] = defaultdict(dict)
    for code in chapter.iter("diag"):
        name, title = _text(code, "name"), _text(code, "desc")
        corpus[name] = title
        for note in code.findall("inclusionTerm/note"):
            term = " ".join((note.text or "").split())
            if term and term.lower() != title.lower():
                terms[term][name] = 1
    return corpus, terms


def _add_equal_titles(corpus: dict[str, str], terms: dict[str, dict[str, int]]) -> None:
    """Add the codes with the title of a relevant code to the relevant codes of each term."""
    same_title: dict[str, list[str]] = defaultdict(list)
    for name, title in corpus.items():
        same_title[title.lower()].append(name)
    for codes in terms.values():
        for name in list(codes):
            codes.update(dict.fromkeys(same_title[corpus[name].lower()], 1))


def _text(code: ElementTree.Element, tag: str) -> str:
    return " ".join((code.findtext(tag) or "").split())


@lru_cache(maxsize=1)
def _chapters() -> dict[str, ElementTree.Element]:
    # The package parses the whole tree when it is imported, which takes seconds. Its data file
    # is enough.
    missing = MissingPackage("simple-icd-10-cm", "defaults", "The source `icd10`")
    folder = package_folder("simple_icd_10_cm", missing)
    files = sorted((folder / "data").glob("icd10c-tabular-*.xml"))
    if not files:
        raise DataError("The package `simple-icd-10-cm` has no tabular list. Reinstall it.")
    root = ElementTree.parse(files[-1]).getroot()  # noqa: S314  (a pinned package's own file)
    return {_text(chapter, "name"): chapter for chapter in root.findall("chapter")}
