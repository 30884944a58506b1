"""The imports of every module, checked against a table of what each may import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("quantum_rerank", "tuning")
ANY = "*"

# A room is a module or package right below `quantum_rerank`; the left may import the right.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "registry": {"errors"},
    "paths": {"errors"},
    "arguments": {"errors"},
    "forks": set(),
    "folder_lock": {"errors"},
    "output_streams": set(),
    "interruption": set(),
    "plain_console": {"output_streams"},
    "console": {"folder_lock", "interruption", "output_streams", "paths", "errors"},
    "yaml_source": {"paths", "errors"},
    "atomic": {"errors"},
    "machine": set(),
    "config": {"circuits", "yaml_source", "paths", "errors"},
    "datasets": {"config", "paths", "errors"},
    "circuits": {"errors"},
    "embeddings": {
        "datasets",
        "config",
        "machine",
        "arguments",
        "paths",
        "plain_console",
        "errors",
    },
    "similarity": {"circuits", "errors"},
    "evaluation": {"datasets", "errors"},
    "training": {
        "similarity",
        "circuits",
        "evaluation",
        "datasets",
        "embeddings",
        "config",
        "errors",
    },
    "export": {
        "atomic",
        "similarity",
        "circuits",
        "embeddings",
        "config",
        "forks",
        "paths",
        "errors",
    },
    "document_index": {
        "atomic",
        "embeddings",
        "similarity",
        "arguments",
        "paths",
        "errors",
    },
    "reranker": {
        "arguments",
        "forks",
        "paths",
        "atomic",
        "export",
        "document_index",
        "embeddings",
        "similarity",
        "config",
        "errors",
    },
    "cli": {ANY},
}

# What a module of `tuning` may import: rooms, and `tuning` for its neighbours. Those not
# named here may import anything of both packages.
TUNING: dict[str, set[str]] = {
    "space": {"config"},
    "space_file": {"config", "errors", "paths", "yaml_source", "tuning"},
    "limits.budgets": {"config", "errors", "yaml_source"},
    "reporting.tracking": {"config", "console", "errors", "tuning"},
    "reporting.wandb_environment": {"console", "errors", "tuning"},
}

# Outside packages that only these modules may import.
RESERVED: dict[str, set[str]] = {
    "ray": {"tuning"},
    "optuna": {"tuning"},
    "wandb": {"tuning.reporting.tracking"},
    "plotly": {"tuning.reporting.pareto", "quantum_rerank.cli.result_page"},
    "matplotlib": {"experiments.pictures"},
    "tuning": {"tuning"},
}


@cache
def modules() -> dict[str, Path]:
    """Return the file of each module by its dotted name; a package has its own name."""
    paths = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


@cache
def syntax_tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """Return the dotted names of all modules that a module imports, at any place in it."""
    nodes = ast.walk(syntax_tree(module))
    return frozenset(name for node in nodes for name in _names(node, module))


def _names(node: ast.AST, module: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            is_package = modules()[module].name == "__init__.py"
            parts = module.split(".")
            above = parts[: len(parts) - node.level + is_package]
            base = ".".join([*above, base] if base else above)
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in modules() else base


def room(module: str) -> str:
    """`quantum_rerank.training.trainer` -> `training`; the package itself has no name."""
    return [*module.split("."), ""][1]


def rooms_used(module: str) -> set[str]:
    """Rooms that a module imports besides its own, every other module of `tuning` as `tuning`."""
    foreign = {name for name in imports(module) if not is_below(name, _own_room(module))}
    rooms = {room(name) for name in foreign if is_below(name, "quantum_rerank")}
    neighbours = {"tuning" for name in foreign if is_below(name, "tuning")}
    return rooms - {""} | neighbours


def _own_room(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2] if parts[0] == "quantum_rerank" else parts)


def is_below(module: str, parent: str) -> bool:
    return module == parent or module.startswith(f"{parent}.")


def test_every_room_is_in_the_table() -> None:
    rooms = {room(module) for module in modules() if is_below(module, "quantum_rerank")}
    assert rooms - {""} == ROOMS.keys()


def test_a_room_imports_only_what_the_table_allows() -> None:
    for module in modules():
        allowed = ROOMS.get(room(module), set[str]())
        if is_below(module, "quantum_rerank") and ANY not in allowed:
            assert not rooms_used(module) - allowed, module


def test_a_module_of_the_search_imports_only_what_the_table_allows() -> None:
    for name, allowed in TUNING.items():
        assert not rooms_used(f"tuning.{name}") - allowed, name


def test_a_reserved_package_is_imported_only_where_the_table_says() -> None:
    for module in modules():
        for package, owners in RESERVED.items():
            if any(is_below(name, package) for name in imports(module)):
                allowed = any(is_below(module, owner) for owner in owners)
                assert allowed, f"{module} imports {package}; only {sorted(owners)} may"


def test_the_imports_have_no_cycle() -> None:
    graph = {module: imports(module) & modules().keys() - {module} for module in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_the_table_allows_only_rooms_that_exist() -> None:
    for allowed in (*ROOMS.values(), *TUNING.values()):
        assert allowed <= ROOMS.keys() | {ANY, "tuning"}


def test_only_plain_console_makes_consoles() -> None:
    """A console made elsewhere would read the user's text as markup."""
    for module in modules().keys() - {"quantum_rerank.plain_console"}:
        refuse_consoles(module)


def refuse_consoles(module: str) -> None:
    """Fail where a module makes a console or a progress bar, or parses markup."""
    for node in ast.walk(syntax_tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "Console", f"{module}: take `plain_console.make_console`"
        if isinstance(node, ast.ImportFrom) and node.module == "rich.progress":
            imported = {alias.name for alias in node.names}
            assert not imported & {"Progress", "track"}, f"{module}: take its `make_progress`"
        if isinstance(node, ast.Attribute):
            assert node.attr != "from_markup", f"{module}: text is shown as it is"
