"""Data that come with an installed Python package, found without importing it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from quantum_rerank.errors import MissingPackage


def package_folder(module: str, missing: MissingPackage) -> Path:
    """Return the folder of an installed package.

    Args:
        module: Name that the package is imported by.
        missing: Error that is raised if it is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise missing
    return Path(spec.origin).parent
