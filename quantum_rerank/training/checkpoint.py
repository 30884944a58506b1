"""A training between two epochs as bytes: another process goes on from them, bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from quantum_rerank.config import ExperimentConfig, flat
from quantum_rerank.errors import BundleError
from quantum_rerank.training.serialization import dumps, loads, refuse_other_maker
from quantum_rerank.training.trainer import Trainer

MADE_BY = "made_by"
"""Key of the record: which training it is of, for those who go on from it to compare."""
OF_THE_MACHINE = ("circuit.engine", "circuit.threads")
"""Keys of a configuration that `auto` resolves to something else on another machine."""


def checkpoint_bytes(trainer: Trainer, record: Mapping[str, Any]) -> bytes:
    """Write a training down: all that `restore` needs to go on with its next epoch.

    record: what else the caller wants to find again; JSON knows all of it.
    """
    # The record as a text of its own, in which nothing is taken for the place of a tensor.
    return dumps({"record": json.dumps(dict(record)), "state": trainer.state_dict()})


def restore(
    trainer: Trainer, content: bytes, made_by: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Put a training into a trainer assembled from the same configuration and data.

    Sets torch's global generator too: whoever draws from it before the next epoch changes
    that epoch. A training that was at its end has no more epochs. Of the configuration the
    weights' shapes and the optimizer's settings are compared, as a safeguard; callers keep the
    whole of it beside the bytes, and see to it that it is the same.
    made_by: what its record has to say under MADE_BY; None: whatever it says.

    Returns: the record that was written with it.
    Raises: BundleError, and leaves the trainer as it was, if the bytes were cut off or
        altered, or are of another version, training, of other shapes or of other settings.
    """
    sealed, record = _unsealed(content)
    state: dict[str, Any] = sealed["state"]
    theirs, ours = _layout(state), _layout(trainer.state_dict())
    for name in ours | theirs:
        there, here = theirs.get(name, "absent"), ours.get(name, "absent")
        if there != here:
            raise BundleError(
                f"The progress is of another configuration: {name} is {there} in it, but {here} "
                "in this training. Restore it with the configuration that it was written with, "
                "or start the training anew."
            )
    _refuse_other_maker(record, made_by)
    trainer.load_state_dict(state)
    return record


def take_over(trainer: Trainer, content: bytes, made_by: Mapping[str, Any] | None = None) -> None:
    """Let a training go on from another's weights and moments, with its own configuration.

    made_by: what its record has to say under MADE_BY; None: whatever it says.

    Raises: BundleError, and leaves the trainer as it was, if the bytes were cut off or
        altered, or are of another training or of a model of other shapes.
    """
    sealed, record = _unsealed(content)
    _refuse_other_maker(record, made_by)
    state: dict[str, Any] = sealed["state"]
    theirs, ours = _shapes(state), _shapes(trainer.state_dict())
    different = sorted(name for name in ours | theirs if theirs.get(name) != ours.get(name))
    if different:
        raise BundleError(
            f"The progress is of another model: {different[0]} is not the same in both. Take over "
            "from a training with the same circuit and layers."
        )
    trainer.take_over(state)


def settings_fingerprint(config: ExperimentConfig) -> str:
    """Return a hash of a configuration, without what may differ from machine to machine."""
    settings = {key: value for key, value in flat(config).items() if key not in OF_THE_MACHINE}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _unsealed(content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `checkpoint_bytes` has written, and the record in it."""
    sealed = loads(content, "The progress")
    return sealed, dict(json.loads(sealed["record"]))


def _refuse_other_maker(record: Mapping[str, Any], made_by: Mapping[str, Any] | None) -> None:
    if made_by is not None:
        refuse_other_maker(record.get(MADE_BY), made_by, "The progress")


def _shapes(state: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The shape of every weight, and what a state consists of: other versions keep other parts."""
    shapes = {f"the shape of `{name}`": list(t.shape) for name, t in state["model"].items()}
    return {**shapes, "the list of its parts": sorted(state)}


def _layout(state: Mapping[str, Any]) -> dict[str, str]:
    """What all states of one configuration have in common, by name, as JSON writes it."""
    shapes = _shapes(state)
    settings = {
        f"`{key}` of the optimizer's group {number}": value
        for number, group in enumerate(state["optimizer"]["param_groups"])
        for key, value in group.items()
        if key != "lr"  # goes with the schedule
    }
    return {name: json.dumps(value) for name, value in (shapes | settings).items()}
