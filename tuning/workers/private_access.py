"""Access to a Ray cluster that a search starts: loopback, a token and a folder of its own."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantum_rerank.errors import ConfigError
from tuning.workers.variables import replace_variables

# Ray's name for whether nodes listen to other machines. Without it, Ray takes 127.0.0.1 for the
# outer address of the machine, and listens on all interfaces.
_OTHER_MACHINES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_FOLDER = "RAY_TMPDIR"
_MODE, _TOKEN, _TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


@contextmanager
def private_access() -> Iterator[None]:
    """Let what Ray starts in this block listen on loopback only, and ask for a new token.

    The token is in the environment of this process and of the processes that Ray starts, which
    no other user can read; it is written to no file. Other users of this machine can reach
    the ports, but not use them without the token. A mode or token that the user has set is
    for the user's own clusters, and is restored after the block.
    """
    token = {_MODE: "token", _TOKEN: secrets.token_hex(32), _TOKEN_FILE: None}
    previous = replace_variables({_OTHER_MACHINES: "0", **token})
    from ray._private import ray_constants

    could_listen = ray_constants.ENABLE_RAY_CLUSTER  # read once, when Ray was imported
    ray_constants.ENABLE_RAY_CLUSTER = False
    _read_again()
    try:
        yield
    finally:
        replace_variables(previous)
        ray_constants.ENABLE_RAY_CLUSTER = could_listen
        _read_again()


@contextmanager
def private_folder() -> Iterator[None]:
    """Let what Ray starts in this block keep its sockets and logs in a folder of this user.

    Ray itself makes folders to which every user of the machine may write.

    Raises:
        ConfigError: The folder belongs to another user, or cannot be created.
    """
    folder = ray_folder()
    _make_private(folder)
    previous = replace_variables({_FOLDER: str(folder)})
    try:
        yield
    finally:
        replace_variables(previous)


def ray_folder() -> Path:
    """Return this user's folder for Ray, below the temporary folder that Ray would take."""
    base = next((os.environ[name] for name in (_FOLDER, "TMPDIR") if name in os.environ), "/tmp")  # noqa: S108
    return Path(base) / f"ray-{os.getuid()}"


def _make_private(folder: Path) -> None:
    """Create a folder for this user alone, or make an existing one so."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise ConfigError(
                f"`{folder}`, where Ray keeps its sockets and logs, is no folder of this user. "
                f"Remove it, or set {_FOLDER} to another folder."
            )
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            f"`{folder}`, where Ray keeps its sockets and logs, cannot be created: "
            f"{error.strerror}. Set {_FOLDER} to another folder."
        ) from None


def _read_again() -> None:
    """Make Ray forget the mode and the token that it has read from the environment."""
    from ray import _raylet

    raylet: Any = _raylet  # a compiled module without types
    raylet.Config.initialize("")  # first, or a thread of Ray's that still ends would miss its token
    raylet.AuthenticationTokenLoader.instance().reset_cache()
