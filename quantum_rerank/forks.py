"""Support for models that are loaded before a fork and used in the child processes.

Servers such as `gunicorn --preload` and process pools such as Celery's load a model once and fork
their workers afterwards. A fork copies the memory but only the thread that forks. Code that waits
for another thread in the child waits forever: OpenMP's threads (torch) and Rayon's (the
tokenizers).
"""

from __future__ import annotations

import os
from functools import cache
from threading import Lock

import torch

_TOKENIZERS = "TOKENIZERS_PARALLELISM"  # read from the environment by each tokenization


@cache
def prepare_for_forks() -> None:
    """Let every process that is forked from this one compute with a single thread.

    Every function that loads a model calls this. Only the first call has an effect, and none on
    a system without fork.
    """
    if not hasattr(os, "register_at_fork"):
        return
    environment = _TokenizersSetting()
    os.register_at_fork(
        before=environment.switch_off,
        after_in_parent=environment.restore,
        after_in_child=environment.forget,
    )
    os.register_at_fork(after_in_child=_use_one_thread)


def _use_one_thread() -> None:
    """Keep torch from waiting for the threads of its pool, which exist in the parent only."""
    torch.set_num_threads(1)


class _TokenizersSetting:
    """The environment variable that makes the tokenizers use a single thread.

    It is set before the fork and restored in the parent. Setting it in the child would be too
    late: the tokenizers read it during the fork, and warn on stderr if it is missing.
    """

    def __init__(self) -> None:
        self._lock = Lock()  # two threads may fork at the same time
        self._value: str | None = None

    def switch_off(self) -> None:
        """Set the variable before a fork."""
        self._lock.acquire()
        self._value = os.environ.get(_TOKENIZERS)
        os.environ[_TOKENIZERS] = "false"

    def restore(self) -> None:
        """Restore the variable in the parent."""
        if self._value is None:
            del os.environ[_TOKENIZERS]
        else:
            os.environ[_TOKENIZERS] = self._value
        self._lock.release()

    def forget(self) -> None:
        """Keep the variable in the child."""
        self._lock.release()
