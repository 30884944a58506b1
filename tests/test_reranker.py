from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from quantum_rerank.circuits import ENGINES
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.document_index import DocumentIndex
from quantum_rerank.embeddings import Embeddings, ExampleTexts, Role, TextEncoder, source_of
from quantum_rerank.errors import (
    BundleError,
    ConfigError,
    DataError,
    EmbeddingError,
    EncoderWarning,
    OutputError,
)
from quantum_rerank.evaluation.ranking import Candidates
from quantum_rerank.export import ExportedModel, Manifest, export_model, read_bundle, write_bundle
from quantum_rerank.reranker import Reranker
from quantum_rerank.similarity import MODELS, build_head
from quantum_rerank.training.models import train_model
from quantum_rerank.training.trial_data import TrialData

DIM = 3


class ReadVectors(Reranker):
    """A reranker that reads a text's vector off the text: `1 0 0`."""

    def _encode(self, texts: Sequence[str], *role: Role, **options: bool) -> Embeddings:
        return np.stack([vector(text) for text in texts])


def vector(text: str) -> Embeddings:
    values = np.array([float(word) for word in text.split()], dtype=np.float32)
    unit: Embeddings = values / np.linalg.norm(values)
    return unit


@pytest.fixture
def manifest(small_config: Callable[..., ExperimentConfig]) -> Manifest:
    config = override(small_config({"model": "cosine"}), {"data.encoder": "npy:vectors"})
    return Manifest(config, DIM, 0.5, "npy:vectors", "abc", {})


@pytest.fixture
def reranker(manifest: Manifest) -> ReadVectors:
    head = build_head(manifest.config, DIM)
    return ReadVectors(head, manifest)


DOCUMENTS = ["0 1 0", "1 0 0", "1 1 0", "0 0 1"]


def test_documents_are_ranked_best_first_with_their_index_and_score(reranker: ReadVectors) -> None:
    ranked = reranker.rank("1 0.1 0", DOCUMENTS)
    assert [hit.document for hit in ranked] == ["1 0 0", "1 1 0", "0 1 0", "0 0 1"]
    assert [hit.index for hit in ranked] == [1, 2, 0, 3]
    scores = reranker.scores("1 0.1 0", DOCUMENTS)
    assert [hit.score for hit in ranked] == sorted(scores, reverse=True)


def test_equal_documents_keep_their_order(reranker: ReadVectors) -> None:
    assert [hit.index for hit in reranker.rank("1 0 0", ["0 1 0", "0 0 1", "0 1 0"])] == [0, 1, 2]


@pytest.mark.parametrize(("top_k", "n"), [(None, 4), (1, 1), (2, 2), (4, 4), (100, 4)])
def test_at_most_top_k_documents_are_returned(
    reranker: ReadVectors, top_k: int | None, n: int
) -> None:
    ranked = reranker.rank("1 0.1 0", DOCUMENTS, top_k)
    assert ranked == reranker.rank("1 0.1 0", DOCUMENTS)[:n]
    assert len(ranked) == n


@pytest.mark.parametrize("top_k", [0, -1])
def test_a_top_k_below_one_is_refused(reranker: ReadVectors, top_k: int) -> None:
    with pytest.raises(DataError, match=f"`top_k` is {top_k}, but must be at least 1"):
        reranker.rank("1 0 0", DOCUMENTS, top_k)


@pytest.fixture
def plain(manifest: Manifest) -> Reranker:
    """A reranker without an encoder that it could ask."""
    return Reranker(build_head(manifest.config, DIM), manifest)


@pytest.mark.parametrize("query", ["", "  \n"])
@pytest.mark.parametrize("documents", [[], ["a document"]])
def test_a_query_without_text_is_refused(plain: Reranker, query: str, documents: list[str]) -> None:
    with pytest.raises(DataError, match="The query has no text"):
        plain.rank(query, documents)


def test_no_documents_give_no_ranking(plain: Reranker) -> None:
    assert plain.rank("a query", []) == []
    assert plain.rank("a query", [], top_k=3) == []
    assert plain.scores("a query", []).shape == (0,)


