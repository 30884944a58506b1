"""Decorators of functions that numba compiles. Import them where a kernel runs: numba is heavy.

Compiled code is cached on disk, so that only the first process compiles it; if no folder can
be written, every process does.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]: ...
    def njit_strict(function: Callable[..., Any]) -> Callable[..., Any]: ...
    def inlined(function: Callable[..., Any]) -> Callable[..., Any]: ...

else:
    from numba import njit

    def _has_cache() -> bool:
        """Return whether numba finds a folder for its cache; it looks for one as it decorates."""
        try:
            njit(cache=True)(_has_cache)
        except RuntimeError as error:
            warnings.warn(
                f"Compiled code is not cached, and compiled again by every process: {error}. "
                "Set NUMBA_CACHE_DIR to a folder that can be written.",
                stacklevel=2,
            )
            return False
        return True

    _cache = _has_cache()
    njit_strict = njit(cache=_cache, nogil=True, error_model="numpy")
    compiled = njit(cache=_cache, fastmath=True, nogil=True, error_model="numpy")
    # For functions that compiled functions call. If they are not inlined, the process that
    # compiles them rounds differently from processes that load them from the cache.
    inlined = njit(cache=_cache, fastmath=True, nogil=True, error_model="numpy", forceinline=True)
