"""Environment variables that a block sets for Ray and restores afterwards."""

from __future__ import annotations

import os
from collections.abc import Mapping


def replace_variables(values: Mapping[str, str | None]) -> dict[str, str | None]:
    """Set environment variables.

    Args:
        values: Name -> value; None removes the variable.

    Returns:
        The previous values of the same variables, with which a second call restores them.
    """
    previous = {name: os.environ.get(name) for name in values}
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    return previous
