"""YAML files whose every value remembers the line it stands on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantum_rerank.errors import ConfigError
from quantum_rerank.paths import expanded

if TYPE_CHECKING:
    from ruamel.yaml import YAML

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class YamlSource:
    """The plain values of one YAML file, and where each of them stands.

    values: nested dict, list, str, int, float, bool or None, as written.
    lines: location (keys and list indices from the root) -> line, counted from 1.
    """

    path: Path
    values: dict[str, Any]
    lines: Mapping[Location, int]

    def at(self, location: Location) -> str:
        """Name the place of a value: `configs/training_config.yaml, line 12`.

        A location that is not in the file (a missing key) is named by its
        nearest parent.
        """
        while location and location not in self.lines:
            location = location[:-1]
        return f"{self.path}, line {self.lines.get(location, 1)}"


def load_yaml(path: Path) -> YamlSource:
    """Read one YAML 1.2 file whose root is a mapping.

    Raises: ConfigError if the file cannot be read or is not valid YAML.
    """
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    path = expanded(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"`{path}` does not exist. Give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"`{path}` cannot be read: {error}.") from None
    try:
        root = _reader().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}, line {line}: not valid YAML: {error.problem}.") from None
    except YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}.") from None
    if not isinstance(root, Mapping):
        raise ConfigError(f"{path}, line 1: the file must hold `key: value` pairs.")
    lines: dict[Location, int] = {}
    values = _plain(root, (), lines)
    return YamlSource(path, values, lines)


def _reader() -> YAML:
    """ruamel's, which knows the line of a value that it cannot make, such as `2020-13-45`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import ConstructorError, RoundTripConstructor
    from ruamel.yaml.error import YAMLError

    class Constructor(RoundTripConstructor):
        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except YAMLError:
                raise
            except Exception as error:  # ValueError, KeyError, IndexError, as it comes
                problem = f"this is no {node.tag.rpartition(':')[2]}: {error}"
                raise ConstructorError(None, None, problem, node.start_mark) from None

    reader = YAML(typ="rt")
    reader.Constructor = Constructor
    return reader


def _plain(node: Any, location: Location, lines: dict[Location, int]) -> Any:
    """Copy ruamel's nodes into plain Python values, noting the line of each."""
    if isinstance(node, Mapping):
        mapping = {}
        for key, value in node.items():
            place = (*location, str(key))
            try:
                lines[place] = node.lc.key(key)[0] + 1  # type: ignore[attr-defined]
            except KeyError:  # came in by a merge key (<<), which keeps no lines
                lines[place] = lines.get(location, 1)
            mapping[str(key)] = _plain(value, place, lines)
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
    """Suggest the valid key that a misspelt one was meant to be, as a sentence.

    >>> nearest("n_qubit", ["n_layers", "n_qubits"])
    'Did you mean `n_qubits`?'
    >>> nearest("colour", ["n_layers", "n_qubits"])
    'Valid keys: n_layers, n_qubits.'
    """
    options = sorted(valid)
    close = difflib.get_close_matches(key, options, n=1, cutoff=0.6)
    return f"Did you mean `{close[0]}`?" if close else f"Valid keys: {', '.join(options)}."


def shown(value: Any) -> str:
    """Write a value for an error message, as a YAML file would have it.

    >>> shown(None), shown("text"), shown(0.5)
    ('null', "'text'", '0.5')
    """
    return "null" if value is None else repr(value)
