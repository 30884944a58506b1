"""Checks of the values that a training is resumed from, since a file may have been altered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

MAX_COUNT = 2**31 - 1
"""Highest count of epochs or steps."""


def checked_tensors(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return copies of tensors that have the names, shapes and types of others.

    Args:
        given: Name -> tensor, from a file.
        expected: Name -> tensor that could stand there.

    Raises:
        ValueError: A name, shape or type differs, or a value is infinite or NaN.
    """
    if given.keys() != expected.keys():
        differing = ", ".join(map(repr, sorted(given.keys() ^ expected.keys())))
        raise ValueError(f"the tensors {differing} are missing or unknown")
    return {name: checked_tensor(given[name], expected[name], name) for name in expected}


def checked_tensor(
    given: Tensor, expected: Tensor, name: str, *, allow_nan: bool = False
) -> Tensor:
    """Return a copy of a tensor that has the shape and the type of another one.

    Args:
        given: Tensor, from a file.
        expected: Tensor that could stand there.
        name: Name for error messages.
        allow_nan: NaN is a value like others; infinite values are refused in any case.

    Raises:
        ValueError: The shape or type differs, or a value is infinite or NaN.
    """
    if given.shape != expected.shape or given.dtype != expected.dtype:
        raise ValueError(
            f"`{name}` is {list(given.shape)} {given.dtype}, "
            f"not {list(expected.shape)} {expected.dtype}"
        )
    unusable = given.isinf() if allow_nan else ~given.isfinite()
    if unusable.any():
        raise ValueError(f"`{name}` has numbers that are not finite")
    return given.clone()


def checked_count(value: Any, name: str, most: int = MAX_COUNT) -> int:
    """Return a whole number from 0 to `most`.

    Raises:
        ValueError: The value is something else.
    """
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"`{name}` is {value!r:.50}, not a whole number from 0 to {most}")
    return value


def checked_number(value: Any, name: str) -> float:
    """Return a number, which may be infinite.

    Raises:
        ValueError: The value is something else.
    """
    if type(value) not in (int, float) or math.isnan(value):
        raise ValueError(f"`{name}` is {value!r:.50}, not a number")
    return float(value)
