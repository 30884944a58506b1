from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from experiments.plan import ICD10, Dataset
from experiments.report import document, sentences
from experiments.results import Result
from experiments.summarising import summarise
from tests.experiments.conftest import SCORES, TREES, Made, experiments


@pytest.fixture
def results(made: Made) -> list[Result]:
    failed = made("rbf", failed="The loss became nan.", scores={})
    return [*(made(name) for name in SCORES), failed]


def page(results: Sequence[Result], **changes: Any) -> str:
    pictures = {"A picture": "experiments/picture.svg"}
    return document(summarise(experiments(results, **changes)), pictures)


def test_a_sentence_has_the_difference_and_the_number_of_collections(
    results: list[Result],
) -> None:
    assert sentences(summarise(experiments(results)))[0] == (
        "tuned minus cosine: +0.3000 on average over 1 collection; "
        "positive on 1 (0 significantly), negative on 0 (0 significantly)."
    )


@pytest.mark.parametrize(("twin", "sign"), [(0.5, "+0.3000"), (0.9, "-0.1000"), (0.8, "+0.0000")])
def test_hybrid_minus_twin_is_reported_with_either_sign(made: Made, twin: float, sign: str) -> None:
    scores = {domain: dict.fromkeys(values, twin) for domain, values in SCORES["tuned"].items()}
    summary = summarise(experiments([made("tuned"), made("mlp_twin", scores={"trees": scores})]))
    (sentence,) = sentences(summary)
    assert sentence.replace("-0.0000", "+0.0000").startswith(f"tuned minus mlp_twin: {sign} ")


def test_a_collection_significantly_below_cosine_is_named(made: Made) -> None:
    low, high = ({"a": {str(n): value for n in range(12)}} for value in (0.4, 0.5))
    results = [made("tuned", scores={"trees": low}), made("cosine", scores={"trees": high})]
    assert "Collections on which tuned is significantly below cosine: trees." in sentences(
        summarise(experiments(results))
    )


def test_the_page_has_its_command_its_gaps_and_its_tables(results: list[Result]) -> None:
    text = page(results)
    assert "Printed by `make experiments`, seeds 1, 2.\n" in text
    assert "- `cran`: no such folder" in text
    assert "- icd10:16: 3 test queries with a text that is trained on too" in text
    assert "- trees, rbf, seed 1: The loss became nan." in text
    assert "![A picture](experiments/picture.svg)" in text
    assert "| trees | 1 | +0.3000 | +60.0% |" in text
    assert "**Targets of tuned**" in text


def test_the_page_names_the_machines_that_trained(made: Made) -> None:
    results = [made(name, machine=f"machine of {len(name)}") for name in SCORES]
    text = page([*results, made("rbf", failed="The loss became nan.", scores={})])
    assert "measured on:\n\n> machine of 5\n>\n> machine of 6\n" in text
    assert text.count("> machine of") == len({len(name) for name in SCORES})


@pytest.mark.parametrize("datasets", [(TREES,), (ICD10,), (ICD10, TREES)])
def test_the_description_of_splits_follows_from_the_data_sets(
    results: list[Result], datasets: tuple[Dataset, ...]
) -> None:
    text = page(results, datasets=datasets)
    assert ("Each seed draws its own split of `trees`." in text) == (TREES in datasets)
    assert ("the test queries of all splits are pooled" in text) == (TREES in datasets)
    assert ("All seeds have the same split of `icd10`." in text) == (ICD10 in datasets)
    assert ("is one model of 12 chapters" in text) == (ICD10 in datasets)
    assert "60 % training, 20 % validation and 20 % test" in text


def test_the_page_states_the_origin_of_each_configuration(results: list[Result]) -> None:
    text = page(results)
    assert "The search covered the hybrids." in text
    assert "`tuned_twin` is the classical `mlp_twin` with the configuration found by" in text
    assert "On every other data set the configuration is transferred." in text
    assert "These controls were not tuned themselves" in text
    assert "its own budget: at most 100 epochs and a patience of 10." in text
    assert "therefore at most 31 epochs and a patience of 10." in text
    text = page(results, searched=frozenset({"tuned_twin"}))
    assert "given by `--tuned`." in text
    assert "own search" not in text
    assert "given by `--tuned-twin`." in page(results, searched=frozenset({"tuned"}))


def test_the_configuration_is_printed_where_it_differs(results: list[Result]) -> None:
    lines = page(results).splitlines()
    start = lines.index("| key | default | tuned | tuned_twin |") + 2
    assert lines[start : lines.index("", start)] == [
        "| model | hybrid | hybrid | mlp_twin |",
        "| mlp.hidden_layers | [256, 128] | [64] | [64] |",
        "| mlp.dropout | 0.1 | 0.25 | 0.25 |",
        "| mlp.outputs | 0 | 0 | 48 |",
        "| training.max_epochs | 100 | 31 | 31 |",
    ]
