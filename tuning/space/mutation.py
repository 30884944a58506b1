"""Parameters that a clone of population based training may change."""

from __future__ import annotations

from tuning.space.search_space import Space

# Weights have the shapes, and moments the meaning, that these keys gave them.
_SHAPING = (
    "model",
    "circuit.",
    "mlp.hidden_layers",
    "mlp.outputs",
    "linear.rank",
    "fusion.gate",
)


# All that these do is done before the first epoch, which a clone never sees.
_AT_START = (
    "warmup.steps",
    "warmup.batch_size",
    "warmup.learning_rate",
    "warmup.seed",
    "warmup.dropout",
    "fusion.initial_weight",
)


def mutable_keys(space: Space) -> list[str]:
    """Return the parameters in which a clone may differ from its donor, in the space's order."""
    copied = {name for name in space.parameters if name.startswith(_SHAPING)}
    for name in reversed(list(space.parameters)):  # a condition stands above what waits for it
        if name in copied:
            copied.update(space.parameters[name].when)
    return [name for name in space.parameters if name not in copied and name not in _AT_START]
