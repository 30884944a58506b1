from __future__ import annotations

import ipaddress
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import psutil
import pytest

from quantum_rerank.errors import ConfigError
from tuning.limits.concurrency import Node
from tuning.workers.cluster import ray_cluster
from tuning.workers.local_nodes import local_nodes, shares
from tuning.workers.private_access import private_access, private_folder, ray_folder

AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")

SECRETS = ("AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "PGPASSWORD", "HF_TOKEN")

# Another program of this machine that tries to join, with one attempt where Ray would make 20.
CLIENT = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
except Exception:
    sys.exit("refused")
print("joined")
"""


def test_each_cluster_has_a_token_of_its_own() -> None:
    tokens = []
    for _ in range(2):
        with private_access():
            assert os.environ["RAY_AUTH_MODE"] == "token"
            tokens.append(os.environ["RAY_AUTH_TOKEN"])
    assert len(set(tokens)) == 2
    assert all(len(token) == 64 for token in tokens)


def test_what_the_user_has_set_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/my/token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with private_access():
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ
    assert {name: os.environ.get(name) for name in AUTHENTICATION} == {
        "RAY_AUTH_MODE": "disabled",
        "RAY_AUTH_TOKEN": None,
        "RAY_AUTH_TOKEN_PATH": "/my/token",
    }


def test_the_folder_of_ray_is_this_user_s_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    folder = ray_folder()
    folder.mkdir(mode=0o777)
    with private_folder():
        assert os.environ["RAY_TMPDIR"] == str(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert os.environ["RAY_TMPDIR"] == str(tmp_path)


def test_a_folder_of_ray_that_another_has_put_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    ray_folder().symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is no folder of this user"), private_folder():
        pass
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o755
    ray_folder().unlink()
    ray_folder().touch()
    with pytest.raises(ConfigError, match="cannot be created"), private_folder():
        pass


def listening() -> Iterator[tuple[str, str]]:
    """Address and process of every socket that this process and its children listen at."""
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        try:
            for connection in process.net_connections(kind="inet"):
                if connection.status == psutil.CONN_LISTEN:
                    yield connection.laddr.ip, process.name()
        except psutil.NoSuchProcess:
            continue


def worker_pid() -> int:
    return os.getpid()


def is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def is_open_to_others(path: Path) -> bool:
    """Return whether another user can reach a folder: no folder above it is closed to them."""
    return all(folder.stat().st_mode & 0o077 for folder in (path, *path.parents))


def join(address: str, **authentication: str) -> str:
    """What becomes of a client that joins a cluster with another environment."""
    inherited = {name: text for name, text in os.environ.items() if name not in AUTHENTICATION}
    environment = {**inherited, "RAY_NUM_REDIS_GET_RETRIES": "1", **authentication}
    command = [sys.executable, "-c", CLIENT, address]
    client = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return (client.stdout + client.stderr).strip().splitlines()[-1]


@pytest.mark.ray
@pytest.mark.parametrize("n_nodes", [0, 2], ids=["plain search", "--nodes 2"])
def test_a_cluster_of_this_machine_listens_on_loopback_and_asks_for_its_token(
    n_nodes: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import ray

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # of the user's other clusters
    for name in SECRETS:
        monkeypatch.setenv(name, f"hidden-{name}")
    nodes: AbstractContextManager[str | None] = nullcontext()
    if n_nodes:
        nodes = local_nodes(shares(Node(2, 8.0), n_nodes))
    with nodes as joined, ray_cluster(joined):
        ray.get(ray.remote(num_cpus=1)(worker_pid).remote())  # workers listen too
        sockets = list(listening())
        assert len(sockets) >= 5
        assert [socket for socket in sockets if not is_loopback(socket[0])] == []
        address = ray.get_runtime_context().gcs_address
        token = os.environ["RAY_AUTH_TOKEN"]
        assert join(address) == "refused"
        assert join(address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64) == "refused"
        assert join(address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token) == "joined"
        session = Path(ray._private.worker._global_node.get_session_dir_path())
        files = [path for path in session.rglob("*") if path.is_file()]
        assert files
        secrets = [token, *(f"hidden-{name}" for name in SECRETS)]
        written = b"".join(path.read_bytes() for path in files)
        assert not [secret for secret in secrets if secret.encode() in written]
        assert not is_open_to_others(session)
    assert not (tmp_path / ".ray").exists()


@pytest.mark.ray
def test_a_cluster_that_refuses_the_token_is_an_error_that_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray._private import ray_constants

    monkeypatch.setattr(ray_constants, "NUM_REDIS_GET_RETRIES", 1)
    with (
        local_nodes([Node(1, 4.0, "node-0")]) as address,
        private_access(),  # with another token
        pytest.raises(ConfigError, match=r"cannot be joined: .* RAY_AUTH_TOKEN"),
        ray_cluster(address),
    ):
        pass
