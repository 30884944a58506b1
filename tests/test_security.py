"""No module of the packages uses a function that runs code, or a shell, from what it reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("quantum_rerank", "tuning", "experiments", "benchmarks", "examples", "docs", "clusters")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
# Modules that read pickles or marshalled code, or YAML with any tag.
REFUSED_MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "yaml",
}
REFUSED_CALLS = {"eval", "exec", "os.system", "os.popen", "torch.load", "pd.read_pickle"}
REFUSED_VALUES = {
    "shell": True,
    "allow_pickle": True,
    "trust_remote_code": True,
    "weights_only": False,
}
YAML_LOADERS = {"rt", "safe"}  # they make plain values only


def refused(tree: ast.AST) -> Iterator[str]:
    """Yield each use that may run code from a file, with its line."""
    for node in ast.walk(tree):
        for use in (*_imports(node), *_calls(node), *_urls(node)):
            yield f"line {getattr(node, 'lineno', 0)}: {use}"


def _imports(node: ast.AST) -> Iterator[str]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or ""]
    for name in names:
        if name.partition(".")[0] in REFUSED_MODULES:
            yield f"import {name}"


def _calls(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func)
    values = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
    if name in REFUSED_CALLS:
        yield f"{name}()"
    if name in ("np.load", "numpy.load") and values.get("allow_pickle") is not False:
        yield f"{name}() without allow_pickle=False"
    if name.rpartition(".")[2] == "YAML" and values.get("typ", "rt") not in YAML_LOADERS:
        yield "a YAML loader that is not safe"
    for option, value in REFUSED_VALUES.items():
        if option in values and values[option] is value:
            yield f"{option}={value}"


def _urls(node: ast.AST) -> Iterator[str]:
    """Yield an f-string that puts a value into a URL without quoting it."""
    if not isinstance(node, ast.JoinedStr):
        return
    text = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        elif isinstance(part, ast.FormattedValue):
            url = text.rpartition("://")
            in_url = bool(url[1]) and not any(mark in url[2] for mark in " `\n")
            if in_url and not ast.unparse(part.value).startswith("quote("):
                yield f"a URL with {ast.unparse(part.value)}, which is not quoted"
            text += "*"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_is_read_is_run(path: Path) -> None:
    assert list(refused(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from yaml import load",
        "import torch.serialization, dill",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "load(path, weights_only=False)",
        "YAML(typ='unsafe')",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "eval(text)",
        "SentenceTransformer(name, trust_remote_code=True)",
        "f'postgresql://{user}@host/x'",
        "f'https://host/{query}'",
    ],
)
def test_what_may_run_code_is_noticed(code: str) -> None:
    assert list(refused(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "YAML(typ='safe', pure=True)",
        "YAML()",
        "np.load(path, allow_pickle=False)",
        "f'sqlite:///{quote(path)}'",
        "f'see https://host/page for {name}'",
        "head.eval()",
    ],
)
def test_what_is_safe_is_not_noticed(code: str) -> None:
    assert not list(refused(ast.parse(code)))
