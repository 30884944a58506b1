"""The files in clusters/ agree with the command line, pinned versions and trials' budget."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from tuning.limits.concurrency import GIB, Node
from tuning.search import app
from tuning.space.file import load_space

ROOT = Path(__file__).parents[1]
CLUSTERS = ROOT / "clusters"
RAY_CLUSTER, KUBERAY, DOCKERFILE = (
    CLUSTERS / name for name in ("ray_cluster.yaml", "kuberay.yaml", "Dockerfile")
)

TOKEN_FILE = "~/.ray/auth_token"  # where `ray get-auth-token --generate` writes it


def documents(path: Path) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(path.read_text()))


def options() -> set[str]:
    """What `python -m tuning.search` takes."""
    parameters = typer.main.get_command(app).params
    return {name for parameter in parameters for name in parameter.opts}


def commands(text: str) -> list[str]:
    """What is given to `tuning.search` in a text, each up to its end."""
    return re.findall(r"-m tuning\.search([^;'`]*)", text)


@pytest.fixture
def job() -> dict[str, Any]:
    return documents(KUBERAY)[1]["spec"]


def ray_version() -> str:
    (version,) = re.findall(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return str(version)


@pytest.mark.parametrize("path", [RAY_CLUSTER, KUBERAY], ids=lambda path: path.name)
def test_the_search_that_a_file_starts_takes_all_its_options(path: Path) -> None:
    given = commands(path.read_text())
    assert given
    for arguments in given:
        assert set(re.findall(r"--[a-z-]+", arguments)) <= options()
        assert "--address auto" in arguments
        for space in re.findall(r"--space (\S+)", arguments):
            assert (ROOT / space).is_file()


def test_the_entrypoint_is_one_command_that_a_shell_understands(job: dict[str, Any]) -> None:
    shell, flag, script = shlex.split(job["entrypoint"])
    assert (shell, flag) == ("sh", "-c")
    assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0
    assert len(commands(script)) == 2


def test_the_search_that_ray_exec_starts_is_one_command() -> None:
    text = RAY_CLUSTER.read_text().replace("\n#", "\n")
    (script,) = re.findall(r"--tmux '([^']*)'", text)
    assert "\n" not in script
    assert len(commands(script)) == 1


def test_ray_is_of_the_pinned_version_everywhere(job: dict[str, Any]) -> None:
    assert job["rayClusterSpec"]["rayVersion"] == ray_version()
    assert f"FROM rayproject/ray:{ray_version()}-py311" in DOCKERFILE.read_text()


def test_all_pods_have_one_image_and_share_the_folder_of_runs(job: dict[str, Any]) -> None:
    claim = documents(KUBERAY)[0]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    images = set()
    for template in pods(job):
        (container,) = template["spec"]["containers"]
        images.add(container["image"])
        (volume,) = template["spec"]["volumes"]
        (mount,) = container["volumeMounts"]
        assert volume["name"] == mount["name"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert f"--resume {mount['mountPath']}/" in job["entrypoint"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    assert len(images) == 1


def test_a_worker_has_as_many_cores_as_trials_of_the_study_fit(job: dict[str, Any]) -> None:
    space = load_space(ROOT / "search_spaces" / "default.yaml", {})
    for group in job["rayClusterSpec"]["workerGroupSpecs"]:
        start = group["rayStartParams"]
        (container,) = group["template"]["spec"]["containers"]
        limits = container["resources"]["limits"]
        node = Node(int(start["num-cpus"]), int(start["memory"]) / GIB)
        assert node.room(space.header.budget.trial_memory_gb) == node.cpus == int(limits["cpu"])
        taken = int(start["memory"]) + int(start["object-store-memory"])
        assert taken + 2 * GIB <= int(limits["memory"].removesuffix("Gi")) * GIB


def test_the_key_of_wandb_comes_from_a_secret_and_may_be_missing(job: dict[str, Any]) -> None:
    head = job["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    key = {one["name"]: one for one in head["env"]}["WANDB_API_KEY"]
    assert "value" not in key
    assert key["valueFrom"]["secretKeyRef"]["optional"] is True


def test_every_ray_process_of_the_machines_asks_for_the_token() -> None:
    text = RAY_CLUSTER.read_text()
    cluster = documents(RAY_CLUSTER)[0]
    assert cluster["file_mounts"][TOKEN_FILE] == TOKEN_FILE
    assert f"chmod 600 {TOKEN_FILE}" in cluster["setup_commands"]
    started = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    starts = [command for command in started if "ray start" in command]
    assert len(starts) == 2
    assert all(command.startswith("RAY_AUTH_MODE=token ") for command in starts)
    assert "export RAY_AUTH_MODE=token && exec .venv/bin/python -m tuning.search" in text
    assert "umask 077; ray get-auth-token --generate" in text


def test_the_pods_get_a_token_from_the_operator(job: dict[str, Any]) -> None:
    assert job["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_what_the_image_copies_is_there() -> None:
    copied = re.findall(r"^COPY --chown=\S+ (.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert {"quantum_rerank", "tuning", "configs", "search_spaces", "constraints.txt"} <= set(names)
    assert all((ROOT / name).exists() for name in names)


def test_the_machines_are_a_cluster_that_ray_up_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(documents(RAY_CLUSTER)[0])
    validate_config(config)
    (kind,) = config["available_node_types"].values()
    assert kind["max_workers"] == len(config["provider"]["worker_ips"])
    monkeypatch.chdir(ROOT)
    mounted = set(config["file_mounts"].values()) - {TOKEN_FILE}
    assert all(Path(local).exists() for local in mounted)
    assert "\ninstall:" in (ROOT / "Makefile").read_text()


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"] for group in groups]
