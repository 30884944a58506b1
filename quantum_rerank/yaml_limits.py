"""Limits of a YAML file, checked before its values take memory.

A file from elsewhere may be small and still stand for billions of values, through aliases of
aliases. The limits hold for the values after aliases.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantum_rerank.errors import ConfigError
from quantum_rerank.regular_files import open_regular

MAX_BYTES = 256 * 1024
MAX_NODES = 4000
MAX_DEPTH = 32
MAX_DIGITS = 100


def read_text(path: Path) -> str:
    """Return the text of a regular file of at most 256 KiB.

    Args:
        path: The file, or a link to it.

    Raises:
        ConfigError: The file is missing, is a folder, a pipe or a device, is too large, or is not
            valid UTF-8.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe may block for ever
            raise ConfigError(f"`{path}` is no regular file. Give the path of a YAML file.")
        with open_regular(path, follow_link=True) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"`{path}` has more than {MAX_BYTES:,} bytes. Shorten it.")
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise ConfigError(f"`{path}` does not exist. Give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"`{path}` cannot be read: {error}.") from None


@dataclass
class _Node:
    """A node of a document.

    Attributes:
        size: Number of nodes in it, itself included, after aliases.
        height: Number of levels in it, itself included, after aliases.
        is_open: Its end has not been read.
    """

    size: int = 1
    height: int = 1
    is_open: bool = False

    def add(self, child: _Node) -> None:
        self.size += child.size
        self.height = max(self.height, child.height + 1)


def check_limits(path: Path, events: Iterable[Any]) -> None:
    """Refuse a document that is too large after aliases, nested too deeply, or has tags.

    Args:
        path: The file, for the error.
        events: Events of ruamel's parser.

    Raises:
        ConfigError: A limit is exceeded; the message names it and the line.
    """
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent

    parents, anchored, total = [_Node()], dict[str, _Node](), 0
    for event in events:
        if isinstance(event, CollectionEndEvent):
            node = parents.pop()
            node.is_open = False
            parents[-1].add(node)
            continue
        if not isinstance(event, NodeEvent):
            continue
        is_alias, is_collection = (
            isinstance(event, AliasEvent),
            isinstance(event, CollectionStartEvent),
        )
        node = anchored.get(event.anchor, _Node()) if is_alias else _Node(is_open=is_collection)
        total += node.size
        if problem := _problem(event, node, total, depth=len(parents) - 1 + node.height):
            raise ConfigError(f"{path}, line {event.start_mark.line + 1}: {problem}")
        if event.anchor and not is_alias:
            anchored[event.anchor] = node
        if is_collection:
            parents.append(node)
        else:
            parents[-1].add(node)


def _problem(event: Any, node: _Node, total: int, depth: int) -> str:
    """Return a sentence on the limit that a node exceeds, or nothing."""
    from ruamel.yaml.events import AliasEvent

    if isinstance(event, AliasEvent):
        if node.is_open:
            return f"`*{event.anchor}` stands within `&{event.anchor}`. Write the values out."
    elif event.tag is not None:
        return f"the tag `{event.tag}` is not supported. Write the plain value."
    if total > MAX_NODES:
        return f"the file has more than {MAX_NODES:,} values, each alias counted as its values."
    if depth > MAX_DEPTH:
        return f"the values are nested more than {MAX_DEPTH} levels deep."
    return ""
