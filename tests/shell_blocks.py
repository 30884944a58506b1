"""Checks of the commands in shell blocks, without running them.

A command of this project is parsed by its own parser, so that its name, its options and their
values exist. Of other programs only the files and targets that a command names are checked.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPT = "quantum-rerank"
_OTHER_PROGRAMS = ("ray", "kubectl", "docker", "wandb", "optuna-dashboard", "mkdocs", "git")
_WITHOUT_TYPER = ("pytest", "benchmarks", "tests")


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of a shell block as words, without assignments before them."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words:
            yield words


def check(words: list[str]) -> None:
    """Check one command.

    Raises:
        Exception: The command does not exist, or refuses its arguments.
    """
    program, *arguments = words
    if program == SCRIPT:
        _parse(_script(), SCRIPT, arguments)
    elif program == "python":
        _check_python(arguments)
    elif program == "make":
        _check_targets(arguments)
    elif program == "pip":
        _check_extras(arguments)
    elif program == ".":
        assert arguments == [".venv/bin/activate"], words
    else:
        assert program in _OTHER_PROGRAMS, f"`{program}` is not a program that the docs may name"
        _check_files(arguments)


def _script() -> Any:
    module, _, _ = PROJECT["scripts"][SCRIPT].partition(":")
    return import_module(module).app


def _parse(app: Any, name: str, arguments: list[str]) -> None:
    """Parse a command line to its last subcommand, and call nothing."""
    command, context = get_command(app), None
    while True:
        try:
            context = command.make_context(name, list(arguments), parent=context)
        except typer.Exit:  # of `--help`
            return
        if not hasattr(command, "resolve_command"):
            return
        rest = [*context._protected_args, *context.args]
        name, command, arguments = command.resolve_command(context, rest)


def _check_python(arguments: list[str]) -> None:
    if arguments[0] != "-m":
        assert (ROOT / arguments[0]).is_file(), f"`{arguments[0]}` does not exist"
        return
    module = arguments[1]
    if module.partition(".")[0] in _WITHOUT_TYPER:
        assert module == "pytest" or _is_module(module), f"`{module}` is not a module"
        return
    is_package = (ROOT / module.replace(".", "/") / "__main__.py").is_file()
    app = import_module(f"{module}.__main__" if is_package else module).app
    _parse(app, f"python -m {module}", arguments[2:])


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def _check_targets(arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in arguments:
        if "=" not in target:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no target `{target}`"


def _check_extras(arguments: list[str]) -> None:
    for extras in re.findall(r"\.\[([\w,-]+)\]", " ".join(arguments)):
        for extra in extras.split(","):
            assert extra in PROJECT["optional-dependencies"], f"no extra `{extra}`"


def _check_files(arguments: list[str]) -> None:
    """Check files of this repository that a command of another program names."""
    for argument in arguments:
        if argument.startswith(("clusters/", "docs/", "search_spaces/", "configs/")):
            assert (ROOT / argument).is_file(), f"`{argument}` does not exist"
