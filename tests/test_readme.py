"""The README is short, names what exists, and quotes the experiments' numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPERIMENTS = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
ROWS = {
    "ICD-10-CM, held-out queries": "icd10_seen",
    "ICD-10-CM, unseen chapters": "icd10_unseen",
    "SciFact": "scifact",
    "Cranfield": "cran",
    "CoSQA": "cosqa",
}
COLUMNS = ("cosine", "bm25_cosine", "mlp_twin", "tuned")


def test_the_readme_has_600_to_900_words() -> None:
    assert 600 <= len(README.split()) <= 900


def test_no_placeholder_is_left() -> None:
    assert not re.findall(r"@[A-Z_]+@|TODO|TBD", README)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"(?:search_spaces|configs|docs)/[\w./]+\.(?:yaml|md)", README)))
)
def test_every_file_that_the_readme_names_exists(path: str) -> None:
    assert (ROOT / path).is_file()


def cells(text: str, first: str) -> list[str]:
    """Return the cells of the first table row that begins with a name."""
    row = re.search(rf"^\| {re.escape(first)} \|(.*)\|$", text, re.MULTILINE)
    assert row, f"no row `{first}`"
    return [cell.strip() for cell in row[1].split("|")]


def table_below(heading: str) -> str:
    """Return the text from a heading of the experiments' page to the next heading."""
    return EXPERIMENTS.partition(f"**{heading}**")[2].partition("\n**")[0]


@pytest.mark.parametrize("row", ROWS)
def test_results_are_those_of_the_experiments(row: str) -> None:
    *scores, difference = cells(README, row)
    collections = cells(table_below("NDCG@10 by model"), "model")
    position = collections.index(ROWS[row])
    for model, score in zip(COLUMNS, scores, strict=True):
        measured = cells(table_below("NDCG@10 by model"), model)[position]
        assert measured.split(" ")[0] == score
    assert cells(table_below("tuned minus mlp_twin"), ROWS[row])[1] == difference


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("cosine", "hybrid - cosine"),
        ("mlp_twin", "hybrid - MLP twin with the same hyperparameters"),
        ("tuned_twin", "hybrid - MLP twin with hyperparameters of its own search"),
        ("rbf", "hybrid - MLP with a Gaussian kernel"),
    ],
)
def test_mean_differences_are_those_of_the_experiments(model: str, text: str) -> None:
    measured = re.search(rf"tuned minus {model}: ([+-][\d.]+) ", EXPERIMENTS)
    quoted = re.search(rf"{re.escape(text)}:\s+\**([+-][\d.]+)", README)
    assert measured
    assert quoted
    assert measured[1] == quoted[1]


def test_the_citation_file_names_the_version_of_the_package() -> None:
    citation = YAML(typ="safe", pure=True).load((ROOT / "CITATION.cff").read_text("utf-8"))
    required = {"cff-version", "message", "title", "authors", "version", "license"}
    assert required <= citation.keys()
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## ([\d.]+)", changelog, re.MULTILINE)
    assert newest
    assert citation["version"] == newest[1]
