from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import typer

from quantum_rerank.config import load_config
from quantum_rerank.console import run
from quantum_rerank.datasets import domain_of, load_collection, load_texts
from quantum_rerank.embeddings import embedding_source, text_model
from quantum_rerank.embeddings.cache import default_cache_folder
from quantum_rerank.errors import BundleError, DataError
from quantum_rerank.paths import as_path, expanded, require_exists
from tuning.space.file import load_space
from tuning.study.storage import check_root


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_leading_tilde_is_expanded(home: Path) -> None:
    assert expanded("~/runs") == home / "runs"
    assert expanded(Path("~")) == home


@pytest.mark.parametrize("path", ["/~/runs", "runs/~", "runs~", "~nobody-by-this-name/runs"])
def test_other_tildes_are_kept(path: str) -> None:
    assert expanded(path) == Path(path)


@pytest.mark.parametrize("value", [None, 3, b"runs", "", ["runs"]])
def test_a_value_that_is_not_a_path_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"`folder` is .*, but must be a path"):
        as_path(value, "folder")


def test_a_path_may_be_a_text_or_a_path(home: Path) -> None:
    assert as_path("~/runs", "folder") == as_path(Path("~/runs"), "folder") == home / "runs"


def test_a_missing_path_is_reported(home: Path) -> None:
    require_exists(home, BundleError)
    with pytest.raises(BundleError, match=f"`{home / 'nowhere'}` does not exist"):
        require_exists(home / "nowhere", BundleError)


def test_a_name_that_is_too_long_is_reported(home: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read: File name too long"):
        require_exists(home / ("x" * 1000), BundleError)


def test_every_path_of_a_command_is_expanded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, values = typer.Typer(), list[Any]()

    @app.command()
    def main(
        argument: Path,
        output: Annotated[Path | None, typer.Option()] = None,
        earlier: Annotated[list[Path] | None, typer.Option()] = None,
        tag: Annotated[str, typer.Option()] = "",
    ) -> None:
        values.extend([argument, output, earlier, tag])

    options = ["--output=~/out", "--earlier=~/a", "--earlier=b", "--tag=~/tag"]
    monkeypatch.setattr(sys, "argv", ["command", "~/in", *options])
    with pytest.raises(SystemExit) as end:
        run(app)
    assert not end.value.code
    assert values == [home / "in", home / "out", [home / "a", Path("b")], "~/tag"]


def write_data(home: Path) -> None:
    """A collection of two documents in each layout, with vectors."""
    for file, content in {
        "oaks.csv": "query,document,label\noak,An oak.,1\noak,A stone.,0\n",
        "oaks/corpus.jsonl": '{"_id": "a", "text": "An oak."}\n{"_id": "b", "text": "A stone."}',
        "oaks/queries.jsonl": '{"_id": "q", "text": "oak"}',
        "oaks/qrels/test.tsv": "query-id\tcorpus-id\tscore\nq\ta\t1",
        "elms/corpus.tsv": "a\tAn oak.\nb\tA stone.",
        "elms/queries.tsv": "q\toak",
        "elms/qrels.txt": "q 0 a 1",
    }.items():
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_text(content, encoding="utf-8")
    for name, n_rows in (("queries", 1), ("corpus", 2)):
        np.save(home / f"{name}.npy", np.eye(n_rows, 3))


@pytest.mark.parametrize("spec", ["csv:~/oaks.csv", "beir:~/oaks", "trec:~/elms"])
def test_the_path_of_a_collection_may_begin_with_a_tilde(home: Path, spec: str) -> None:
    write_data(home)
    collection = load_collection(spec)
    assert len(collection.corpus) == 2
    assert domain_of(spec) == collection.domain
    assert "~" not in collection.domain
    assert list(load_texts(spec)[0].values()) == list(collection.corpus.values())
    documents = embedding_source("npy:~").embed(collection)[1]
    np.testing.assert_array_equal(documents, np.eye(2, 3))


def folder_of_an_encoder(home: Path) -> Path:
    (home / "encoder").mkdir()
    return text_model("~/encoder").folder


def folder_of_the_cache(home: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTUM_RERANK_CACHE", "~/encoder")
        return default_cache_folder()


@pytest.mark.parametrize(
    "folder",
    [folder_of_an_encoder, folder_of_the_cache, lambda _: Path(check_root("~/encoder"))],
    ids=["encoder", "cache", "trials"],
)
def test_a_folder_may_begin_with_a_tilde(home: Path, folder: Callable[[Path], Path]) -> None:
    assert folder(home) == home / "encoder"


def test_a_yaml_file_and_those_that_it_names_may_begin_with_a_tilde(home: Path) -> None:
    (home / "below").mkdir()
    (home / "seed.yaml").write_text("seed: 3\n")
    (home / "below/base.yaml").write_text("include: [~/seed.yaml]\n")
    (home / "below/space.yaml").write_text(SPACE)
    assert load_config(Path("~/below/base.yaml")).seed == 3
    assert load_space(Path("~/below/space.yaml")).base.seed == 3


SPACE = """
name: small
base: ~/below/base.yaml
objective: {metric: ndcg@10, mode: max}
budget: {trials: 2, epochs: 2, hours: 1.0, trial_memory_gb: 1.0}
sampler: {name: random}
scheduler: {name: none}
parameters:
  loss.margin: {type: float, low: 0.1, high: 0.8}
"""
