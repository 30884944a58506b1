from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from quantum_rerank.datasets import load_collection
from quantum_rerank.errors import DataError, MissingPackage

DOCUMENTS = "d1\tThe leaf of the oak.\nd2\tThe bark of the elm.\n"
QUERIES = "q1\toak leaf\nq2\telm bark\nq3\tnobody judged this\n"
QRELS = "q1 0 d1 2\nq1 0 d2 0\nq2 0 d2 1\n"

Register = Callable[..., str]


def test_the_error_of_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ir_datasets", None)
    with pytest.raises(MissingPackage, match="extra `ir-datasets`"):
        load_collection("ir_datasets:vaswani")


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    """Register a collection of local files under its id, as ir_datasets lets anyone do."""
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    ir_datasets = pytest.importorskip("ir_datasets", reason="needs the extra `ir-datasets`")
    registered: list[str] = []

    def add(name: str = "trees", docs: str = DOCUMENTS, qrels: str | None = QRELS) -> str:
        files = {"docs_tsv": docs, "queries_tsv": QUERIES, "qrels_trec": qrels}
        paths = {key: tmp_path / key for key, content in files.items() if content is not None}
        for key, path in paths.items():
            path.write_text(files[key] or "", encoding="utf-8")
        given = {key: str(path) for key, path in paths.items()}
        ir_datasets.registry.register(name, ir_datasets.create_dataset(**given))
        registered.append(name)
        return f"ir_datasets:{name}"

    yield add
    for name in registered:
        del ir_datasets.registry._registered[name]


def test_a_registered_collection_is_loaded_by_its_id(register: Register) -> None:
    collection = load_collection(register())
    assert collection.domain == "ir_datasets:trees"
    assert collection.corpus == {"d1": "The leaf of the oak.", "d2": "The bark of the elm."}
    assert collection.queries == {"q1": "oak leaf", "q2": "elm bark"}
    assert collection.qrels == {"q1": {"d1": 2}, "q2": {"d2": 1}}
    assert collection.skipped == {"queries without judgments left out": 1}


def test_a_missing_title_of_the_catalogue_is_left_out(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Titled(NamedTuple):
        doc_id: str
        title: str | None
        text: str

        def default_text(self) -> str:
            return f"{self.title} {self.text}"

    documents = [Titled("d1", None, "A leaf."), Titled("d2", "Elm", "A bark.")]
    spec = register()
    dataset = __import__("ir_datasets").load(spec.partition(":")[2])
    monkeypatch.setattr(dataset, "docs_iter", lambda: iter(documents), raising=False)
    monkeypatch.setattr("ir_datasets.load", lambda name: dataset)
    assert load_collection(spec).corpus == {"d1": " A leaf.", "d2": "Elm A bark."}


def test_an_unknown_id_is_refused(register: Register) -> None:
    register()
    with pytest.raises(DataError, match="`ir_datasets:nowhere` is not in the catalogue"):
        load_collection("ir_datasets:nowhere")


def test_an_unjudged_collection_is_refused_with_its_judged_parts(register: Register) -> None:
    register("trees/test")
    with pytest.raises(DataError, match=r"has no qrels\. Judged parts of it are trees/test\."):
        load_collection(register("trees", qrels=None))


def test_two_grades_of_a_pair_are_refused(register: Register) -> None:
    with pytest.raises(DataError, match="ir_datasets:trees: 'q1' and 'd1' are judged 1, but 2"):
        load_collection(register(qrels=QRELS + "q1 0 d1 1\n"))


def test_a_collection_with_judgments_of_missing_documents_only_is_refused(
    register: Register,
) -> None:
    with pytest.raises(DataError, match=r"of an absent document counted as not found \(q2 -> d2\)"):
        load_collection(register(docs="d1\tThe leaf of the oak.\n", qrels="q2 0 d2 1\n"))


def test_broken_files_are_a_data_error(register: Register) -> None:
    with pytest.raises(DataError, match="`ir_datasets:trees` cannot be read"):
        load_collection(register(qrels="q1 0 d1\n"))
