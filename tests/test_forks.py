"""Models that are loaded before a fork, in real forks and with a real gunicorn.

Each test forks in a new process, since that of pytest has threads which a fork would lose.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
import torch

from quantum_rerank.circuits import ENGINES
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.embeddings import TextEncoder
from quantum_rerank.export import Manifest, write_bundle
from quantum_rerank.similarity import MODELS, build_head

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

WIDTHS = {"minilm": 384, "wordllama": 256}
SECONDS = 1800  # after which something hangs; nothing here depends on how fast the machine is
DOCUMENTS = [f"{kind} number {n} grows in the wood" for kind in ("oak", "elm") for n in range(10)]

every_encoder = pytest.mark.parametrize("encoder", WIDTHS)


@pytest.fixture(scope="module")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """An untrained bundle, with weights so many that torch copies them with several threads."""

    def write(encoder: str, model: str, **more: object) -> Path:
        changes = {"model": model, "data.encoder": encoder, "mlp.hidden_layers": [512, 256]}
        config = override(ExperimentConfig(), {**changes, **more})
        torch.manual_seed(0)
        head = build_head(config, WIDTHS[encoder])
        fingerprint = TextEncoder(encoder).fingerprint
        manifest = Manifest(config, WIDTHS[encoder], 0.5, fingerprint, "abc", {})
        return write_bundle(tmp_path_factory.mktemp("m") / "b", head.state_dict(), manifest)

    return write


FORKING = """
import json, os, signal, sys, threading
from quantum_rerank.reranker import Reranker

SECONDS, documents, models = json.loads(sys.argv[1])
rerankers = [Reranker.load(folder, engine=engine) for folder, engine in models]

def order(reranker):
    return [hit.index for hit in reranker.rank("an elm in the wood", documents, top_k=5)]

def all_orders():
    return [order(reranker) for reranker in rerankers]

def in_a_thread():
    orders = []
    thread = threading.Thread(target=lambda: orders.extend(all_orders()))
    thread.start()
    thread.join()
    return orders

def of_a_model_loaded_in_the_child():
    return order(Reranker.load(models[0][0]))

