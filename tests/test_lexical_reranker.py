"""Rerankers whose score has a lexical part, from training to index."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from quantum_rerank.cli.main import app
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.document_index import DocumentIndex
from quantum_rerank.embeddings import ExampleTexts, TextEncoder
from quantum_rerank.errors import BundleError, ConfigError, DataError
from quantum_rerank.export import ExportedModel, export_model, read_bundle, write_bundle
from quantum_rerank.export.bundle import TERMS
from quantum_rerank.lexical import Postings, index_texts
from quantum_rerank.reranker import Reranker
from quantum_rerank.similarity import build_head, fuse

QUERY = "fractured femur"
CORPUS = ["Fracture of the femur", "Cholera", "Fracture of the skull", "Cholera", "", "CHOLERA"]
FUSION, LEXICAL = 0.5, 0.25

pytestmark = pytest.mark.slow  # the encoder is loaded


@pytest.fixture(scope="module")
def bundle(
    tmp_path_factory: pytest.TempPathFactory,
    small_config: Callable[..., ExperimentConfig],
) -> Path:
    """An untrained model whose lexical part has a weight."""
    torch.manual_seed(0)
    config = override(small_config(), {"data.encoder": "minilm", "data.lexical": "stems+ngrams"})
    encoder = TextEncoder("minilm")
    vectors = encoder.encode([QUERY, *CORPUS])
    head = build_head(config, vectors.shape[1])
    assert head.lexical is not None
    head.lexical.weight.fill_(LEXICAL)
    return export_model(
        tmp_path_factory.mktemp("lexical") / "bundle",
        ExportedModel(
            head=head,
            config=config,
            fusion_weight=FUSION,
            encoder_fingerprint=encoder.fingerprint,
            data_fingerprint="",
            metrics={"validation": {"lexical_weight": LEXICAL}},
            examples=[ExampleTexts(QUERY, vectors[0], tuple(CORPUS), vectors[1:])],
            lexicon=index_texts(CORPUS, "stems+ngrams", "english").lexicon,
        ),
    )


@pytest.fixture
def reranker(bundle: Path) -> Reranker:
    return Reranker.load(bundle)


@pytest.fixture
def index(reranker: Reranker, tmp_path: Path) -> DocumentIndex:
    return reranker.index(CORPUS, tmp_path / "index")


@pytest.mark.filterwarnings("ignore::quantum_rerank.errors.EncoderWarning")
class TestScores:
    def test_the_first_stage_is_a_mean_of_cosine_and_bm25(self, reranker: Reranker) -> None:
        vectors = TextEncoder("minilm").encode([QUERY, *CORPUS])
        cosine = (vectors[1:] @ vectors[0]).astype(np.float64)
        lexical = index_texts(CORPUS, "stems+ngrams", "english").scores(QUERY)
        with torch.inference_mode():
            states = reranker._head.represent(torch.from_numpy(vectors))
            affinity = reranker._head.compare(states[:1], states[1:])[0].numpy()
        expected = fuse(fuse(cosine, lexical, LEXICAL), affinity, FUSION)
        np.testing.assert_allclose(reranker.scores(QUERY, CORPUS), expected, atol=1e-6)

    def test_a_score_does_not_depend_on_the_other_documents(self, reranker: Reranker) -> None:
        together = reranker.scores(QUERY, CORPUS)
        alone = [reranker.scores(QUERY, [text])[0] for text in CORPUS]
        np.testing.assert_allclose(together, alone, atol=1e-6)
        assert together[1] == together[3] == together[5]  # equal texts, and case does not count

    def test_the_examples_of_the_bundle_are_reproduced(
        self, reranker: Reranker, bundle: Path
    ) -> None:
        (example,) = read_bundle(bundle)[1].examples
        scores = reranker.scores(example.query, list(example.documents))
        np.testing.assert_allclose(scores, example.scores, atol=1e-6)

    def test_an_index_of_the_same_corpus_gives_the_same_scores(
        self, reranker: Reranker, index: DocumentIndex
    ) -> None:
        expected = reranker.rank(QUERY, CORPUS)
        ranked = reranker.rank_indexed(QUERY, index)
        assert [hit.row for hit in ranked] == [hit.index for hit in expected]
        np.testing.assert_allclose(
            [hit.score for hit in ranked], [hit.score for hit in expected], atol=1e-6
        )
        some = reranker.rank_indexed(QUERY, index, rows=[3, 2, 1, 0])
        by_row = {hit.row: hit.score for hit in ranked}
        assert [hit.score for hit in some] == pytest.approx([by_row[hit.row] for hit in some])

    def test_an_index_is_opened_again(self, reranker: Reranker, index: DocumentIndex) -> None:
        folder = Path(str(index.embeddings.filename)).parent  # type: ignore[attr-defined]
        again = reranker.open_index(folder)
        assert reranker.rank_indexed(QUERY, again) == reranker.rank_indexed(QUERY, index)

    def test_vectors_need_the_texts_too(self, reranker: Reranker, tmp_path: Path) -> None:
        vectors = TextEncoder("minilm").encode([QUERY, *CORPUS])
        scores = reranker.scores_of_embeddings(vectors[0], vectors[1:], QUERY, CORPUS)
        np.testing.assert_allclose(scores, reranker.scores(QUERY, CORPUS), atol=1e-6)
        with pytest.raises(DataError, match="`texts` is missing"):
            reranker.scores_of_embeddings(vectors[0], vectors[1:], QUERY)
        with pytest.raises(DataError, match="`query_text` is missing"):
            reranker.scores_of_embeddings(vectors[0], vectors[1:], texts=CORPUS)
        with pytest.raises(DataError, match="2 texts, but there are 6 vectors"):
            reranker.scores_of_embeddings(vectors[0], vectors[1:], QUERY, CORPUS[:2])
        with pytest.raises(DataError, match="`texts` is missing"):
            reranker.index_embeddings(vectors[1:], tmp_path / "without")
        indexed = reranker.index_embeddings(vectors[1:], tmp_path / "index", CORPUS)
        with pytest.raises(DataError, match="`query_text` is missing"):
            reranker.scores_of_indexed(vectors[0], indexed)

    @pytest.mark.parametrize("query", ["?!", "the of", "xyzzy"])
    def test_a_query_without_known_words_is_ranked(self, reranker: Reranker, query: str) -> None:
        assert np.isfinite(reranker.scores(query, CORPUS)).all()


def folder_of(index: DocumentIndex) -> Path:
    return Path(str(index.embeddings.filename)).parent  # type: ignore[attr-defined]


ARRAYS = [
    "terms",
    *(f"{group}.{name}" for group in ("by_term", "by_document") for name in Postings._fields),
]


@pytest.mark.parametrize("name", ARRAYS)
def test_a_cut_off_or_missing_array_is_refused(
    reranker: Reranker, index: DocumentIndex, name: str
) -> None:
    file = folder_of(index) / f"ngrams.{name}.npy"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(BundleError, match=rf"ngrams\.{name}\.npy.*cut off or altered"):
        reranker.open_index(file.parent)
    file.unlink()
    with pytest.raises(BundleError, match=rf"ngrams\.{name}\.npy` is missing"):
        reranker.open_index(file.parent)


@pytest.mark.parametrize("name", ["terms", "by_term.starts", "by_document.starts"])
def test_arrays_that_do_not_fit_each_other_are_refused(
    reranker: Reranker, index: DocumentIndex, name: str
) -> None:
    file = folder_of(index) / f"stems.{name}.npy"
    np.save(file, np.load(file)[::-1])
    with pytest.raises(BundleError, match="its stems do not fit each other"):
        reranker.open_index(file.parent)


def test_postings_of_documents_that_do_not_exist_are_refused(
    reranker: Reranker, index: DocumentIndex
) -> None:
    file = folder_of(index) / "stems.by_term.members.npy"
    np.save(file, np.load(file) + 1000)
    altered_index = reranker.open_index(file.parent)
    with pytest.raises(BundleError, match="terms of the index were altered"):
        reranker.rank_indexed(QUERY, altered_index)


def test_an_index_of_another_bundle_is_refused(
    reranker: Reranker, index: DocumentIndex, bundle: Path, tmp_path: Path
) -> None:
    head, manifest = read_bundle(bundle)
    assert head.lexical is not None
    lexicon = index_texts(["other texts"], "stems+ngrams", "english").lexicon
    other = write_bundle(tmp_path / "other", head.state_dict(), manifest, lexicon)
    with pytest.raises(BundleError, match="written with another model"):
        Reranker.load(other).open_index(folder_of(index))


def test_an_index_of_an_earlier_version_is_refused(
    reranker: Reranker, index: DocumentIndex
) -> None:
    file = folder_of(index) / "index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema_version": 1}))
    with pytest.raises(BundleError, match=r"schema version 1, .*Index the documents again"):
        reranker.open_index(file.parent)


@pytest.mark.parametrize("query", ["?!", "the of", "xyzzy", QUERY])
@pytest.mark.parametrize("texts", [CORPUS, ["the of and", "of the", "?!", ""]])
@pytest.mark.filterwarnings("ignore::quantum_rerank.errors.EncoderWarning")
def test_documents_and_queries_without_words_are_ranked(
    reranker: Reranker, tmp_path: Path, query: str, texts: list[str]
) -> None:
    index = reranker.index(texts, tmp_path / "texts")
    assert index.lexical is not None
    ranked = reranker.rank_indexed(query, index)
    lexical = index.lexical.scores(query)
    assert ((lexical >= 0.0) & (lexical <= 1.0)).all()
    for hit in ranked:  # each document is scored alone as among all
        (alone,) = reranker.rank_indexed(query, index, rows=[hit.row])
        assert alone.score == pytest.approx(hit.score, abs=1e-6)


@pytest.mark.parametrize("top_k", [1, 2, 3, 5, 6, 7])
def test_the_best_documents_are_the_first_of_all(
    reranker: Reranker, index: DocumentIndex, top_k: int
) -> None:
    ranked = reranker.rank_indexed(QUERY, index)
    assert ranked[0].score > ranked[-1].score
    assert {ranked[i].score == ranked[i + 1].score for i in range(len(ranked) - 1)} == {True, False}
    assert reranker.rank_indexed(QUERY, index, top_k=top_k) == ranked[:top_k]


def altered(record: Any) -> None:
    record["lexical"] = {"kind": "stems"}


def without(record: Any) -> None:
    del record["lexical"]


@pytest.mark.parametrize(("change", "message"), [(altered, "altered"), (without, "no terms")])
def test_an_index_without_its_terms_is_refused(
    reranker: Reranker, index: DocumentIndex, change: Callable[[Any], None], message: str
) -> None:
    folder = Path(str(index.embeddings.filename)).parent  # type: ignore[attr-defined]
    record = json.loads((folder / "index.json").read_text())
    change(record)
    (folder / "index.json").write_text(json.dumps(record))
    with pytest.raises(BundleError, match=message):
        reranker.rank_indexed(QUERY, reranker.open_index(folder))


def test_a_bundle_without_its_terms_is_refused(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "cut")
    file = tmp_path / "cut" / TERMS
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BundleError, match="cut off or altered"):
        Reranker.load(tmp_path / "cut")
    file.unlink()
    with pytest.raises(BundleError, match="missing"):
        Reranker.load(tmp_path / "cut")


def test_the_model_card_names_the_lexical_part(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    assert "First stage = (1 - v) cosine + v BM25, v = 0.25, over stems+ngrams (english)." in card


def test_a_language_without_a_stemmer_is_refused(
    small_config: Callable[..., ExperimentConfig],
) -> None:
    with pytest.raises(ConfigError, match="is 'klingon', but must be a language"):
        override(small_config(), {"data.language": "klingon"})


def test_the_command_scores_jsonl_as_the_reranker_does(
    bundle: Path, reranker: Reranker, tmp_path: Path
) -> None:
    documents = [text for text in CORPUS if text]
    requests, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    requests.write_text(json.dumps({"query": QUERY, "documents": documents}))
    result = CliRunner().invoke(
        app, ["rerank", str(bundle), "--input", str(requests), "--output", str(output)]
    )
    assert result.exit_code == 0, result.output
    written = json.loads(output.read_text())["documents"]
    expected = reranker.rank(QUERY, documents)
    assert [hit["text"] for hit in written] == [hit.document for hit in expected]
    assert [hit["score"] for hit in written] == pytest.approx(
        [hit.score for hit in expected], abs=1e-5
    )
