"""YAML files with the line number of every value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.errors import ConfigError
from quantum_rerank.paths import expanded
from quantum_rerank.yaml_limits import MAX_DIGITS, check_limits, read_text

if TYPE_CHECKING:
    from ruamel.yaml import YAML

Location = tuple[str | int, ...]

_SHOWN_ENDS = 100


@dataclass(frozen=True)
class YamlSource:
    """The values of a YAML file with their line numbers.

    Attributes:
        path: The file.
        values: Nested dict, list, str, int, float, bool or None.
        lines: Location (keys and list indices from the root) -> line, counted from 1.
    """

    path: Path
    values: dict[str, Any]
    lines: Mapping[Location, int]

    def at(self, location: Location) -> str:
        """Return the position of a value, such as `configs/training_config.yaml, line 12`.

        A location that is not in the file, such as a missing key, has the position of its nearest
        parent.
        """
        while location and location not in self.lines:
            location = location[:-1]
        return f"{self.path}, line {self.lines.get(location, 1)}"


def load_yaml(path: Path) -> YamlSource:
    """Read a YAML 1.2 file whose root is a mapping.

    Raises:
        ConfigError: The file cannot be read, is not valid YAML, exceeds a limit, or has another
            root.
    """
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    path = expanded(path)
    text = read_text(path)
    try:
        check_limits(path, _reader().parse(text))
        root = _reader().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}, line {line}: not valid YAML: {error.problem}.") from None
    except YAMLError as error:
        problem = str(error).splitlines()[0]
        raise ConfigError(f"{path}: not valid YAML: {problem}.") from None
    if not isinstance(root, Mapping):
        raise ConfigError(f"{path}, line 1: the file must hold `key: value` pairs.")
    lines: dict[Location, int] = {}
    values = _plain(root, (), lines)
    return YamlSource(path, values, lines)


def _reader() -> YAML:
    """Return a reader that reports the line of an invalid value, such as `2020-13-45`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import ConstructorError, RoundTripConstructor
    from ruamel.yaml.error import YAMLError

    class Constructor(RoundTripConstructor):
        def construct_object(self, node: Any, deep: bool = False) -> Any:
            if node.tag.endswith(":int") and len(node.value) > MAX_DIGITS:
                problem = f"a number may have at most {MAX_DIGITS} digits"
                raise ConstructorError(None, None, problem, node.start_mark)
            try:
                return super().construct_object(node, deep)
            except YAMLError:
                raise
            except Exception as error:  # ValueError, KeyError, IndexError and others
                problem = f"this is not a valid {node.tag.rpartition(':')[2]}: {error}"
                raise ConstructorError(None, None, problem, node.start_mark) from None

    reader = YAML(typ="rt")
    reader.Constructor = Constructor
    return reader


def _plain(node: Any, location: Location, lines: dict[Location, int]) -> Any:
    """Return the plain Python values of ruamel's nodes, and add the line of each to `lines`."""
    if isinstance(node, Mapping):
        mapping = {}
        for key, value in node.items():
            inner = (*location, str(key))
            try:
                lines[inner] = node.lc.key(key)[0] + 1  # type: ignore[attr-defined]
            except (KeyError, TypeError):  # from a merge key (<<), which has no lines
                lines[inner] = lines.get(location, 1)
            mapping[str(key)] = _plain(value, inner, lines)
        return mapping
    if isinstance(node, list):
        for index in range(len(node)):
            lines[(*location, index)] = node.lc.item(index)[0] + 1  # type: ignore[attr-defined]
        return [_plain(item, (*location, index), lines) for index, item in enumerate(node)]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def nearest(key: str, valid: Iterable[str]) -> str:
    """Return a sentence that suggests the valid key closest to a misspelt key.

    >>> nearest("n_qubit", ["n_layers", "n_qubits"])
    'Did you mean `n_qubits`?'
    >>> nearest("colour", ["n_layers", "n_qubits"])
    'Valid keys: n_layers, n_qubits.'
    """
    options = sorted(valid)
    close = difflib.get_close_matches(key, options, n=1, cutoff=0.6)
    return f"Did you mean `{close[0]}`?" if close else f"Valid keys: {', '.join(options)}."


def shown(value: Any) -> str:
    """Return a value as a YAML file would contain it, for an error message.

    The middle of a long value is left out.

    >>> shown(None), shown("text"), shown(0.5)
    ('null', "'text'", '0.5')
    """
    text = "null" if value is None else repr(value)
    return text if len(text) <= 2 * _SHOWN_ENDS else f"{text[:_SHOWN_ENDS]}...{text[-_SHOWN_ENDS:]}"