def test_no_vectors_give_no_scores(plain: Reranker) -> None:
    none = np.empty((0, DIM), dtype=np.float32)
    assert plain.scores_of_embeddings(vector("1 0 0"), none).shape == (0,)


@pytest.mark.parametrize(
    ("query", "documents"),
    [((4,), (2, 3)), ((3,), (2, 4)), ((1, 3), (2, 3)), ((3,), (3,)), ((3,), (2, 2, 3))],
)
def test_vectors_of_a_wrong_shape_are_refused(
    plain: Reranker, query: tuple[int, ...], documents: tuple[int, ...]
) -> None:
    with pytest.raises(EmbeddingError, match=r"must be \(3,\) and \(n, 3\)"):
        plain.scores_of_embeddings(
            np.ones(query, dtype=np.float32), np.ones(documents, dtype=np.float32)
        )


def test_scores_do_not_depend_on_the_length_of_the_vectors(plain: Reranker) -> None:
    query, documents = vector("1 0.1 0"), np.stack([vector(text) for text in DOCUMENTS])
    lengths = np.array([[1.0], [9.0], [0.3], [70.0]], dtype=np.float32)
    np.testing.assert_allclose(
        plain.scores_of_embeddings(5 * query, documents * lengths),
        plain.scores_of_embeddings(query, documents),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "row 1 holds NaN"), (0.0, "row 1 is all zero")]
)
def test_vectors_without_a_direction_are_refused(
    plain: Reranker, value: float, message: str
) -> None:
    documents = np.ones((2, DIM), dtype=np.float32)
    documents[1] = value
    with pytest.raises(EmbeddingError, match=f"documents: {message}"):
        plain.scores_of_embeddings(vector("1 0 0"), documents)
    with pytest.raises(EmbeddingError, match="query: row 0"):
        plain.scores_of_embeddings(documents[1], documents[:1])


def test_documents_may_be_any_iterable(reranker: ReadVectors) -> None:
    expected = reranker.rank("1 0.1 0", DOCUMENTS)
    assert reranker.rank("1 0.1 0", iter(DOCUMENTS)) == expected
    assert reranker.rank("1 0.1 0", np.array(DOCUMENTS)) == expected


COLUMN = pd.Series(DOCUMENTS, index=[3, 2, 1, 0])  # its labels would mislead


def test_a_column_of_a_table_is_ranked_by_position(reranker: ReadVectors) -> None:
    expected = reranker.rank("1 0.1 0", DOCUMENTS)
    assert reranker.rank("1 0.1 0", COLUMN) == expected
    assert reranker.rank(np.str_("1 0.1 0"), COLUMN, np.int64(2)) == expected[:2]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ({"d1": "1 0 0"}, r"is a mapping.*`list\(documents\.values\(\)\)`"),
        (pd.DataFrame({"id": ["d1"], "text": ["1 0 0"]}), r"one column, such as `frame\['text'\]`"),
    ],
)
def test_a_mapping_or_a_table_is_not_ranked_by_its_keys(
    reranker: ReadVectors, documents: Any, message: str, tmp_path: Path
) -> None:
    for call in (
        lambda: reranker.rank("1 0 0", documents),
        lambda: reranker.scores("1 0 0", documents),
        lambda: reranker.index(documents, tmp_path / "index"),
    ):
        with pytest.raises(DataError, match=message):
            call()


@pytest.mark.parametrize(
    "convert",
    [
        np.ndarray.tolist,
        lambda vectors: vectors.astype(np.float16),
        lambda vectors: vectors.astype(np.float64),
        lambda vectors: torch.tensor(vectors, requires_grad=True),
        pd.DataFrame,
    ],
    ids=["list", "float16", "float64", "tensor", "table"],
)
def test_vectors_may_be_lists_arrays_tensors_or_tables(
    write: Write, tmp_path: Path, convert: Callable[[Any], Any]
) -> None:
    reranker, vectors = Reranker.load(write("cosine")), unit_rows(5)
    expected = reranker.scores_of_embeddings(QUERY, vectors)
    scores = reranker.scores_of_embeddings(QUERY.tolist(), convert(vectors))
    np.testing.assert_allclose(scores, expected, atol=1e-3)
    index = reranker.index_embeddings(convert(vectors), tmp_path / "index")
    np.testing.assert_allclose(reranker.scores_of_indexed(QUERY, index), expected, atol=1e-3)


