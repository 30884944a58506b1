from __future__ import annotations

import ast
import pickle
import tomllib
from pathlib import Path

import pytest

from quantum_rerank.errors import ConfigError, DataError, MissingPackage, QuantumRerankError

ROOT = Path(__file__).parents[1]


def named_extras() -> set[tuple[str, str]]:
    """Package and extra of every MissingPackage that is raised anywhere."""
    texts = [
        path.read_text(encoding="utf-8")
        for package in ("quantum_rerank", "tuning")
        for path in (ROOT / package).rglob("*.py")
    ]
    trees = [ast.parse(text) for text in texts if "MissingPackage(" in text]
    calls = [
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MissingPackage"
    ]
    arguments = [[ast.literal_eval(value) for value in call.args[:2]] for call in calls]
    return {(package, extra) for package, extra in arguments if extra}


@pytest.mark.parametrize("kind", [ConfigError, DataError])
def test_every_problem_is_shown_on_its_own_line(kind: type[ConfigError]) -> None:
    error = kind(["first", "second"])
    assert error.problems == ("first", "second")
    assert str(error).splitlines() == ["first", "second"]


def test_a_missing_package_names_the_command_that_installs_it() -> None:
    error = MissingPackage("wandb", "tune", "Tracking")
    assert isinstance(error, QuantumRerankError)
    assert "extra `tune`" in str(error)


def test_a_package_without_an_extra_has_its_own_command() -> None:
    message = str(MissingPackage("gpe-eval==0.2.2", None, "The source", "--no-deps "))
    assert message.endswith("Run `pip install --no-deps gpe-eval==0.2.2`.")


@pytest.mark.parametrize(
    "error", [MissingPackage("wandb", "tune", "Tracking"), ConfigError(["first", "second"])]
)
def test_an_error_can_be_pickled(error: QuantumRerankError) -> None:
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_every_extra_that_an_error_names_installs_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = named_extras()
    assert len(named) >= 8
    for package, extra in named:
        assert any(needed.startswith(package) for needed in extras[extra]), (package, extra)
