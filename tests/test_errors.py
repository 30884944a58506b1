from __future__ import annotations

import pytest

from quantum_rerank.errors import ConfigError, DataError, MissingPackage, QuantumRerankError


@pytest.mark.parametrize("kind", [ConfigError, DataError])
def test_every_problem_is_kept_and_shown_on_a_line_of_its_own(kind: type[ConfigError]) -> None:
    error = kind(["first", "second"])
    assert error.problems == ("first", "second")
    assert str(error).splitlines() == ["first", "second"]


def test_a_missing_package_names_the_command_that_installs_it() -> None:
    error = MissingPackage("wandb", "tune", "Tracking")
    assert isinstance(error, QuantumRerankError)
    assert "extra `tune`" in str(error)