def forked(what, *arguments):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        try:
            os.write(writing, json.dumps(what(*arguments)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    answer = os.read(reading, 100_000)
    os.close(reading)
    assert os.waitpid(child, 0)[1] == 0 and answer, f"{what.__name__} failed or hangs in a child"
    return json.loads(answer)

before_any_was_used = forked(all_orders)
expected = all_orders()
assert before_any_was_used == expected
assert forked(all_orders) == expected
assert forked(in_a_thread) == expected
assert forked(forked, order, rerankers[0]) == expected[0]
assert forked(of_a_model_loaded_in_the_child) == expected[0]
assert all_orders() == expected
print("all the same")
"""


def environment(**more: str) -> dict[str, str]:
    """Return an environment with several threads, and a tokenizers setting only if given."""
    inherited = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    return inherited | {"OMP_NUM_THREADS": "3"} | more


def rank_in_children(models: list[tuple[str, str | None]], **more: str) -> None:
    arguments = json.dumps([SECONDS // 2, DOCUMENTS, models])
    ended = subprocess.run(
        [sys.executable, "-c", FORKING, arguments],
        env=environment(**more), capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "all the same\n"), ended.stderr
    assert not ended.stderr  # the tokenizers do not warn of the fork


@pytest.mark.extended
def test_a_child_ranks_like_its_parent_by_every_model_and_engine(
    bundle_of: Callable[..., Path],
) -> None:
    bundles = {name: str(bundle_of("wordllama", name)) for name in MODELS}
    models: list[tuple[str, str | None]] = [(bundle, None) for bundle in bundles.values()]
    models += [(bundles["hybrid"], engine) for engine in ENGINES]
    threads = {"circuit.engine": "statevector", "circuit.threads": 2}
    models.append((str(bundle_of("wordllama", "hybrid", **threads)), None))
    rank_in_children(models)


@pytest.mark.extended
@every_encoder
@pytest.mark.parametrize("parallelism", [{}, {"TOKENIZERS_PARALLELISM": "true"}])
def test_a_child_ranks_like_its_parent_with_any_setting_of_the_tokenizers(
    bundle_of: Callable[..., Path], encoder: str, parallelism: dict[str, str]
) -> None:
    rank_in_children([(str(bundle_of(encoder, "hybrid")), None)], **parallelism)


@pytest.mark.extended
@pytest.mark.parametrize("model", MODELS)
def test_a_child_ranks_like_its_parent_by_every_model_over_minilm(
    bundle_of: Callable[..., Path], model: str
) -> None:
    rank_in_children([(str(bundle_of("minilm", model)), None)])


SETTING = """
import os
from quantum_rerank.forks import prepare_for_forks

prepare_for_forks()
prepare_for_forks()
for setting in (None, "true"):
    if setting:
        os.environ["TOKENIZERS_PARALLELISM"] = setting
    child = os.fork()
    if child == 0:
        import torch
        as_it_should = os.environ["TOKENIZERS_PARALLELISM"] == "false"
        os._exit(0 if as_it_should and torch.get_num_threads() == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert os.environ.get("TOKENIZERS_PARALLELISM") == setting
"""


def test_only_the_child_computes_with_one_thread() -> None:
    command = [sys.executable, "-c", SETTING]
    subprocess.run(command, env=environment(), check=True, timeout=SECONDS)


APPLICATION = """
import json, os
from quantum_rerank.reranker import Reranker

documents = json.loads(os.environ["DOCUMENTS"])
rerankers = [Reranker.load(folder) for folder in json.loads(os.environ["BUNDLES"])]

def order(number):
    return [hit.index for hit in rerankers[number].rank("an elm in the wood", documents, top_k=5)]

if os.environ["IS_USED_BEFORE"] == "yes":
    for number in range(len(rerankers)):
        order(number)

def app(environ, start_response):
    answer = {"worker": os.getpid(), "order": order(int(environ["PATH_INFO"].strip("/")))}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
"""


class Server:
    """A running gunicorn: `ask(n)` returns who answered, and the order by the n-th bundle."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, number: int) -> tuple[int, list[int]]:
        connection = HTTPConnection(self._address, timeout=SECONDS)
        try:
            connection.request("GET", f"/{number}")
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer["worker"], answer["order"]

    def ask_until(self, is_enough: Callable[[set[int]], bool], n_bundles: int) -> set[int]:
        """Ask for every bundle again and again, by four at a time; the workers who answered."""
        workers, deadline = set[int](), time.monotonic() + SECONDS
        while not is_enough(workers):
            assert time.monotonic() < deadline, f"only {workers} answer"
            with ThreadPoolExecutor(4) as callers:
                numbers = [number for number in range(n_bundles) for _ in range(4)]
                workers |= {worker for worker, _ in callers.map(self.ask, numbers)}
        return workers


@contextmanager
def serving(folder: Path, bundles: list[Path], is_used_before: bool) -> Iterator[Server]:
    """Run gunicorn --preload with two workers for the block."""
    (folder / "application.py").write_text(APPLICATION)
    variables = {
        "BUNDLES": json.dumps(list(map(str, bundles))),
        "DOCUMENTS": json.dumps(DOCUMENTS),
        "IS_USED_BEFORE": "yes" if is_used_before else "no",
    }
    command = ["-m", "gunicorn", "--preload", "--workers", "2", "--timeout", str(SECONDS)]
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, *command, "--bind", "127.0.0.1:0", "application:app"],
            cwd=folder, env=environment(**variables), stderr=log,
        )  # fmt: skip
        try:
            yield Server(_address(process, folder / "log"))
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            finally:
                process.kill()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + SECONDS
    while not (match := re.search(r"Listening at: http://(\S+)", log.read_text())):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return match[1]


def serve_and_kill(folder: Path, bundles: list[Path], is_used_before: bool) -> None:
    """Hold 100 answers of two workers, and those after one of them was killed, to one order."""
    with serving(folder, bundles, is_used_before) as server:
        numbers = [number % len(bundles) for number in range(100)]
        with ThreadPoolExecutor(4) as callers:
            answers = list(callers.map(server.ask, numbers))
        orders = [
            {tuple(o) for (_, o), n in zip(answers, numbers, strict=True) if n == number}
            for number in range(len(bundles))
        ]
        assert [len(different) for different in orders] == [1] * len(bundles)
        workers = {worker for worker, _ in answers}
        workers |= server.ask_until(lambda new: len(workers | new) == 2, len(bundles))
        os.kill(min(workers), signal.SIGKILL)
        server.ask_until(lambda now: bool(now - workers), len(bundles))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "is_used_before"),
    [pytest.param("minilm", True, marks=pytest.mark.extended), ("wordllama", False)],
)
def test_workers_of_gunicorn_answer_from_a_model_that_was_loaded_before_they_were_forked(
    bundle_of: Callable[..., Path], tmp_path: Path, encoder: str, is_used_before: bool
) -> None:
    serve_and_kill(tmp_path, [bundle_of(encoder, "hybrid")], is_used_before)


@pytest.mark.extended
@every_encoder
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_used_before", [False, True])
def test_gunicorn_workers_use_a_bundle_of_every_model(
    bundle_of: Callable[..., Path], tmp_path: Path, encoder: str, model: str, is_used_before: bool
) -> None:
    serve_and_kill(tmp_path, [bundle_of(encoder, model)], is_used_before)
