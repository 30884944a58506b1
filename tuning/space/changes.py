"""Changes of a space that a command line makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantum_rerank.config import override
from tuning.space.search_space import Space


def with_collections(space: Space, specs: Sequence[str]) -> Space:
    """Return the same search over other collections, all of them in-domain.

    Args:
        space: Space of the search.
        specs: Collections; the space is returned as it is where none is given.
    """
    if not specs:
        return space
    collections = {"seen": list(specs), "unseen_validation": [], "unseen_test": []}
    header = space.header.model_copy(update={"data": space.header.data | collections})
    base = override(space.base, {f"data.{key}": value for key, value in collections.items()})
    return Space(header, base, space.parameters)


def with_columns(space: Space, overrides: Mapping[str, str]) -> Space:
    """Return the same search with other names of a table's columns.

    Args:
        space: Space of the search.
        overrides: Dotted key of a column -> its name; the space is returned as it is without any.
    """
    if not overrides:
        return space
    base = override(space.base, overrides)
    columns = {"columns": base.data.columns.model_dump(mode="json")}
    header = space.header.model_copy(update={"data": space.header.data | columns})
    return Space(header, base, space.parameters)
