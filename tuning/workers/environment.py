"""Checks of the environment that Ray needs: temporary folder, sockets and home.

Clusters and containers set variables for other programs; an unusable value is reported with the
name of its variable, before anything is loaded.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from quantum_rerank.errors import ConfigError
from tuning.workers.private_access import ray_folder

_SOCKET_BYTES = 107  # of a path, on Linux
# What Ray puts below the temporary folder: its session, named by time and process, and sockets.
_SOCKET = "/ray/session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store.99"
_SHORT = "Set RAY_TMPDIR to a folder with a shorter path, such as /tmp."


def refuse_unfit_environment(address: str | None, is_divided: bool = False) -> None:
    """Check the environment of this machine.

    Args:
        address: Address of the cluster to join; None if Ray is started here.
        is_divided: Whether several nodes are started here, in a folder of their own.

    Raises:
        ConfigError: Variables or folders that cannot be used, each with a way out.
    """
    problems = [*_without_home(), *_without_scratch()]
    if address is None:
        problems += _unusable_for_ray(is_divided)
    if problems:
        raise ConfigError(problems)


def _without_home() -> Iterator[str]:
    """Report a missing home folder, which W&B, Ray and the embedding cache use."""
    try:
        Path.home()
    except RuntimeError:
        yield (
            f"HOME is not set, and the user {os.getuid()} has no home folder. Set HOME to a folder "
            "that can be written to."
        )


def _without_scratch() -> Iterator[str]:
    """Report a missing folder for Python's temporary files."""
    try:
        tempfile.gettempdir()
    except OSError:
        yield (
            "No temporary folder can be written to: neither that of TMPDIR nor /tmp. Set TMPDIR to "
            "a folder that can."
        )


def _nearest(path: Path) -> Path:
    """Return the nearest existing folder above a path."""
    return next(parent for parent in path.parents if parent.exists())


def _unusable_for_ray(is_divided: bool) -> Iterator[str]:
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "")
    folder = ray_folder().parent
    named = f"{variable}, `{folder}`," if variable else f"`{folder}`, where Ray keeps its sockets,"
    subfolder = "/nodes-00000000" if is_divided else f"/{ray_folder().name}"
    n_bytes = len(os.fsencode(f"{folder}{subfolder}{_SOCKET}"))
    if n_bytes > _SOCKET_BYTES:
        too_many = n_bytes - _SOCKET_BYTES
        yield f"{named} is {too_many} bytes too long for the paths of Ray's sockets. {_SHORT}"
        return
    try:
        with tempfile.TemporaryDirectory(prefix="s-", dir=_nearest(folder / "ray/s")) as scratch:
            _bind(Path(scratch) / "s")
    except OSError as error:
        yield (
            f"{named} cannot hold Ray's sockets: {error.strerror or error}. Set RAY_TMPDIR to a "
            "folder on a local disk that can be written to."
        )


def _bind(path: Path) -> None:
    """Create a socket, which some file systems do not support."""
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))
