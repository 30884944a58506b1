"""ICD-10-CM as a retrieval collection: a clinician's term -> the code that it belongs to.

The US edition of the classification comes with the package `simple-icd-10-cm`.
A query is an inclusion term, its relevant document the title of the code under
which the term stands, and a chapter is a domain.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from xml.etree import ElementTree

from quantum_rerank.datasets.collection import Collection, checked
from quantum_rerank.datasets.packages import package_folder
from quantum_rerank.errors import DataError, MissingPackage


def load(chapter: str) -> Collection:
    """Load one chapter, `1` to `22`.

    Terms equal to their own code's title are no test of anything and are left
    out. A term that stands under several codes is one query with several answers,
    and so are codes of the same title, which no text can tell apart.
    """
    chapters = _chapters()
    if chapter not in chapters:
        raise DataError(f"`icd10:{chapter}` names no chapter. Chapters are 1 to {len(chapters)}.")
    corpus: dict[str, str] = {}
    terms: dict[str, dict[str, int]] = defaultdict(dict)
    for code in chapters[chapter].iter("diag"):
        name, title = _text(code, "name"), _text(code, "desc")
        corpus[name] = title
        for note in code.findall("inclusionTerm/note"):
            term = " ".join((note.text or "").split())
            if term and term.lower() != title.lower():
                terms[term][name] = 1
    twins: dict[str, list[str]] = defaultdict(list)
    for name, title in corpus.items():
        twins[title.lower()].append(name)
    for codes in terms.values():
        for name in list(codes):
            codes.update(dict.fromkeys(twins[corpus[name].lower()], 1))
    ids = {term: f"{next(iter(codes))}#{n}" for n, (term, codes) in enumerate(terms.items())}
    return checked(
        Collection(
            domain=f"icd10:{chapter}",
            corpus=corpus,
            queries={ids[term]: term for term in terms},
            qrels={ids[term]: codes for term, codes in terms.items()},
        )
    )


def _text(code: ElementTree.Element, tag: str) -> str:
    return " ".join((code.findtext(tag) or "").split())


@lru_cache(maxsize=1)
def _chapters() -> dict[str, ElementTree.Element]:
    # The package parses the whole tree when imported, which takes seconds; its
    # data file is enough.
    missing = MissingPackage("simple-icd-10-cm", "defaults", "The source `icd10`")
    folder = package_folder("simple_icd_10_cm", missing)
    files = sorted((folder / "data").glob("icd10c-tabular-*.xml"))
    if not files:
        raise DataError("The package `simple-icd-10-cm` has no tabular list. Reinstall it.")
    root = ElementTree.parse(files[-1]).getroot()  # noqa: S314  (a pinned package's own file)
    return {_text(chapter, "name"): chapter for chapter in root.findall("chapter")}
