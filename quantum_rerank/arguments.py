"""Conversion of the arguments of public functions to plain types.

Callers pass lists, generators, columns of pandas and polars, or arrays of numpy and torch.
Columns are read by position, never by label. Values without an order, or with more than one
column, are refused with a message that names the way out.
"""

from __future__ import annotations

import operator
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quantum_rerank.errors import DataError, EmbeddingError

_BINARY = bytes | bytearray | memoryview
_INTP = np.iinfo(np.intp)  # a larger number is out of range for every index


def as_text(value: object, name: str) -> str:
    """Return a text as a plain `str`.

    Args:
        value: A `str`, or a text of numpy.
        name: The name of the argument, for the message.

    Raises:
        DataError: The value is not a text.
    """
    if not isinstance(value, str):
        raise DataError(f"{name} is {_shown(value)}, but must be a text.")
    return str.__str__(value)


def as_texts(values: object, name: str = "documents") -> list[str]:
    """Return texts as a list of `str`, in their order.

    Args:
        values: A list, a tuple, a generator, a column of a table, or an array with one dimension.
        name: The name of the argument, for the message.

    Raises:
        DataError: The values have another type, or an entry is not a text.
    """
    what = "must be a list of texts"
    if isinstance(values, str):
        raise DataError(f"`{name}` is one text, but {what}. Put it in a list.")
    if isinstance(values, _BINARY):
        raise DataError(f"`{name}` is {type(values).__name__}, but {what}. Decode it.")
    if isinstance(values, Mapping):
        raise DataError(
            f"`{name}` is a mapping, but {what}. Give its values as a list: "
            f"`list({name}.values())`."
        )
    _refuse_table(values, name, f"{what}. Give one column, such as `frame['text']`")
    items = _in_order(values, name, what)
    return [as_text(item, f"Entry {position} of `{name}`") for position, item in enumerate(items)]


def as_rows(values: object, name: str = "rows") -> NDArray[np.intp]:
    """Return row numbers, (n,), in their order.

    Args:
        values: A list, a tuple, a range, a generator, a column of a table, or an array of
            integers.
        name: The name of the argument, for the message.

    Raises:
        DataError: The values have another type, or an entry is not an integer.
    """
    what = "must be a list of row numbers"
    if isinstance(values, Mapping | str | _BINARY):
        raise DataError(f"`{name}` is {_shown(values)}, but {what}.")
    _refuse_table(values, name, f"{what}. Give one column, such as `frame['row']`")
    if hasattr(values, "__array__"):  # read by position, not by the labels of a column
        array = np.asarray(values)
        if array.dtype.kind in "iu":
            if array.dtype == np.intp:
                return array
            clipped: NDArray[Any] = np.clip(array, _INTP.min, _INTP.max)
            return clipped.astype(np.intp)
        values = array.tolist()
    entries = list(_in_order(values, name, what))
    if any(isinstance(entry, bool | np.bool_) for entry in entries):
        raise DataError(
            f"`{name}` holds booleans, but {what}. For a mask, give `numpy.flatnonzero(mask)`."
        )
    return _integers(entries, name, what)


def as_limit(value: object, name: str = "top_k") -> int | None:
    """Return the number of results to return, or None for all.

    Args:
        value: An integer, or None.
        name: The name of the argument, for the message.

    Raises:
        DataError: The value is not an integer, or is below 1.
    """
    if value is None:
        return None
    number = None if isinstance(value, bool | np.bool_) else _integer(value)
    if number is None:
        raise DataError(f"`{name}` is {_shown(value)}, but must be an integer, or None for all.")
    if number < 1:
        raise DataError(f"`{name}` is {number}, but must be at least 1, or None for all.")
    return number


def as_vectors(values: object, name: str) -> NDArray[Any]:
    """Return real numbers as an array, without changing their shape and number type.

    Args:
        values: Nested lists, an array, a tensor (also one that requires a gradient), or a table
            of numbers. Arrays and memory-mapped files are not copied.
        name: The name of the argument, for the message.

    Raises:
        EmbeddingError: The values are not real numbers, or are lists of different lengths.
    """
    what = "vectors must be real numbers, all of the same length"
    if isinstance(values, Mapping | AbstractSet | str | _BINARY) or values is None:
        raise EmbeddingError(f"{name}: {_shown(values)} was given, but {what}.")
    try:
        array = np.asarray(_without_tensors(values))
    except (TypeError, ValueError, RuntimeError) as error:
        raise EmbeddingError(f"{name}: {what}. {str(error).rstrip('.')}.") from None
    if array.dtype.kind not in "fiu" and array.size:
        raise EmbeddingError(
            f"{name}: the entries have the type {array.dtype}, but {what}. For a column that "
            "contains arrays, give `numpy.stack(column)`."
        )
    return array


def _shown(value: object) -> str:
    """Return a value on one line, truncated to 100 characters."""
    return " ".join(repr(value).split())[:100]


def _refuse_table(values: object, name: str, rule: str) -> None:
    """Refuse an array or table without exactly one dimension: iterating it gives no entries."""
    shape = getattr(values, "shape", None)
    if isinstance(shape, tuple) and len(shape) != 1:
        raise DataError(f"`{name}` has the shape {tuple(shape)}, but {rule}.")


def _in_order(values: Any, name: str, what: str) -> Iterator[Any]:
    """Return an iterator over the entries of an ordered value."""
    if isinstance(values, AbstractSet) and not isinstance(values, KeysView | ItemsView):
        raise DataError(f"`{name}` is a set, which has no order, but {what}. Give a list.")
    if hasattr(values, "to_pylist"):  # Arrow, whose entries are not plain values
        values = values.to_pylist()
    is_sequence = hasattr(values, "__len__") and hasattr(values, "__getitem__")
    if not isinstance(values, Iterable) and not is_sequence:
        raise DataError(f"`{name}` is {_shown(values)}, but {what}.")
    return iter(values)


def _integers(entries: list[Any], name: str, what: str) -> NDArray[np.intp]:
    numbers = np.empty(len(entries), dtype=np.intp)
    for position, entry in enumerate(entries):
        number = _integer(entry)
        if number is None:
            hint = " Convert it with `int`." if isinstance(entry, float | np.floating) else ""
            raise DataError(f"Entry {position} of `{name}` is {_shown(entry)}, but {what}.{hint}")
        numbers[position] = min(max(number, _INTP.min), _INTP.max)
    return numbers


def _integer(value: Any) -> int | None:
    """Return the integer that equals a value without rounding, or None."""
    try:
        return operator.index(value)
    except TypeError:
        return None


def _without_tensors(values: Any) -> Any:
    """Convert tensors to arrays and generators to lists."""
    if isinstance(values, torch.Tensor):
        plain = values.detach().cpu()
        # numpy has no bfloat16.
        return (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy()
    if hasattr(values, "__array__") or not isinstance(values, Iterable):
        return values
    return [_without_tensors(entry) for entry in values]