def test_no_vectors_may_be_an_empty_list(plain: Reranker) -> None:
    assert plain.scores_of_embeddings([1, 0, 0], []).shape == (0,)


@pytest.mark.parametrize("vectors", [[["1", "0", "0"]], np.array([[1, 0, None]])])
def test_vectors_that_are_not_numbers_are_refused(
    plain: Reranker, vectors: Any, tmp_path: Path
) -> None:
    with pytest.raises(EmbeddingError, match="vectors must be real numbers"):
        plain.scores_of_embeddings([1, 0, 0], vectors)
    with pytest.raises(EmbeddingError, match="vectors must be real numbers"):
        plain.index_embeddings(vectors, tmp_path / "index")


@pytest.mark.parametrize("model", MODELS)
def test_equal_documents_have_equal_scores_at_any_position(
    write: Write, model: str, tmp_path: Path
) -> None:
    reranker, vectors = Reranker.load(write(model)), unit_rows(3001)
    copies = [0, 1, 2, 1023, 1024, 1500, 2998, 3000]
    vectors[copies] = vectors[0]
    index = reranker.index_embeddings(vectors, tmp_path / "index")
    direct = reranker.scores_of_embeddings(QUERY, vectors)
    indexed = reranker.scores_of_indexed(QUERY, index)
    some = reranker.scores_of_indexed(QUERY, index, [3000, 17, 1023, 0, 17, 1024])
    for scores in (direct[copies], indexed[copies], some[[0, 2, 3, 5]], some[[1, 4]]):
        assert len(set(scores.tolist())) == 1
    np.testing.assert_allclose(indexed, direct, atol=1e-6)


