from __future__ import annotations

import json
import pickle

from quantum_rerank.datasets.counts import Count, Tally, count_lines


def test_a_count_is_written_to_json_as_its_number() -> None:
    assert json.dumps({"rows left out": Count(3, ["a"])}) == '{"rows left out": 3}'


def test_a_pickled_count_keeps_its_examples() -> None:
    count = pickle.loads(pickle.dumps(Count(3, ["a", "b"])))
    assert (count, count.examples) == (3, ("a", "b"))


def test_a_tally_keeps_five_examples() -> None:
    tally = Tally()
    assert tally.as_counts("rows") == {}
    for number in range(7):
        tally.add(f"line {number}")
    shown = "7 rows (line 0, line 1, line 2, line 3, line 4, ...)"
    assert count_lines(tally.as_counts("rows")) == [shown]


def test_a_long_example_is_cut() -> None:
    assert len(count_lines({"rows": Count(1, ["oak " * 1000])})[0]) < 120


def test_a_plain_number_has_no_examples() -> None:
    assert count_lines({"rows": 2}) == ["2 rows"]
