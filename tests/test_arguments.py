from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from quantum_rerank.arguments import as_limit, as_rows, as_text, as_texts, as_vectors
from quantum_rerank.errors import DataError, EmbeddingError

TEXTS = ["an oak", "an elm", "an ash"]
SORTED = pd.DataFrame({"text": TEXTS, "row": [7, 0, 2]}, index=[2, 0, 1])  # labels mislead


class Tree(StrEnum):
    OAK = "an oak"


class NoColumn:
    """Like a lazy frame of polars: indexed by names, and without rows before it is collected."""

    def __getitem__(self, name: str) -> str:
        raise TypeError("not subscriptable")


def generated(values: Any) -> Iterator[Any]:
    yield from values


@pytest.mark.parametrize(
    "values",
    [
        TEXTS,
        tuple(TEXTS),
        generated(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        SORTED["text"],
        SORTED["text"].astype("category"),
        pd.Index(TEXTS),
        pa.array(TEXTS),
        pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
        dict.fromkeys(TEXTS).keys(),
        {"d1": TEXTS[0], "d2": TEXTS[1], "d3": TEXTS[2]}.values(),
        [Tree.OAK, np.str_("an elm"), "an ash"],
    ],
    ids=lambda values: type(values).__name__,
)
def test_texts_are_read_by_position_from_any_container(values: Any) -> None:
    texts = as_texts(values)
    assert texts == TEXTS
    assert {type(text) for text in texts} == {str}


@pytest.mark.parametrize(
    "values", [[], (), np.array([]), pd.Series([], dtype=object), pa.array([])]
)
def test_an_empty_container_gives_no_texts_and_no_rows(values: Any) -> None:
    assert as_texts(values) == []
    assert as_rows(values).tolist() == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(zip("abc", TEXTS, strict=True)), r"is a mapping.*`list\(documents\.values\(\)\)`"),
        (SORTED, r"has the shape \(3, 2\).*such as `frame\['text'\]`"),
        (SORTED[["text"]], r"has the shape \(3, 1\)"),
        (pa.table({"text": TEXTS}), r"has the shape \(3, 1\)"),
        (np.array([TEXTS]), r"has the shape \(1, 3\)"),
        (np.array("an oak"), r"has the shape \(\)"),
        (set(TEXTS), "is a set, which has no order"),
        (frozenset(TEXTS), "is a set, which has no order"),
        ("an oak", "is one text.*Put it in a list"),
        (np.str_("an oak"), "is one text"),
        (b"an oak", "is bytes.*Decode it"),
        (None, "is None, but must be a list of texts"),
        (3, "is 3, but must be a list of texts"),
        (NoColumn(), "but must be a list of texts"),
        ([*TEXTS, None], "Entry 3 of `documents` is None, but must be a text"),
        (pd.Series(["an oak", float("nan")]), "Entry 1 of `documents` is nan"),
        ([b"an oak"], "Entry 0 of `documents` is b'an oak'"),
        ({"d1": "an oak"}.items(), r"Entry 0 of `documents` is \('d1', 'an oak'\)"),
    ],
)
def test_a_value_that_is_not_a_list_of_texts_is_refused(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_texts(values)


@pytest.mark.parametrize(
    "values",
    [
        [7, 0, 2],
        (7, 0, 2),
        generated([7, 0, 2]),
        [np.int64(7), np.uint8(0), 2],
        np.array([7, 0, 2], dtype=np.uint8),
        np.array([7, 0, 2], dtype=object),
        SORTED["row"],
        SORTED["row"].astype("Int64"),
        pd.Index([7, 0, 2]),
        pa.array([7, 0, 2]),
        torch.tensor([7, 0, 2]),
        list(torch.tensor([7, 0, 2])),
    ],
    ids=lambda values: type(values).__name__,
)
def test_rows_are_read_by_position_from_any_container(values: Any) -> None:
    rows = as_rows(values)
    assert rows.tolist() == [7, 0, 2]
    assert rows.dtype == np.intp


def test_rows_may_be_a_range() -> None:
    assert as_rows(range(4, 0, -2)).tolist() == [4, 2]


@pytest.mark.parametrize("value", [2**70, np.uint64(2**64 - 1)])
def test_a_number_beyond_every_index_stays_out_of_range(value: Any) -> None:
    assert as_rows([value, -(2**70)]).tolist() == [np.iinfo(np.intp).max, np.iinfo(np.intp).min]
    assert as_rows(np.array([value])).tolist() == [np.iinfo(np.intp).max]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([True, False], r"holds booleans.*`numpy\.flatnonzero\(mask\)`"),
        ([0, True], "holds booleans"),
        (SORTED["row"] > 1, "holds booleans"),
        (torch.tensor([True, False]), "holds booleans"),
        ([0.5], r"Entry 0 of `rows` is 0\.5.*Convert it with `int`"),
        (np.array([1.0, 2.0]), r"Entry 0 of `rows` is 1\.0"),
        (pd.Series([1, None]), r"Entry 0 of `rows` is 1\.0"),
        (pd.Series([1, None], dtype="Int64"), "Entry . of `rows` is"),
        ([[0, 1]], r"Entry 0 of `rows` is \[0, 1\]"),
        (np.array([[0, 1]]), r"has the shape \(1, 2\)"),
        (SORTED, r"has the shape \(3, 2\).*such as `frame\['row'\]`"),
        (["0"], "Entry 0 of `rows` is '0'"),
        ("012", "is '012'"),
        ({0: 1}, r"is \{0: 1\}"),
        ({0, 1}, "is a set, which has no order"),
        (3, "is 3, but must be a list of row numbers"),
    ],
)
def test_a_value_that_is_not_a_list_of_rows_is_refused(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_rows(values)


@pytest.mark.parametrize("value", [3, np.int32(3), torch.tensor(3)])
def test_a_limit_may_be_any_integer_type(value: Any) -> None:
    limit = as_limit(value)
    assert (limit, type(limit)) == (3, int)


def test_none_means_no_limit() -> None:
    assert as_limit(None) is None


@pytest.mark.parametrize("value", ["2", 2.5, 2.0, True, np.True_, np.float64(2), [2]])
def test_a_limit_that_is_not_an_integer_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"`top_k` is .* but must be an integer, or None for all"):
        as_limit(value)


