from __future__ import annotations

import pytest

from quantum_rerank.datasets.json_lines import parse_record
from quantum_rerank.errors import DataError


@pytest.mark.parametrize(
    "line", ["[" * 100_000, "9" * 5000, "{", "NaN-", '"a"', "3", "null", '{"b": 1}']
)
def test_an_invalid_record_is_a_data_error_of_one_short_line(line: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_record(line, "a")
    (problem,) = caught.value.problems
    assert len(problem) < 200


@pytest.mark.parametrize("line", ["[1]", '"a"', "3", "null"])
def test_a_line_that_is_not_an_object_is_refused_without_required_keys(line: str) -> None:
    with pytest.raises(DataError, match="is not an object"):
        parse_record(line)
