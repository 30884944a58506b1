"""The examples of `--help` are commands, as a shell reads what a terminal of 80 columns shows."""

from __future__ import annotations

import re
import subprocess
from importlib import import_module

import pytest
import typer
from typer.testing import CliRunner

COMMANDS = [
    *(
        f"quantum_rerank.cli.{name}"
        for name in (
            "analyze_training_results",
            "export_model",
            "rerank",
            "train_hybrid_model",
            "validate_training",
        )
    ),
    "experiments",
]


def app_of(module: str) -> typer.Typer:
    is_package = module == "experiments"
    app: typer.Typer = import_module(f"{module}.__main__" if is_package else module).app
    return app


def options(module: str) -> set[str]:
    return {name for one in typer.main.get_command(app_of(module)).params for name in one.opts}


@pytest.mark.parametrize("module", COMMANDS)
def test_an_example_is_one_command_with_options_that_there_are(module: str) -> None:
    result = CliRunner().invoke(app_of(module), ["--help"], env={"COLUMNS": "80"})
    text, *_ = "\n".join(map(str.rstrip, result.output.splitlines())).partition("╭")
    text = text.replace("\\\n", " ")
    apart = re.findall(r"^ {2,}(\S.*)$", text, re.MULTILINE)
    examples = [line for line in apart if not line.startswith("{")]
    assert examples
    for example in examples:
        assert subprocess.run(["sh", "-n", "-c", example], check=False).returncode == 0
        (called,) = re.findall(r"^(?:for .* do )?python -m (\S+)", example)
        assert set(re.findall(r"--[a-z-]+", example)) <= options(called)
