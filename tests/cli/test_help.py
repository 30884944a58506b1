"""Tests of the help texts: every example is a command that a shell and the options accept."""

from __future__ import annotations

import re
import subprocess
from importlib import import_module

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from quantum_rerank.cli.main import COMMANDS, app

ROOT = get_command(app)
assert isinstance(ROOT, TyperGroup)
NAMES = [name for name in COMMANDS if name != "sweep"]  # a group of commands


def help_of(application: typer.Typer, *arguments: str) -> str:
    """Return the help text of a command on a terminal of 80 columns."""
    result = CliRunner().invoke(application, [*arguments, "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return "\n".join(map(str.rstrip, result.output.splitlines()))


def examples(text: str) -> list[str]:
    """Return the indented command lines above the options of a help text."""
    description, *_ = text.partition("╭")
    indented = re.findall(r"^ {2,}(\S.*)$", description.replace("\\\n", " "), re.MULTILINE)
    return [line for line in indented if not line.startswith("{")]


def options_of(command: object) -> set[str]:
    return {name for parameter in getattr(command, "params", []) for name in parameter.opts}


def check(example: str, program: str, options: set[str]) -> None:
    assert subprocess.run(["sh", "-n", "-c", example], check=False).returncode == 0
    assert re.match(rf"^(?:for .* do )?{program}\b", example), example
    assert set(re.findall(r"--[a-z][a-z-]+", example)) <= options, example


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_command_has_an_example_with_existing_options(name: str) -> None:
    assert isinstance(ROOT, TyperGroup)
    options = options_of(ROOT.commands[name].make_context(name, [], resilient_parsing=True).command)
    if name == "report":  # its example trains first
        train = ROOT.commands["train"].make_context("train", [], resilient_parsing=True)
        options |= options_of(train.command)
    shown = examples(help_of(app, name))
    assert shown
    for example in shown:
        check(example, f"quantum-rerank (?:{name}|train)", options)


def test_the_help_of_the_experiments_has_an_example_with_existing_options() -> None:
    experiments: typer.Typer = import_module("experiments.__main__").app
    shown = examples(help_of(experiments))
    assert shown
    for example in shown:
        check(example, "python -m experiments", options_of(get_command(experiments)))


def test_the_help_of_the_program_has_examples_of_its_commands() -> None:
    shown = examples(help_of(app))
    assert len(shown) >= 2
    assert all(example.split()[1] in COMMANDS for example in shown)
