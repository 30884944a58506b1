"""Tests of the console script: commands are imported when they are called, and not before."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import quantum_rerank
from quantum_rerank.cli import main
from quantum_rerank.cli.main import COMMANDS, Entry, app
from quantum_rerank.cli.tuning_commands import PACKAGES, load_tuning
from quantum_rerank.errors import MissingExtra

ROOT = Path(__file__).parents[2]
Ended = Callable[..., tuple[int, str]]

IMPORTS = """
import sys
from typer.testing import CliRunner
from quantum_rerank.cli.main import app
for arguments in {lines!r}:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(sorted(loaded & {{"torch", "ray", "optuna", "wandb", "numpy", "numba", "pennylane"}}))
"""


def imported(*lines: list[str]) -> str:
    """Return the heavy packages that command lines import."""
    program = IMPORTS.format(lines=lines)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def without(*packages: str) -> str:
    """Return lines of a program in which packages cannot be imported."""
    return f"import sys\nfor name in {packages}: sys.modules[name] = None\n"


def test_the_list_of_commands_imports_no_heavy_package() -> None:
    assert imported(["--help"], ["--version"]) == "[]"


def test_the_help_of_a_command_of_one_model_imports_no_heavy_package() -> None:
    names = ("train", "evaluate", "rerank", "report", "export")
    assert imported(*([name, "--help"] for name in names)) == "[]"


def test_the_list_of_commands_names_every_command_with_its_summary() -> None:
    printed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    for name, entry in COMMANDS.items():
        assert re.search(rf"{name} +{re.escape(entry.summary)}", printed)
    assert "--install-completion" in printed


def test_the_version_is_that_of_the_package() -> None:
    printed = CliRunner().invoke(app, ["--version"]).output
    assert printed == f"quantum-rerank {quantum_rerank.__version__}\n"


def test_the_console_script_is_the_main_function() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"quantum-rerank": "quantum_rerank.cli.main:main"}


def test_an_unknown_command_is_answered_with_the_nearest_name(ended: Ended) -> None:
    code, message = ended(app, "statsu")
    assert code == 2
    assert "Did you mean 'status'?" in message


def test_completion_offers_the_commands_without_importing_them() -> None:
    program = without("torch", "ray", "optuna") + "from quantum_rerank.cli.main import main; main()"
    completing = {"_QUANTUM_RERANK_COMPLETE": "complete_bash", "COMP_WORDS": "quantum-rerank re"}
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = 'quantum-rerank'\n{program}"],
        env={**os.environ, **completing, "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["resume", "rerun", "rerank", "report"]


def greet(name: str, shout: bool = False) -> None:
    """Print a greeting."""
    print(f"Hello {name}{'!' if shout else '.'}")


group = typer.Typer()
group.command()(greet)
group.command("wave")(greet)


@pytest.mark.parametrize(
    ("target", "line"),
    [("tuning_target:greet", ["hello", "Ada"]), ("tuning_target:group", ["hello", "wave", "Ada"])],
)
def test_a_function_or_a_group_is_called_with_its_arguments(
    monkeypatch: pytest.MonkeyPatch, target: str, line: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tuning_target", sys.modules[__name__])
    monkeypatch.setitem(COMMANDS, "hello", Entry(target, "Greet.", "Search"))
    result = CliRunner().invoke(typer_app(), [*line, "--shout"])
    assert result.output == "Hello Ada!\n"


def typer_app() -> typer.Typer:
    return typer.Typer(cls=main.LazyGroup, callback=lambda: None)


def test_a_path_in_the_home_folder_is_expanded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: Ended
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    code, message = ended(app, "report", "~/nowhere")
    assert code == 2
    assert f"`{tmp_path / 'nowhere'}` does not exist" in message


@pytest.mark.parametrize("name", ["tune", "resume", "rerun", "status", "sweep"])
def test_a_search_command_without_its_extra_is_refused_in_one_line(name: str) -> None:
    program = without("ray", "optuna", "wandb", "psutil")
    program += f"sys.argv = ['quantum-rerank', '{name}', '--help']\n"
    program += "from quantum_rerank.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: `quantum-rerank {name}` needs the extra `tune`")
    assert "pip install 'quantum-rerank[tune]'" in line


def test_the_extra_is_checked_package_by_package(monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extra = project["project"]["optional-dependencies"]["tune"]
    assert all(any(line.startswith(package) for line in extra) for package in PACKAGES)
    monkeypatch.setitem(sys.modules, PACKAGES[-1], None)
    with pytest.raises(MissingExtra, match=f"the package `{PACKAGES[-1]}` is not installed"):
        load_tuning("tuning.status:main", "quantum-rerank status")


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", ["train", "evaluate", "rerank", "report", "export"])
def test_a_command_can_be_run_as_a_module(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(f"quantum_rerank.cli.{name}", run_name="__main__")
    assert not end.value.code
    assert f"quantum-rerank {name}" in capsys.readouterr().out
