"""Models that were loaded before a fork work in the child process too.

Servers such as `gunicorn --preload` and process pools such as Celery's load a model once and fork
their workers afterwards. A fork copies the memory but only the thread that forks, so whatever
waits for another thread in the child waits forever: OpenMP's threads (torch) and Rayon's (the
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

    Called wherever a model is loaded; only the first call has an effect. Where the system has
    no fork, nothing is done.
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
    """Keep torch from waiting for the threads of its pool, which are the parent's."""
    torch.set_num_threads(1)


class _TokenizersSetting:
    """The environment variable by which the tokenizers are told to use a single thread.

    It is set before the fork and taken back in the parent. Set in the child alone, it would be
    too late: the tokenizers look at it within the fork, and warn on stderr where it is missing.
    """

    def __init__(self) -> None:
        self._lock = Lock()  # of two threads that fork at the same time, one waits
        self._value: str | None = None

    def switch_off(self) -> None:
        self._lock.acquire()
        self._value = os.environ.get(_TOKENIZERS)
        os.environ[_TOKENIZERS] = "false"

    def restore(self) -> None:
        if self._value is None:
            del os.environ[_TOKENIZERS]
        else:
            os.environ[_TOKENIZERS] = self._value
        self._lock.release()

    def forget(self) -> None:
        self._lock.release()
