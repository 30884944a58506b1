from __future__ import annotations

import pytest

from experiments.analysis import all_pairs, measured
from experiments.plan import ICD10, Dataset, setups
from experiments.report import Told, document, sentences
from experiments.results import Result
from quantum_rerank.config import ExperimentConfig, override
from tests.experiments.conftest import SCORES, Made

TREES = Dataset("trees", ("beir:trees",), {"test": "trees"})
TUNED_NUMBERS = {"mlp.dropout": 0.25, "mlp.hidden_layers": [64], "training.max_epochs": 31}
SEARCHED = frozenset({"tuned", "tuned_twin"})


@pytest.fixture
def results(made: Made) -> list[Result]:
    failed = made("rbf", failed="The loss became nan.", scores={})
    return [*(made(name) for name in SCORES), failed]


def told(results: list[Result], *datasets: Dataset, searched: frozenset[str] = SEARCHED) -> str:
    """The document, of two seeds, with `mlp.dropout` tuned."""
    found = measured(results)
    numbers = override(ExperimentConfig(), TUNED_NUMBERS)
    rows = setups(numbers, override(numbers, {"model": "mlp_twin", "mlp.outputs": 48}), {})
    left_out = {"cran": "no such folder"}
    pairs = all_pairs(found)
    skipped = {"icd10:16": {"test queries with a text that is trained on too": 3}}
    of = Told(
        "make experiments",
        [1, 2],
        rows,
        searched,
        datasets,
        left_out,
        skipped,
        results,
        found,
        pairs,
    )
    return document(of, {"A picture": "study/picture.svg"})


def test_a_sentence_says_what_a_difference_is_on_how_many_collections(
    results: list[Result],
) -> None:
    found = measured(results)
    first = sentences(found, all_pairs(found))[0]
    assert first == (
        "tuned minus cosine: +0.3000 in the mean over 1 collection; "
        "positive on 1 (0 significantly), negative on 0 (0 significantly)."
    )


@pytest.mark.parametrize(("twin", "sign"), [(0.5, "+0.3000"), (0.9, "-0.1000"), (0.8, "+0.0000")])
def test_hybrid_minus_twin_is_told_whichever_sign_it_has(
    made: Made, twin: float, sign: str
) -> None:
    scores = {domain: dict.fromkeys(found, twin) for domain, found in SCORES["tuned"].items()}
    found = measured([made("tuned"), made("mlp_twin", scores={"trees": scores})])
    (sentence,) = sentences(found, all_pairs(found))
    assert sentence.replace("-0.0000", "+0.0000").startswith(f"tuned minus mlp_twin: {sign} ")


def test_a_collection_significantly_below_the_cosine_is_named(made: Made) -> None:
    low, high = ({"a": {str(n): value for n in range(12)}} for value in (0.4, 0.5))
    results = [
        made("tuned", scores={"trees": low}),
        made("cosine", scores={"trees": high}),
    ]
    found = measured(results)
    assert "Collections where tuned is significantly below cosine: trees." in sentences(
        found, all_pairs(found)
    )


def test_the_document_has_its_command_every_gap_and_every_part(results: list[Result]) -> None:
    text = told(results, TREES)
    assert "Printed by `make experiments`, seeds 1, 2.\n" in text
    assert "- `cran`: no such folder" in text
    assert "- icd10:16: 3 test queries with a text that is trained on too" in text
    assert "- trees, rbf, seed 1: The loss became nan." in text
    assert "![A picture](study/picture.svg)" in text
    assert "| trees | 1 | +0.3000 | +60.0% |" in text
    assert "**Targets of tuned**" in text


def test_the_machines_are_those_that_measured(made: Made) -> None:
    results = [made(name, machine=f"machine of {len(name)}") for name in SCORES]
    text = told([*results, made("rbf", failed="The loss became nan.", scores={})], TREES)
    assert "measured on:\n\n> machine of 5\n>\n> machine of 6\n" in text
    assert text.count("> machine of") == len({len(name) for name in SCORES})


@pytest.mark.parametrize("datasets", [(TREES,), (ICD10,), (ICD10, TREES)])
def test_how_queries_were_split_follows_from_the_data_sets(
    results: list[Result], datasets: tuple[Dataset, ...]
) -> None:
    text = told(results, *datasets)
    assert ("Of `trees` each seed draws its own split." in text) == (TREES in datasets)
    assert ("the test queries of all splits are pooled" in text) == (TREES in datasets)
    assert ("Of `icd10` all seeds have the same split." in text) == (ICD10 in datasets)
    assert ("is one model of 12 chapters" in text) == (ICD10 in datasets)
    assert "60 % training, 20 % validation and 20 % test" in text


def test_the_document_says_what_was_searched_for_whom_and_on_what(results: list[Result]) -> None:
    text = told(results, TREES)
    assert "It searched for the hybrids, and chose" in text
    assert "`tuned_twin` is the classical `mlp_twin` with numbers of its own: those that" in text
    assert "on its chapters 7 and 8 only: on every other data set its numbers are trans" in text
    assert "None of these controls was searched for itself" in text
    assert "a budget of their own: at most 100 epochs, a patience of 10." in text
    assert "with them at most 31 epochs, a patience of 10." in text
    given = told(results, TREES, searched=frozenset({"tuned_twin"}))
    assert "given by `--tuned`;" in given
    assert "own search found" not in given
    assert "given by `--tuned-twin`;" in told(results, TREES, searched=frozenset({"tuned"}))


def test_the_tuned_numbers_are_printed_where_they_differ(results: list[Result]) -> None:
    lines = told(results, TREES).splitlines()
    start = lines.index("| key | default | tuned | tuned_twin |") + 2
    assert lines[start : lines.index("", start)] == [
        "| model | hybrid | hybrid | mlp_twin |",
        "| mlp.hidden_layers | [256, 128] | [64] | [64] |",
        "| mlp.dropout | 0.1 | 0.25 | 0.25 |",
        "| mlp.outputs | 0 | 0 | 48 |",
        "| training.max_epochs | 100 | 31 | 31 |",
    ]