@pytest.mark.parametrize(
    ("query", "documents", "message"),
    [
        ("a query", "Arachnophobia", "`documents` is one text"),
        ("a query", ["a document", None], "Entry 1 of `documents` is None"),
        (["a query"], ["a document"], "The query is \\['a query'\\], but must be a text"),
    ],
)
def test_a_value_that_is_not_a_text_is_refused(
    plain: Reranker, query: Any, documents: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        plain.rank(query, documents)


def test_texts_cannot_be_ranked_by_a_model_without_an_encoder(plain: Reranker) -> None:
    with pytest.raises(EmbeddingError, match="Call `scores_of_embeddings`"):
        plain.rank("a query", ["a document"])


def test_an_encoder_that_was_not_used_in_training_is_refused(
    manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    config = override(manifest.config, {"data.encoder": str(tmp_path)})
    head = build_head(config, DIM)
    moved = Reranker(head, replace(manifest, config=config, encoder_fingerprint="minilm@0123"))
    with pytest.raises(BundleError, match="but the model was trained with `minilm@0123`"):
        moved.rank("a query", ["a document"])


Write = Callable[..., Path]


@pytest.fixture
def write(small_config: Callable[..., ExperimentConfig], tmp_path: Path) -> Write:
    """Write an untrained bundle of some model to `tmp_path`, under a name."""

    def write_one(model: str = "hybrid", name: str = "bundle", **more: Any) -> Path:
        config = small_config({"model": model, "data.encoder": "npy:vectors"} | more)
        torch.manual_seed(0)
        head = build_head(config, DIM)
        if head.gate:
            head.gate.queries = torch.eye(DIM)[:1]
            head.gate.high.fill_(2.0)
        manifest = Manifest(config, DIM, 0.4, "npy:vectors", "abc", {})
        return write_bundle(tmp_path / name, head.state_dict(), manifest)

    return write_one


def test_a_leading_tilde_of_a_folder_is_expanded(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("cosine", "bundle")
    monkeypatch.setenv("HOME", str(tmp_path))
    reranker = Reranker.load("~/bundle", encoder=Path("~/encoder"))
    made = reranker.index_embeddings(unit_rows(3), "~/index")
    assert len(made) == len(reranker.open_index(Path("~/index"))) == 3
    assert (tmp_path / "index").is_dir()


@pytest.mark.parametrize("folder", [None, 3, b"bundle", ""])
def test_a_folder_that_is_not_a_path_is_refused(folder: Any) -> None:
    with pytest.raises(DataError, match=r"`folder` is .*, but must be a path"):
        Reranker.load(folder)


def test_a_missing_folder_is_reported(write: Write, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere` does not exist"):
        Reranker.load(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="nowhere` does not exist"):
        Reranker.load(write()).open_index(tmp_path / "nowhere")


def test_the_repr_of_a_model_and_of_an_index_is_one_line(write: Write, tmp_path: Path) -> None:
    reranker = Reranker.load(write("mlp_twin"))
    assert repr(reranker) == (
        "Reranker(model='mlp_twin', encoder='npy:vectors', embedding_dim=3, fusion_weight=0.4)"
    )
    index = reranker.index_embeddings(unit_rows(3), tmp_path / "index")
    assert repr(index).startswith("DocumentIndex(3 documents, 3-d vectors, 8-d float32 states")


def test_the_bundle_in_the_folder_of_a_search_is_loaded(write: Write, tmp_path: Path) -> None:
    bundle = write("hybrid", "best")
    assert Reranker.load(tmp_path).manifest.sha256 == Reranker.load(bundle).manifest.sha256


def unit_rows(n: int, seed: int = 0) -> Embeddings:
    rows = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    unit: Embeddings = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


QUERY = unit_rows(1, seed=1)[0]
ROWS = [7, 0, 19, 7, 3]


@pytest.mark.parametrize("model", MODELS)
def test_indexed_documents_have_the_same_scores(write: Write, model: str, tmp_path: Path) -> None:
    reranker, vectors = Reranker.load(write(model)), unit_rows(20)
    index = reranker.index_embeddings(vectors, tmp_path / "index")
    direct = reranker.scores_of_embeddings(QUERY, vectors)
    np.testing.assert_allclose(reranker.scores_of_indexed(QUERY, index), direct, atol=1e-12)
    some = reranker.scores_of_indexed(QUERY, index, ROWS)
    np.testing.assert_allclose(some, direct[ROWS], atol=1e-12)
    # Alone, documents go through the float32 MLP in another batch, which rounds in another way.
    alone = reranker.scores_of_embeddings(QUERY, vectors[ROWS])
    np.testing.assert_allclose(some, alone, atol=1e-6)


def test_a_gate_weighs_indexed_documents_like_texts(write: Write, tmp_path: Path) -> None:
    gated = Reranker.load(write(name="gated", **{"fusion.gate": "nearest"}))
    bare, vectors = Reranker.load(write(name="bare")), unit_rows(20)
    direct = gated.scores_of_embeddings(QUERY, vectors)
    # w(q) = w t / 2, so that this much of what the affinity adds to the cosine is left.
    cosine = np.vecdot(vectors, QUERY).astype(np.float64)
    share = max(float(QUERY[0]), 0.0) / 2
    expected = cosine + (bare.scores_of_embeddings(QUERY, vectors) - cosine) * share
    np.testing.assert_allclose(direct, expected, atol=1e-12)
    index = gated.index_embeddings(vectors, tmp_path / "index")
    np.testing.assert_allclose(gated.scores_of_indexed(QUERY, index), direct, atol=1e-12)


def test_the_share_of_a_query_is_that_of_the_gate(manifest: Manifest) -> None:
    gated = override(manifest.config, {"fusion.gate": "nearest"})
    head = build_head(gated, DIM)
    assert head.gate is not None
    head.gate.queries = torch.eye(DIM)[:1]
    head.gate.high.fill_(1.0)
    reranker = ReadVectors(head, replace(manifest, config=gated))
    assert reranker.share("1 0 0") == 1.0
    assert reranker.share("3 4 0") == pytest.approx(0.6)
    assert reranker.share("0 1 0") == 0.0


def test_every_query_keeps_the_weight_of_a_model_without_a_gate(reranker: ReadVectors) -> None:
    assert reranker.share("0 1 0") == 1.0


@pytest.mark.parametrize("model", ["hybrid", "low_rank_bilinear"])
def test_a_gated_model_scores_as_in_training(
    trial_data: TrialData, small_config: Callable[..., ExperimentConfig], tmp_path: Path, model: str
) -> None:
    config = small_config({"fusion.gate": "nearest", "model": model})
    head = train_model(config, model, trial_data).head
    assert head.gate is not None
    head.gate.high.fill_(0.9)  # whatever suits validation
    queries = trial_data.validation_out_of_domain[0]
    example = ExampleTexts("q", queries.queries[0], ("d",), queries.documents[:1])
    bundle = export_model(
        tmp_path / "bundle",
        ExportedModel(
            head=head,
            config=config,
            fusion_weight=0.8,
            encoder_fingerprint="npy:v",
            data_fingerprint="abc",
            metrics={},
            examples=[example],
        ),
    )
    reranker = Reranker.load(bundle)
    index = reranker.index_embeddings(queries.documents, tmp_path / "index")
    trained = Candidates(queries).parts(head).fused(0.8)
    for query, rows, expected in zip(queries.queries, queries.candidates, trained, strict=True):
        direct = reranker.scores_of_embeddings(query, queries.documents[rows])
        np.testing.assert_allclose(direct, expected, atol=1e-6)
        indexed = reranker.scores_of_indexed(query, index, rows.tolist())
        np.testing.assert_allclose(indexed, expected, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_an_opened_index_gives_the_same_scores(write: Write, model: str, tmp_path: Path) -> None:
    reranker = Reranker.load(write(model))
    made = reranker.index_embeddings(unit_rows(20), tmp_path / "index")
    opened = Reranker.load(tmp_path / "bundle").open_index(tmp_path / "index")
    for rows in (None, ROWS):
        np.testing.assert_array_equal(
            reranker.scores_of_indexed(QUERY, opened, rows),
            reranker.scores_of_indexed(QUERY, made, rows),
        )


@pytest.mark.parametrize(
    ("model", "engine"),
    [*(("hybrid", engine) for engine in ENGINES), *((model, "statevector") for model in MODELS)],
)
def test_every_engine_gives_the_same_scores_and_reads_the_same_index(
    write: Write, model: str, engine: str, tmp_path: Path
) -> None:
    trained = Reranker.load(write(model))
    expected = trained.scores_of_embeddings(QUERY, unit_rows(6))
    trained.index_embeddings(unit_rows(6), tmp_path / "index")
    other = Reranker.load(tmp_path / "bundle", engine=engine)
    index = other.index_embeddings(unit_rows(6), tmp_path / "own index")
    opened = other.open_index(tmp_path / "index")
    for scores in (
        other.scores_of_embeddings(QUERY, unit_rows(6)),
        other.scores_of_indexed(QUERY, opened),
        other.scores_of_indexed(QUERY, index),
    ):
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_the_manifest_names_the_engine_of_the_training(write: Write) -> None:
    bundle = write()
    assert Reranker.load(bundle, engine="torch").manifest == Reranker.load(bundle).manifest


def test_a_model_trained_with_several_threads_loads_with_a_single_threaded_engine(
    write: Write,
) -> None:
    bundle = write(**{"circuit.engine": "statevector", "circuit.threads": 2})
    direct = Reranker.load(bundle).scores_of_embeddings(QUERY, unit_rows(6))
    other = Reranker.load(bundle, engine="torch").scores_of_embeddings(QUERY, unit_rows(6))
    np.testing.assert_allclose(other, direct, atol=1e-6)


def test_an_unknown_engine_is_refused(write: Write) -> None:
    with pytest.raises(
        ConfigError, match=r"`circuit\.engine` is 'abacus', but must be one of 'lightning"
    ):
        Reranker.load(write(), engine="abacus")


def test_a_read_manifest_has_the_hash_of_the_bundle(write: Write, tmp_path: Path) -> None:
    bundle = write()
    head, manifest = read_bundle(bundle)
    written = json.loads((bundle / "manifest.json").read_text())
    assert manifest.sha256 == written["manifest_sha256"]
    assert "sha256" not in written
    again = write_bundle(tmp_path / "again", head.state_dict(), manifest)
    assert read_bundle(again)[1].sha256 == manifest.sha256


@pytest.fixture
def reading(write: Write) -> ReadVectors:
    """A reranker with a bundle that reads a text's vector off the text."""
    reranker = ReadVectors.load(write("cosine"))
    assert isinstance(reranker, ReadVectors)
    return reranker


@pytest.fixture
def index(reading: ReadVectors, tmp_path: Path) -> DocumentIndex:
    return reading.index(DOCUMENTS, tmp_path / "index")


@pytest.mark.parametrize("top_k", [None, 1, 3, 100])
def test_an_index_is_ranked_like_its_documents(
    reading: ReadVectors, index: DocumentIndex, top_k: int | None
) -> None:
    ranked = reading.rank_indexed("1 0.1 0", index, top_k=top_k)
    direct = reading.rank("1 0.1 0", DOCUMENTS, top_k)
    assert [hit.row for hit in ranked] == [hit.index for hit in direct]
    assert [hit.score for hit in ranked] == pytest.approx([hit.score for hit in direct])


@pytest.mark.parametrize(
    ("rows", "top_k", "expected"),
    [
        ([3, 0, 2], None, [2, 0, 3]),
        ([3, 0, 2], 2, [2, 0]),
        ([0, 1, 0], None, [1, 0, 0]),
        (np.array([3, 0]), None, [0, 3]),
        (pd.Series([3, 0, 2], index=[2, 0, 1]), None, [2, 0, 3]),
        (iter([3, 0]), np.int64(1), [0]),
        ([], None, []),
    ],
)
def test_candidates_are_ranked_by_their_rows(
    reading: ReadVectors, index: DocumentIndex, rows: Any, top_k: int | None, expected: list[int]
) -> None:
    ranked = reading.rank_indexed("1 0.1 0", index, rows, top_k)
    assert [hit.row for hit in ranked] == expected
    scores = [hit.score for hit in ranked]
    assert scores == sorted(scores, reverse=True)


def test_equal_indexed_documents_keep_their_order(
    reading: ReadVectors, index: DocumentIndex
) -> None:
    # Row 0 and row 3 are both orthogonal to the query.
    assert [hit.row for hit in reading.rank_indexed("1 0 0", index, [3, 0])] == [3, 0]
    assert [hit.row for hit in reading.rank_indexed("1 0 0", index, [0, 3])] == [0, 3]


def test_a_query_to_an_index_has_the_same_rules(reading: ReadVectors, index: DocumentIndex) -> None:
    with pytest.raises(DataError, match="`top_k` is 0, but must be at least 1"):
        reading.rank_indexed("1 0 0", index, top_k=0)
    with pytest.raises(DataError, match="The query has no text"):
        reading.rank_indexed(" ", index)
    with pytest.raises(DataError, match="Row 4 is not in the index, which has 4 documents"):
        reading.rank_indexed("1 0 0", index, [0, 4])
    with pytest.raises(EmbeddingError, match=r"has the shape \(4,\), but must be \(3,\)"):
        reading.scores_of_indexed(np.ones(4, dtype=np.float32), index)


def test_an_index_of_another_model_is_refused(
    write: Write, index: DocumentIndex, tmp_path: Path
) -> None:
    other = Reranker.load(write("cosine", "other", seed=8))
    with pytest.raises(BundleError, match="written with another model"):
        other.open_index(tmp_path / "index")
    with pytest.raises(BundleError, match="written with another model"):
        other.scores_of_indexed(QUERY, index)


def test_vectors_of_a_wrong_shape_are_not_indexed(reading: ReadVectors, tmp_path: Path) -> None:
    for shape in ((2, 4), (3,), (2, 2, 3)):
        with pytest.raises(EmbeddingError, match=r"must be \(n, 3\)"):
            reading.index_embeddings(np.ones(shape, dtype=np.float32), tmp_path / "index")


def test_an_existing_folder_is_refused_before_encoding(
    write: Write, index: DocumentIndex, tmp_path: Path
) -> None:
    # A model of bare vectors has no encoder: it would say so if it were asked for one.
    with pytest.raises(OutputError, match="exists already"):
        Reranker.load(write(name="other")).index(["a document"], tmp_path / "index")


def test_a_model_without_a_bundle_cannot_write_an_index(plain: Reranker, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"Export it, and use `Reranker\.load`"):
        plain.index_embeddings(unit_rows(2), tmp_path / "index")


@pytest.mark.slow  # imports sentence-transformers
def test_texts_are_ranked_with_the_scores_of_the_manifest(
    small_config: Callable[..., ExperimentConfig], tmp_path: Path
) -> None:
    encoder = TextEncoder("minilm", tmp_path / "cache")
    query = "fear of spiders"
    documents = ("Broken left ankle", "Arachnophobia", "Fear of heights")
    vectors = encoder.encode([query, *documents])
    example = ExampleTexts(query, vectors[0], documents, vectors[1:])
    torch.manual_seed(0)
    config = small_config({"data.encoder": "minilm"})
    head = build_head(config, 384)
    bundle = export_model(
        tmp_path / "bundle",
        ExportedModel(
            head=head,
            config=config,
            fusion_weight=0.3,
            encoder_fingerprint=encoder.fingerprint,
            data_fingerprint="abc",
            metrics={},
            examples=[example],
        ),
    )
    reranker = Reranker.load(bundle)
    (example,) = reranker.manifest.examples
    ranked = reranker.rank(example.query, example.documents)
    assert ranked[0].score == max(hit.score for hit in ranked)
    assert {hit.document for hit in ranked} == set(documents)
    for hit in ranked:
        assert hit.score == pytest.approx(example.scores[hit.index], abs=1e-5)


# Roles, and what the encoder does not read.


@pytest.fixture
def worded(
    words_encoder: str, small_config: Callable[..., ExperimentConfig], tmp_path: Path
) -> Write:
    """Write the bundle of an untrained model over an encoder, with prompts if there are any."""

    def write_one(encoder: str = words_encoder, **prompts: str) -> Path:
        named = {f"data.{role}_prompt": prompt for role, prompt in prompts.items()}
        config = small_config({"model": "cosine", "data.encoder": encoder, **named})
        source = source_of(config.data)
        assert isinstance(source, TextEncoder)
        vectors = source.encode(["oak"])
        head = build_head(config, vectors.shape[1])
        example = ExampleTexts("oak", vectors[0], ("oak",), vectors)
        folder = tmp_path / f"bundle-{len(list(tmp_path.iterdir()))}"
        return export_model(
            folder,
            ExportedModel(
                head=head,
                config=config,
                fusion_weight=0.0,
                encoder_fingerprint=source.fingerprint,
                data_fingerprint="",
                metrics={},
                examples=[example],
            ),
        )

    return write_one


TREES = ["oak bark", "elm leaf", "oak"]


def test_queries_and_documents_are_embedded_with_the_prompts_of_the_training(
    worded: Write, words_encoder: str, tmp_path: Path
) -> None:
    reranker = Reranker.load(worded(query="query: ", document="passage: "))
    bare = TextEncoder(words_encoder)
    (query,) = bare.encode(["query: oak"])
    expected = bare.encode([f"passage: {tree}" for tree in TREES]) @ query
    np.testing.assert_allclose(reranker.scores("oak", TREES), expected, atol=1e-6)
    ranked = {hit.document: hit.score for hit in reranker.rank("oak", TREES)}
    assert [ranked[tree] for tree in TREES] == pytest.approx(expected.tolist(), abs=1e-6)
    index = reranker.index(TREES, tmp_path / "index")
    rows = {hit.row: hit.score for hit in reranker.rank_indexed("oak", index)}
    assert [rows[row] for row in range(3)] == pytest.approx(expected.tolist(), abs=1e-6)
    assert reranker.scores("oak", ["oak"])[0] < 0.99  # the two have other prompts


@pytest.mark.slow
@pytest.mark.parametrize(
    "prompts",
    [{"query": "query: ", "document": "passage: "}, {"query": "Represent this sentence: "}],
    ids=["e5", "bge"],
)
def test_a_bundle_uses_the_prompts_of_its_encoders_folder(
    worded: Write, prompted_minilm: Callable[..., Path], prompts: dict[str, str]
) -> None:
    from sentence_transformers import SentenceTransformer

    folder = str(prompted_minilm(prompts))
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    query = model.encode_query(["fear of spiders"], normalize_embeddings=True)[0]
    documents = model.encode_document(TREES, normalize_embeddings=True)
    scores = Reranker.load(worded(folder)).scores("fear of spiders", TREES)
    np.testing.assert_allclose(scores, documents @ query, rtol=0, atol=1e-6)


LONG, STRANGE = "oak " * 20, "\u0e15\u0e49\u0e19\u0e44\u0e21\u0e49"


@pytest.mark.parametrize(
    ("query", "documents", "expected"),
    [
        (LONG, TREES, "The query is longer than the 8 tokens that the encoder reads"),
        (STRANGE, TREES, "The query is written mostly in characters that the encoder does not"),
        ("oak", [*TREES, LONG], "Some documents are longer than the 8 tokens"),
        ("oak", [*TREES, STRANGE], "Some documents are written mostly in characters"),
    ],
)
def test_a_truncated_text_gives_a_warning(
    worded: Write, tmp_path: Path, query: str, documents: list[str], expected: str
) -> None:
    reranker = Reranker.load(worded())
    with pytest.warns(EncoderWarning, match=expected) as caught:
        reranker.rank(query, documents)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(EncoderWarning, match=expected):
        reranker.scores(query, documents)
    with pytest.warns(EncoderWarning, match=expected):
        reranker.rank_indexed(query, reranker.index(documents, tmp_path / "index"))


def test_the_same_warning_is_shown_once(worded: Write) -> None:
    reranker = Reranker.load(worded())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for number in range(3):
            reranker.rank("oak", [*TREES, *[LONG] * (number + 1)])
    assert [warning.category for warning in caught] == [EncoderWarning]


def test_device_and_batch_size_are_options_of_load(worded: Write) -> None:
    bundle = worded()
    expected = Reranker.load(bundle).scores("oak", TREES)
    scores = Reranker.load(bundle, device="auto", batch_size=2).scores("oak", TREES)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    with pytest.raises(EmbeddingError, match="The device `cuda:99` cannot be used here"):
        Reranker.load(bundle, device="cuda:99")


def test_a_model_is_loaded_on_the_cpu_by_default(worded: Write) -> None:
    bundle = worded()
    head, manifest = read_bundle(bundle)
    elsewhere = override(manifest.config, {"data.device": "cuda:99"})
    loaded = Reranker(head, replace(manifest, config=elsewhere))
    assert len(loaded.rank("oak", TREES)) == 3


@pytest.mark.parametrize("shown", [False, True])
def test_a_progress_bar_of_indexing_is_optional(
    worded: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], shown: bool
) -> None:
    Reranker.load(worded()).index(TREES, tmp_path / "index", show_progress_bar=shown)
    assert ("embedding" in capsys.readouterr().err) == shown
