"""Access to a Ray cluster that a search starts: loopback, and a token of its own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Ray's name for whether nodes listen to other machines. Without it, Ray takes 127.0.0.1 for the
# outer address of the machine, and listens on all interfaces.
_OTHER_MACHINES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_MODE, _TOKEN, _TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


@contextmanager
def private_access() -> Iterator[None]:
    """Let what Ray starts in this block listen on loopback only, and ask for a new token.

    The token is in the environment of this process and of the processes that Ray starts, which
    no other user can read; it is written to no file. Other users of this machine can reach
    the ports, but not use them without the token. A mode or token that the user has set is
    for the user's own clusters, and is restored after the block.
    """
    changes = {_OTHER_MACHINES: "0", _MODE: "token", _TOKEN: secrets.token_hex(32)}
    previous = {name: os.environ.get(name) for name in (*changes, _TOKEN_FILE)}
    os.environ.pop(_TOKEN_FILE, None)
    os.environ.update(changes)
    from ray._private import ray_constants

    could_listen = ray_constants.ENABLE_RAY_CLUSTER  # read once, when Ray was imported
    ray_constants.ENABLE_RAY_CLUSTER = False
    _read_again()
    try:
        yield
    finally:
        for name, value in previous.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        ray_constants.ENABLE_RAY_CLUSTER = could_listen
        _read_again()


def _read_again() -> None:
    """Make Ray forget the mode and the token that it has read from the environment."""
    from ray import _raylet

    raylet: Any = _raylet  # a compiled module without types
    raylet.Config.initialize("")  # first, or a thread of Ray's that still ends would miss its token
    raylet.AuthenticationTokenLoader.instance().reset_cache()
