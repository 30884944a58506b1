"""Names that a package exports without importing the modules that define them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's `__getattr__` that imports each name at its first use (PEP 562).

    A package's configuration is read without torch, although the package exports modules of
    torch beside it.

    Args:
        package: Dotted name of the package.
        modules: Exported name -> module below the package that defines it.

    >>> lazy_exports("json", {"JSONDecoder": "decoder"})("JSONDecoder").__name__
    'JSONDecoder'
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module `{package}` has no attribute `{name}`")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return load
