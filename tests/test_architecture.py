"""The imports of every module, checked against a table of what each may import."""

from __future__ import annotations

import ast
import subprocess
import sys
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
    "section": set(),
    "lazy_exports": set(),
    "paths": {"errors"},
    "presets": {"paths", "errors"},
    "arguments": {"errors"},
    "forks": set(),
    "regular_files": set(),
    "folder_lock": {"regular_files", "errors"},
    "output_streams": set(),
    "plain_text": set(),
    "interruption": set(),
    "plain_console": {"output_streams", "plain_text"},
    "console": {"folder_lock", "interruption", "output_streams", "paths", "plain_text", "errors"},
    "yaml_limits": {"regular_files", "errors"},
    "yaml_source": {"regular_files", "yaml_limits", "paths", "errors"},
    "atomic": {"regular_files", "errors"},
    "records": {"regular_files", "errors"},
    "plural": set(),
    "compiling": set(),
    "mapped_pages": set(),
    "lexical": {"compiling", "mapped_pages"},
    "machine": {"plural"},
    # Of other packages, `config` imports the sections and registries alone; see the test below.
    "config": {
        "circuits",
        "similarity",
        "training",
        "datasets",
        "registry",
        "section",
        "yaml_source",
        "paths",
        "errors",
    },
    "datasets": {"lexical", "section", "registry", "regular_files", "paths", "plural", "errors"},
    "circuits": {"compiling", "section", "registry", "lazy_exports", "errors"},
    "embeddings": {
        "datasets",
        "config",
        "machine",
        "mapped_pages",
        "arguments",
        "paths",
        "plain_console",
        "registry",
        "regular_files",
        "errors",
    },
    "similarity": {"circuits", "lexical", "section", "registry", "lazy_exports", "errors"},
    "evaluation": {"similarity", "embeddings", "datasets", "config", "errors"},
    "training": {
        "lexical",
        "similarity",
        "circuits",
        "evaluation",
        "datasets",
        "embeddings",
        "config",
        "atomic",
        "records",
        "paths",
        "plain_text",
        "section",
        "registry",
        "regular_files",
        "errors",
    },
    "export": {
        "lexical",
        "plural",
        "training",
        "evaluation",
        "atomic",
        "records",
        "similarity",
        "circuits",
        "embeddings",
        "config",
        "forks",
        "paths",
        "regular_files",
        "errors",
    },
    "document_index": {
        "lexical",
        "mapped_pages",
        "atomic",
        "embeddings",
        "similarity",
        "arguments",
        "paths",
        "regular_files",
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
    "reports": {
        "atomic",
        "training",
        "evaluation",
        "datasets",
        "config",
        "records",
        "errors",
    },
    "workflows": {
        "lexical",
        "export",
        "training",
        "evaluation",
        "similarity",
        "datasets",
        "embeddings",
        "config",
        "console",
        "plain_console",
        "folder_lock",
        "atomic",
        "records",
        "paths",
        "regular_files",
        "errors",
    },
    "cli": {ANY},
}

# Layers of `tuning`, one folder each: the left may import the right. `commands` holds the modules
# right below `tuning` too, which are run with `python -m`.
LAYERS: dict[str, set[str]] = {
    "space": set(),
    "records": {"space"},
    "study": {"records", "space"},
    "limits": {"study", "records", "space"},
    "algorithms": {"limits", "study", "records", "space"},
    "workers": {"limits", "study", "records", "space"},
    "conclusion": {"workers", "limits", "study", "records", "space"},
    "reporting": {"conclusion", "workers", "limits", "study", "records", "space"},
    "session": {
        "reporting",
        "conclusion",
        "algorithms",
        "workers",
        "limits",
        "study",
        "records",
        "space",
    },
    "commands": {
        "session",
        "reporting",
        "conclusion",
        "algorithms",
        "workers",
        "limits",
        "study",
        "records",
        "space",
    },
}

# Rooms of `quantum_rerank` that the lower layers may import; the others may import any.
LAYER_ROOMS: dict[str, set[str]] = {
    "space": {"config", "errors", "paths", "registry", "yaml_source"},
    "records": {"config"},
    "study": {
        "atomic",
        "config",
        "errors",
        "paths",
        "plain_text",
        "records",
        "regular_files",
        "training",
    },
}

# Outside packages that only these modules may import.
RESERVED: dict[str, set[str]] = {
    "ray": {"tuning"},
    "optuna": {"tuning"},
    "wandb": {"tuning.reporting.tracking"},
    "plotly": {
        "tuning.reporting.pareto",
        "tuning.reporting.search_charts",
        "quantum_rerank.reports.page",
    },
    "jinja2": {"quantum_rerank.reports.page"},
    "matplotlib": {"experiments.pictures"},
    "tuning": {"tuning"},
    "experiments": set(),  # the experiments and the benchmarks use the packages, not the reverse
    "benchmarks": set(),
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


def layer(module: str) -> str:
    """Return the layer of a module; `commands` for one right below `tuning`."""
    name = module.split(".")[1]
    return name if name in LAYERS else "commands"


def searching_modules() -> list[str]:
    """Return the modules of `tuning`, without the package itself."""
    return [module for module in modules() if module.startswith("tuning.")]


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


def test_the_schema_imports_no_heavy_library() -> None:
    heavy = ("torch", "numba", "pennylane", "scipy", "sentence_transformers", "pandas")
    script = f"import sys, quantum_rerank.config; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.strip() == "[]"


def test_a_layer_of_the_search_imports_only_the_layers_that_the_table_allows() -> None:
    for module in searching_modules():
        used = {layer(name) for name in imports(module) if name.startswith("tuning.")}
        forbidden = used - LAYERS[layer(module)] - {layer(module)}
        assert not forbidden, f"{module} imports {sorted(forbidden)}"


def test_the_lower_layers_of_the_search_import_only_the_rooms_that_the_table_allows() -> None:
    for module in searching_modules():
        rooms = {room(name) for name in imports(module) if is_below(name, "quantum_rerank")}
        forbidden = rooms - LAYER_ROOMS.get(layer(module), rooms)
        assert not forbidden, f"{module} imports {sorted(forbidden)}"


def test_every_folder_of_the_search_is_a_layer() -> None:
    folders = {path.name for path in (ROOT / "tuning").iterdir() if (path / "__init__.py").exists()}
    assert folders == LAYERS.keys()


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


# Methods that open a file whatever it is, and the modules that may call them: for files of the
# system, of the user, or that the module has just made.
OPENING = {"open", "read_text", "read_bytes", "write_text", "write_bytes"}
MAY_OPEN = {
    "quantum_rerank.machine",
    "quantum_rerank.embeddings.memory",
    "tuning.limits.memory",
    "tuning.study.named_places",
    "tuning.workers.arrivals",
    "quantum_rerank.document_index",
    "quantum_rerank.workflows.export",
    "tuning.sweep",
}
CLASSES = ("os", "DocumentIndex", "cls")  # which have an `open` of their own


def test_files_are_opened_through_one_module() -> None:
    """Elsewhere a link, a FIFO or a device in a foreign folder would be followed."""
    openings = {
        (module, node.func.attr)
        for module in modules().keys() - MAY_OPEN
        for node in ast.walk(syntax_tree(module))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in OPENING
        and not (isinstance(node.func.value, ast.Name) and node.func.value.id in CLASSES)
    }
    assert not openings


def test_the_table_has_no_room_that_allows_what_is_not_a_room() -> None:
    for allowed in (*ROOMS.values(), *LAYER_ROOMS.values()):
        assert allowed <= ROOMS.keys() | {ANY}


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
