"""Values that a file should not have where a mutation puts them."""

from __future__ import annotations

import random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 10**6, 2**31, 2**63, -(2**63), 10**400,
    0.5, -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf"),
    "", " ", "x", "0", "-1", "nan", "x" * 5000, "\x00", "\ud800", "[/b]", "\x1b]0;title\x07",
    "=cmd|' /C calc'!A0", "../../victims/notes", "/dev/zero", "npy:/dev/zero", "beir:/nowhere",
    "postgresql://stranger@203.0.113.1/x", "s3://stranger/x", "1e999", "{}", "%s %n", "$(id)",
    [], {}, [[]], [None], {"": None}, {"x": {"y": []}}, [1, "x", None, [2]],
)  # fmt: skip


def odd_value(rng: random.Random) -> Any:
    """Return one of the values, or deeply nested lists."""
    if rng.random() < 0.05:
        return _nested(rng.choice((50, 500)))
    return rng.choice(ODD)


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def mutated_tree(tree: Any, rng: random.Random) -> Any:
    """Return a JSON value in which a node is replaced, removed, renamed or repeated.

    Args:
        tree: Value, which is left as it is.
        rng: Generator of the mutation.
    """
    if isinstance(tree, dict) and tree and rng.random() < 0.93:
        key = rng.choice(list(tree))
        if rng.random() < 0.75:
            return {**tree, key: mutated_tree(tree[key], rng)}
        rest = {name: value for name, value in tree.items() if name != key}
        return rng.choice((rest, {**rest, f"{key}x": tree[key]}, {**tree, "unknown": tree[key]}))
    if isinstance(tree, list) and tree and rng.random() < 0.9:
        at = rng.randrange(len(tree))
        if rng.random() < 0.7:
            return [*tree[:at], mutated_tree(tree[at], rng), *tree[at + 1 :]]
        return rng.choice((tree[:at] + tree[at + 1 :], tree * 2, tree[::-1]))
    if isinstance(tree, int | float) and not isinstance(tree, bool) and rng.random() < 0.4:
        return rng.choice((tree + 1, tree - 1, -tree, tree * 1000, str(tree)))
    return odd_value(rng)
