"""README, docs/ and examples/: every code block runs or is checked, every link leads somewhere."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from quantum_rerank.cli.train import app as train
from quantum_rerank.config import ExperimentConfig, build_config
from quantum_rerank.registry import Registry
from tests import shell_blocks
from tests.markdown import Block, anchors, blocks, links
from tuning.space import Header

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WRITTEN_BY_COMMANDS = {
    "anchors.md",
    "benchmarks.md",
    "experiments.md",
    "few-labels.md",
    "map.md",
    "reference.md",
}
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for page in sorted(DOCS.glob("*.md")) if page.name not in WRITTEN_BY_COMMANDS),
]
BLOCKS = [block for page in PAGES for block in blocks(page)]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
RUNS = ("first", "clicks")  # runs/NAME: the trained models that Python blocks load
LONG_WALKS = ("using.md", "wandb.md")  # run commands that tests of the commands run too
COPIED = ("configs", "search_spaces", "examples", "clusters")
MAX_EXAMPLE_LINES = 60


def of(*languages: str) -> list[Any]:
    """Return the blocks of some languages as test parameters."""
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language in languages]


def run(command: list[str] | str, folder: Path) -> str:
    """Run a command with this environment's programs first, and return its output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words = ["bash", "-euo", "pipefail", "-c", command] if isinstance(command, str) else command
    environment = os.environ | {"PATH": path}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert not done.returncode, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Keep embeddings in a temporary folder, for processes of the tests as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTUM_RERANK_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("WANDB_MODE", "offline")
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a training that takes seconds."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    command = f"--config {ROOT}/configs/training_config.yaml --data csv:{ROOT}/examples/clicks.csv"
    small = "--model cosine --set training.max_epochs=1 --set warmup.steps=10"
    line = [*command.split(), *small.split(), "--output", str(folder)]
    CliRunner().invoke(train, line, catch_exceptions=False)
    return folder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the files that the pages name."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def walk(page: Path, folder: Path, *, slow: bool) -> None:
    """Write the files and run the blocks of a page in order.

    Args:
        page: The page.
        folder: The working directory.
        slow: Run the blocks that are marked as slow as well.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.mark == "slow" and not slow:
            continue
        elif block.language == "python":
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            exec(code, namespace)
        elif block.language == "sh" and block.mark:
            run(block.text, folder)


DOCUMENTED = [
    ("models.md", "quantum_rerank.similarity:MODELS"),
    ("models.md", "quantum_rerank.training.config:LOSSES"),
    ("models.md", "quantum_rerank.circuits:ENGINES"),
    ("data.md", "quantum_rerank.datasets:SOURCES"),
    ("data.md", "quantum_rerank.embeddings.text_models:ENCODERS"),
    ("search-spaces.md", "tuning.space:SAMPLERS"),
    ("search-spaces.md", "tuning.space:SCHEDULERS"),
]


def registry_of(name: str) -> Registry[Any]:
    """Return the registry at `module:attribute`."""
    module, _, attribute = name.partition(":")
    registry: Registry[Any] = getattr(import_module(module), attribute)
    return registry


@pytest.fixture(autouse=True)
def registered_parts() -> Iterator[None]:
    """Remove the parts that the blocks of a page have registered."""
    names = {name: set(registry_of(name)) for _, name in DOCUMENTED}
    yield
    for registry, parts in names.items():
        for part in set(registry_of(registry)) - parts:
            registry_of(registry).unregister(part)


def needs(page: Path, language: str, *marks: str) -> bool:
    """Return whether a page has a block of a language with one of some marks."""
    return any(b.language == language and b.mark in marks for b in blocks(page))


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=[pytest.mark.extended] * (page.name in LONG_WALKS))
        for page in PAGES
        if needs(page, "python", "") or needs(page, "sh", "run")
    ],
)
def test_the_blocks_of_a_page_run_in_order(page: Path, checkout: Path, trained: Path) -> None:
    for name in RUNS:
        shutil.copytree(trained, checkout / "runs" / name)
    walk(page, checkout, slow=False)


@pytest.mark.extended
@pytest.mark.ray
@pytest.mark.parametrize(
    "page", [page for page in PAGES if needs(page, "sh", "slow")], ids=lambda page: page.name
)
def test_the_blocks_of_a_page_run_in_order_with_its_searches(page: Path, checkout: Path) -> None:
    walk(page, checkout, slow=True)


@pytest.mark.parametrize("block", of("sh"))
def test_every_command_is_accepted_by_its_parser(block: Block, checkout: Path) -> None:
    for words in shell_blocks.commands(block.text):
        shell_blocks.check(words)


def inline_commands() -> list[Any]:
    """Return the commands of this project that pages name in running text."""
    starts = ("quantum-rerank ", "python -m ", "make ", "pip install ")
    found = {
        code: page.name
        for page in PAGES
        for code in re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))
        if code.startswith(starts)
    }
    return [pytest.param(code, id=f"{page}: {code}") for code, page in found.items()]


@pytest.mark.parametrize("command", inline_commands())
def test_every_command_in_running_text_exists(command: str) -> None:
    for words in shell_blocks.commands(command):
        shell_blocks.check([*words, *help_of(words)])


def help_of(words: list[str]) -> list[str]:
    """Return `--help` for commands of this project, whose required options a text leaves out."""
    return ["--help"] if words[0] in ("quantum-rerank", "python") else []


@pytest.mark.parametrize("block", of("yaml"))
def test_every_yaml_block_fits_the_schema(block: Block, checkout: Path) -> None:
    values = YAML(typ="safe", pure=True).load(block.text)
    if "parameters" in values:
        from tuning.space.file import load_space

        (checkout / "space.yaml").write_text(block.text, encoding="utf-8")
        load_space(checkout / "space.yaml")
    elif values.keys() <= ExperimentConfig.model_fields.keys():
        build_config(values)
    else:
        required = {"name": "a", "base": "b", "budget": {"trials": 1, "epochs": 1}}
        Header.model_validate(required | values)


def test_no_block_is_left_without_a_check() -> None:
    checked = {"python", "sh", "yaml", "csv", "json", "toml"}
    assert {block.language for block in BLOCKS} <= checked
    assert {block.mark for block in BLOCKS} <= {"", "run", "slow"}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "ARCHITECTURE.md"], ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        if target.startswith(("https://", "http://")):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to #{anchor}"


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r": ([\w-]+\.md)$", text, re.MULTILINE)
    assert sorted(named) == sorted(page.name for page in DOCS.glob("*.md"))


def test_the_reference_is_what_its_generator_writes() -> None:
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    written = run([sys.executable, "-c", _PRINT_REFERENCE], ROOT)
    assert page == written, "run `python docs/generate_reference.py`"
    assert not re.search(r"\|  \|$", page, re.MULTILINE), "a key has no meaning"


_PRINT_REFERENCE = """
import sys
sys.path.insert(0, "docs")
from generate_reference import reference
sys.stdout.write(reference())
"""


def test_every_message_of_the_error_page_is_in_the_code() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    texts = list(literals())
    missing = [part for part in quoted if not any(part in text for text in texts)]
    assert quoted
    assert not missing


def literals() -> Any:
    """Yield the string literals and class names of both packages."""
    for path in [*ROOT.glob("quantum_rerank/**/*.py"), *ROOT.glob("tuning/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.ClassDef):
                yield node.name


def test_every_registry_of_the_models_page_exists_and_names_its_entry_points() -> None:
    page = (DOCS / "models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [\w ]+ \| `([\w.]+)\.(\w+)` \| `([\w.]+)` \|$", page, re.MULTILINE)
    for module, name, group in rows:
        registry = getattr(import_module(module), name)
        assert isinstance(registry, Registry)
        assert registry._group == group
    assert len(rows) == 9


@pytest.mark.parametrize(("page", "registry"), DOCUMENTED)
def test_a_page_has_a_row_for_every_registered_part(page: str, registry: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)", text, re.MULTILINE)
    assert set(registry_of(registry)) <= set(rows)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < MAX_EXAMPLE_LINES


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("custom_model.py", marks=pytest.mark.extended),
        pytest.param("own_data.py", marks=pytest.mark.extended),
        pytest.param("tune.py", marks=[pytest.mark.extended, pytest.mark.ray]),
    ],
)
def test_an_example_runs(name: str, checkout: Path) -> None:
    assert run([sys.executable, f"examples/{name}"], checkout)


def test_the_example_of_reranking_prints_scores_in_falling_order(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(ROOT / "examples" / "rerank.py"))["main"](str(trained))
    output = capsys.readouterr().out
    scores = [float(score) for score in re.findall(r"^(\d\.\d{3})  \w+$", output, re.MULTILINE)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 3
