"""The Ray cluster that a search runs on: joined, or started on this machine."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from quantum_rerank.errors import ConfigError, first_line
from quantum_rerank.machine import container_memory_left, cores
from tuning.limits.concurrency import GIB, Node
from tuning.workers.private_access import private_access, private_folder

_MACHINE = "machine"  # what Ray knows this one as, of which trials take a share each
_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # The study and W&B hold every epoch; Ray's CSV, JSON and TensorBoard files would again.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Under `uv run` Ray would give every worker an environment of its own, without this one's
    # packages.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: see `ending.signals_end`
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # A trial that ends without a report fails alone; Ray would end the search.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Nothing is ever restored from Ray's snapshots, which grow with every trial.
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    # A worker that hangs gets no longer than this once its trial was stopped.
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
}


@contextmanager
def ray_cluster(address: str | None) -> Iterator[list[Node]]:
    """Join a running Ray cluster, or start one on this machine and stop it afterwards.

    Only this process can use a cluster that is started here; see `private_access`.

    Args:
        address: Address of a cluster, or `auto`; None to start one.

    Yields:
        The nodes of the cluster.

    Raises:
        ConfigError: No cluster answers at the address, or it refuses this user's token.
    """
    keep_ray_quiet()
    import ray

    local = address is None
    if address is not None:
        _refuse_silence(address)
    with ExitStack() as resources:
        if local:
            resources.enter_context(private_access())
            resources.enter_context(private_folder())
        _start_or_join(address)
        _write_our_own_obituaries()
        _survive_memory_monitor()
        _pass_on_no_secrets()
        try:
            yield [this_machine()] if local else cluster_nodes()
        finally:
            ray.shutdown()


def _start_or_join(address: str | None) -> None:
    import ray
    from ray.exceptions import AuthenticationError

    local = address is None
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level="ERROR",
            **(_our_machine() if local else {"runtime_env": _our_code()}),
        )
    except (ConnectionError, AuthenticationError) as error:
        raise ConfigError(
            f"The Ray cluster at `{address}` cannot be joined: {first_line(error)}. Start one "
            "with `ray start --head`, or leave --address out. A cluster with tokens needs "
            "RAY_AUTH_MODE=token, and its token in RAY_AUTH_TOKEN, in the file of "
            "RAY_AUTH_TOKEN_PATH or in ~/.ray/auth_token."
        ) from None
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # any reason that keeps a node from starting
        where = "on this machine" if local else f"at `{address}`"
        raise ConfigError(
            f"Ray did not start {where}: {first_line(error)}. Look at the folders of "
            "TMPDIR and RAY_TMPDIR, at the size of the shared memory (--shm-size of a "
            "container), and at RAY_* variables."
        ) from None


def keep_ray_quiet() -> None:
    """Set the environment variables of Ray and its workers, before Ray is imported."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def share(trials: int) -> dict[str, float]:
    """Return the share of this machine that each of so many trials takes.

    Ray counts ten-thousandths.

    >>> share(3)
    {'machine': 0.3333}
    """
    return {_MACHINE: 10_000 // trials / 10_000}


def _our_machine() -> dict[str, Any]:
    """Return the resources of this machine for Ray: its cores, and the machine as a whole."""
    return {"num_cpus": this_machine().cpus, "resources": {_MACHINE: 1}}


def _our_code() -> dict[str, Any]:
    """Return this project's packages, for nodes on which they are not installed."""
    import quantum_rerank
    import tuning

    return {"py_modules": [str(Path(p.__path__[0])) for p in (quantum_rerank, tuning)]}


def _survive_memory_monitor() -> None:
    """Treat a worker that Ray's memory monitor killed as a lost worker.

    Ray Tune does not handle OutOfMemoryError: it would end the whole search.
    """
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.exceptions import OutOfMemoryError, RayActorError

    if hasattr(RayActorManager, "_survives_memory_monitor"):
        return
    original = RayActorManager._actor_task_failed

    def actor_task_failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=f"Ray's memory monitor ended it: {exception}")
        original(self, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = actor_task_failed
    RayActorManager._survives_memory_monitor = True


def _pass_on_no_secrets() -> None:
    """Keep Ray Tune from handing AWS keys to workers in a runtime environment.

    Ray writes a runtime environment into its logs. Workers on this machine inherit the variables;
    nodes of a cluster need credentials of their own.
    """
    from ray.tune.execution import class_cache

    names = class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in names if not name.startswith("AWS_")}


def _write_our_own_obituaries() -> None:
    """Keep Ray from printing the traceback of a failed trial: the display shows its reason.

    The traceback stays in Ray's log folder.
    """
    from ray._private import worker

    worker.print_to_stdstream = lambda *_, **__: None
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)


def silent_progress() -> Any:
    """Return a callback that replaces Ray Tune's, which prints trials that ended without a report.

    Ray's callback would also keep the last result of every trial.
    """
    from ray.tune.progress_reporter import TrialProgressCallback

    class SilentProgress(TrialProgressCallback):  # type: ignore[misc]  # Ray ships no types
        def on_trial_result(self, *_: Any, **__: Any) -> None:
            """Nothing: the display tells it."""

        on_trial_error = on_trial_complete = on_trial_result

        def on_experiment_end(self, trials: list[Any], **__: Any) -> None:
            """Name a folder for each trial that was stopped before its worker started.

            Ray's list of results reads this name of every trial, and fails where there is none.
            """
            for trial in trials:
                if trial.storage.trial_dir_name is None:
                    trial.storage.trial_dir_name = str(trial.trial_id)

    return SilentProgress()


def _refuse_silence(address: str) -> None:
    """Check that a cluster answers at an address; Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        if address in ("auto", "local") or "://" in address:
            return  # Ray itself looks it up
        raise ConfigError(
            f"`--address {address}` has no port. Give HOST:PORT, as `ray start --head` prints it, "
            "or `auto` for the cluster that runs here."
        )
    try:
        socket.create_connection((host.rpartition("/")[2] or "localhost", int(port)), 5.0).close()
    except OSError as error:
        raise ConfigError(
            f"No Ray cluster answers at `{address}`: {error.strerror or error}. "
            "Start one with `ray start --head`, or leave --address out."
        ) from None


def this_machine() -> Node:
    """Return the cores and the free memory of this machine, within the limits of its container."""
    return Node(cores(), free_memory() / GIB)


def free_memory() -> float:
    """Return the bytes that are free on this machine, within the limit of its container."""
    import psutil

    return min(float(psutil.virtual_memory().available), container_memory_left())


def ray_logs() -> Path:
    """Return the folder of Ray's logs on this machine."""
    from ray._private import worker

    return Path(worker._global_node.get_logs_dir_path())


def cluster_nodes() -> list[Node]:
    """Return the live nodes of the joined cluster by name, with the memory that Ray assigns."""
    import ray

    nodes = [
        Node(
            int(node["Resources"].get("CPU", 0)),
            node["Resources"].get("memory", 0.0) / GIB,
            node["NodeName"],
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    return sorted(nodes, key=lambda node: node.name)
