"""Registries: one for each kind of exchangeable part, from a name to the part."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from quantum_rerank.errors import ConfigError

Part = TypeVar("Part")


class Registry(MutableMapping[str, Part], Generic[Part]):
    """Parts of one kind by name, each imported at its first use.

    A part comes from one of three places: the table that a registry is made from, a call of
    `register`, or an entry point of an installed package, in the group `quantum_rerank.KINDs`:

        [project.entry-points."quantum_rerank.losses"]
        focal = "my_package.losses:focal"

    Workers of a search import this package anew. They know parts of entry points, but not
    parts that the driver has registered by a call.

    Args:
        kind: Kind of the parts in the singular, such as `loss`; used in messages.
        group: Name of the entry points' group, without the leading `quantum_rerank.`.
        table: Name -> part, or `module:attribute` to import it from.

    >>> shapes = Registry[type]("shape", "shapes", {"point": "fractions:Fraction"})
    >>> shapes.register("line", complex)
    >>> list(shapes), shapes["point"].__name__
    (['point', 'line'], 'Fraction')
    >>> shapes.check("pont")
    Traceback (most recent call last):
    ...
    quantum_rerank.errors.ConfigError: `pont` is not a shape. Did you mean `point`?
    """

    def __init__(self, kind: str, group: str, table: Mapping[str, Part | str]) -> None:
        self.kind = kind
        self._group = f"quantum_rerank.{group}"
        self._parts: dict[str, Part | str | EntryPoint] = dict(table)
        self._has_entry_points = False

    def register(self, name: str, part: Part) -> None:
        """Add a part, or replace the part of this name."""
        self._parts[name] = part

    def unregister(self, name: str) -> None:
        """Remove a part that `register` has added.

        Raises:
            KeyError: No part has this name.
        """
        del self._parts[name]

    def check(self, name: str) -> str:
        """Return `name` if a part has it.

        Raises:
            ConfigError: No part has it.
        """
        if name not in self:
            near = difflib.get_close_matches(name, list(self), n=1)
            way_out = f"Did you mean `{near[0]}`?" if near else f"Choose from {', '.join(self)}."
            article = "an" if self.kind[0] in "aeiou" else "a"
            raise ConfigError(f"`{name}` is not {article} {self.kind}. {way_out}")
        return name

    def __setitem__(self, name: str, part: Part) -> None:
        self.register(name, part)

    def __delitem__(self, name: str) -> None:
        self.unregister(name)

    def __getitem__(self, name: str) -> Part:
        self._load_entry_points()
        part = self._parts[name]
        if isinstance(part, EntryPoint):
            part = cast(Part, part.load())
        elif isinstance(part, str):
            module, _, attribute = part.partition(":")
            part = cast(Part, getattr(import_module(module), attribute))
        self._parts[name] = part
        return part

    def __contains__(self, name: object) -> bool:
        self._load_entry_points()
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        self._load_entry_points()
        return iter(self._parts)

    def __len__(self) -> int:
        self._load_entry_points()
        return len(self._parts)

    def _load_entry_points(self) -> None:
        """Add the parts of installed packages; a name of this package is never replaced."""
        if self._has_entry_points:
            return
        self._has_entry_points = True
        for entry_point in entry_points(group=self._group):
            self._parts.setdefault(entry_point.name, entry_point)


@dataclass(frozen=True)
class NameOf:
    """The rule that a configuration's value is a name of a registry.

    Attributes:
        registry: The registry of the parts.
        also: Further words that are allowed, such as `auto`.
    """

    registry: Registry[Any]
    also: tuple[str, ...] = ()

    @property
    def choices(self) -> list[str]:
        """All allowed values at this moment."""
        return [*self.registry, *self.also]

    def check(self, name: str) -> str:
        """Return `name` if it is allowed; otherwise name all choices and the nearest one."""
        choices = self.choices
        if name not in choices:
            listed = ", ".join(f"'{choice}'" for choice in choices)
            near = difflib.get_close_matches(name, choices, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else ""
            context = {"choices": listed, "hint": hint}
            raise PydanticCustomError("registry", "must be one of {choices}", context)
        return name

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))


def name_of(registry: Registry[Any], *also: str) -> NameOf:
    """Return the validator of a configuration's field whose value is a name of a registry.

    The names are looked up when a value is checked, so that a part that is registered later is
    a valid value:

        name: Annotated[str, name_of(LOSSES)] = "triplet"

    Args:
        registry: The registry of the parts.
        *also: Further words that are allowed, such as `auto`.
    """
    return NameOf(registry, also)