@pytest.mark.parametrize("value", [0, -1, np.int8(-1)])
def test_a_limit_below_one_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=rf"`top_k` is {value}, but must be at least 1"):
        as_limit(value)


def test_a_text_of_numpy_is_a_text() -> None:
    text = as_text(np.str_("oak"), "The query")
    assert (text, type(text)) == ("oak", str)


@pytest.mark.parametrize("value", [None, ["oak"], b"oak", 3, pd.Series(["oak"])])
def test_a_value_that_is_not_a_text_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"The query is .*but must be a text"):
        as_text(value, "The query")


NUMBERS = [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: NUMBERS,
        lambda: generated(NUMBERS),
        lambda: np.array(NUMBERS, dtype=np.float16),
        lambda: np.array(NUMBERS, dtype=np.int8),
        lambda: [np.array(row) for row in NUMBERS],
        lambda: torch.tensor(NUMBERS, requires_grad=True),
        lambda: torch.tensor(NUMBERS, dtype=torch.bfloat16),
        lambda: list(torch.tensor(NUMBERS, requires_grad=True)),
        lambda: pd.DataFrame(NUMBERS, index=[9, 0]),
    ],
)
def test_vectors_may_be_lists_arrays_tensors_or_tables(make: Callable[[], Any]) -> None:
    array = as_vectors(make(), "documents")
    np.testing.assert_array_equal(array, NUMBERS)


def test_an_array_of_numbers_is_not_copied() -> None:
    array = np.ones((2, 2), dtype=np.float16)
    assert np.shares_memory(as_vectors(array, "documents"), array)


@pytest.mark.parametrize(
    "values",
    [
        [[1.0], [1.0, 2.0]],
        np.array([[1.0], None], dtype=object),
        pd.Series([np.ones(2), np.ones(2)]),
        [["1", "2"]],
        np.array([[True, False]]),
        np.array([[1j]]),
        torch.tensor([[1j]]),
        {"d1": [1.0]},
        {1.0},
        "1 2",
        None,
    ],
)
def test_values_that_are_not_real_numbers_are_refused(values: Any) -> None:
    with pytest.raises(EmbeddingError, match=r"documents: .*vectors must be real numbers"):
        as_vectors(values, "documents")


def test_a_column_of_arrays_is_refused_with_the_way_out() -> None:
    with pytest.raises(EmbeddingError, match=r"`numpy\.stack\(column\)`"):
        as_vectors(pd.Series([np.ones(2), np.ones(2)]), "documents")
