"""The advice on few training queries, and its command."""

from __future__ import annotations

import shlex
from itertools import pairwise

import pytest

from quantum_rerank.config import DataConfig, load_config, parse_override
from quantum_rerank.training.few_labels import FEW_QUERIES, few_labels, learning_curve_command

DATA = DataConfig(
    seen=("csv:my clicks.csv", "icd10:5"),
    unseen_validation=("icd10:7",),
    unseen_test=(),
    lexical="stems+ngrams",
    query_prompt="query: ",
    columns={"query": "null", "label": "rel"},
    split_seed=3,
)


def test_the_advice_names_the_number_the_expectation_and_the_command() -> None:
    (advice,) = few_labels(20, DATA)
    for part in ("Only 20 training queries", "hard to beat", "weight of 0"):
        assert part in advice
    assert learning_curve_command(DATA) in advice


def test_enough_labels_need_no_advice() -> None:
    assert few_labels(FEW_QUERIES, DATA) == []
    assert few_labels(FEW_QUERIES - 1, DATA)


@pytest.mark.parametrize("data", [DATA, DataConfig()])
def test_the_command_reads_the_same_data(data: DataConfig) -> None:
    words = shlex.split(learning_curve_command(data))
    assert words[:3] == ["quantum-rerank", "train", "--learning-curve"]
    pairs = list(pairwise(words))
    seen = [value for option, value in pairs if option == "--data"]
    settings = dict(parse_override(value) for option, value in pairs if option == "--set")
    assert load_config(None, {**settings, "data.seen": seen}).data == data
