from __future__ import annotations

import pytest

from quantum_rerank.cli.result_tables import Tabular
from quantum_rerank.config import ExperimentConfig
from quantum_rerank.study.analysis import all_pairs, measured
from quantum_rerank.study.plan import Dataset, setups
from quantum_rerank.study.report import Told, document, markdown, scores_table, sentences
from quantum_rerank.study.results import Result
from tests.study.conftest import SCORES, Made

TREES = Dataset("trees", ("beir:trees",), {"test": "trees"})


@pytest.fixture
def results(made: Made) -> list[Result]:
    failed = made("rbf", failed="The loss became nan.", scores={})
    return [*(made(name) for name in SCORES), failed]


def told(results: list[Result]) -> Told:
    found = measured(results)
    rows = setups(ExperimentConfig(), {})
    left_out = {"cran": "no such folder"}
    pictures = {"A picture": "study/picture.svg"}
    command = "make study"
    return Told(command, [1], rows, [TREES], left_out, results, found, all_pairs(found), pictures)


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


def test_means_stand_beside_their_spread_over_seeds(made: Made) -> None:
    other = {domain: dict.fromkeys(found, 0.6) for domain, found in SCORES["tuned"].items()}
    results = [made("cosine"), made("tuned", 1), made("tuned", 2, scores={"trees": other})]
    table = scores_table(measured(results), ("cosine", "tuned", "rbf"))
    assert table.rows == (("trees", "3", "0.5000", "0.7000 ± 0.1414", "-"),)


def test_the_document_has_its_command_every_gap_and_every_part(results: list[Result]) -> None:
    text = document(told(results))
    assert "Printed by `make study`, seeds 1, on:" in text
    assert "- `cran`: no such folder" in text
    assert "- trees, rbf, seed 1: The loss became nan." in text
    assert "![A picture](study/picture.svg)" in text
    assert "| trees | +0.3000 | +60.0% |" in text
    assert "**Targets of tuned**" in text


def test_a_table_s_cells_do_not_break_it() -> None:
    text = markdown(Tabular("A title", ("what", "value"), (("a|b", "1"),)))
    assert text.splitlines() == [
        "**A title**",
        "",
        "| what | value |",
        "| :-- | --: |",
        "| a\\|b | 1 |",
    ]
