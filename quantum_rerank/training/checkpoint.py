"""Checkpoints between two epochs, from which another process resumes a training bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from quantum_rerank.config import ExperimentConfig, flat
from quantum_rerank.errors import BundleError
from quantum_rerank.training.serialization import dumps, loads, require_maker
from quantum_rerank.training.trainer import Trainer

MADE_BY = "made_by"
"""Key of the training's identity in the record of a checkpoint."""
OF_THE_MACHINE = ("circuit.engine", "circuit.threads")
"""Keys of a configuration for which `auto` may be another value on another machine."""
_NAME = "The checkpoint"


def checkpoint_bytes(trainer: Trainer, record: Mapping[str, Any]) -> bytes:
    """Serialize a training between two epochs.

    Args:
        trainer: The training.
        record: Further JSON values, which `restore` returns.
    """
    # The record is a separate text, so that nothing in it is mistaken for a tensor.
    return dumps({"record": json.dumps(dict(record)), "state": trainer.state_dict()})


def restore(
    trainer: Trainer, content: bytes, made_by: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Load a checkpoint into a trainer with the same configuration and data.

    The state of torch's global generator is loaded too, so a draw from it before the next epoch
    changes that epoch. A finished training has no more epochs. As a safeguard, the shapes of the
    weights and the settings of the optimizer are compared; callers must ensure that the rest of
    the configuration is the same.

    Args:
        trainer: The trainer, which is unchanged if an error is raised.
        content: Bytes of `checkpoint_bytes`.
        made_by: Expected identity under MADE_BY in the record, or None to accept any.

    Returns:
        The record that was written with the checkpoint.

    Raises:
        BundleError: The bytes were cut off or altered, or are of another version, training,
            shape or setting.
    """
    state, record = _read(content)
    stored, current = _described(_layout, state), _layout(trainer.state_dict())
    for name in current | stored:
        there, here = stored.get(name, "absent"), current.get(name, "absent")
        if there != here:
            raise BundleError(
                f"{_NAME} is of another configuration: {name} is {there} in it, but {here} in "
                "this training. Restore it with the configuration that it was written with, or "
                "start the training again."
            )
    require_maker(record.get(MADE_BY), made_by, _NAME)
    with _unchanged_by_errors(trainer):
        trainer.load_state_dict(state)
    return record


def record_of(content: bytes) -> dict[str, Any]:
    """Return the record that was written with a checkpoint.

    Args:
        content: Bytes of `checkpoint_bytes`.

    Raises:
        BundleError: The bytes were cut off or altered, or are of another version.
    """
    return _read(content)[1]


def take_over(trainer: Trainer, content: bytes, made_by: Mapping[str, Any] | None = None) -> None:
    """Load weights and moments of another training into a trainer with its own configuration.

    Args:
        trainer: The trainer, which is unchanged if an error is raised.
        content: Bytes of `checkpoint_bytes`.
        made_by: Expected identity under MADE_BY in the record, or None to accept any.

    Raises:
        BundleError: The bytes were cut off or altered, or are of another training or of a model
            with other shapes.
    """
    state, record = _read(content)
    require_maker(record.get(MADE_BY), made_by, _NAME)
    stored, current = _described(_shapes, state), _shapes(trainer.state_dict())
    different = sorted(name for name in current | stored if stored.get(name) != current.get(name))
    if different:
        raise BundleError(
            f"{_NAME} is of another model: {different[0]} is not the same in both. Take over "
            "from a training with the same circuit and layers."
        )
    with _unchanged_by_errors(trainer):
        trainer.take_over(state)


@contextmanager
def _unchanged_by_errors(trainer: Trainer) -> Iterator[None]:
    """Raise any error of the block as a BundleError, with the trainer as it was before."""
    before = deepcopy(trainer.state_dict())
    try:
        yield
    except Exception as error:  # torch and every part of a trainer have their own kinds
        trainer.load_state_dict(before)
        raise BundleError(f"{_NAME} was altered: {error!r:.200}. Train again.") from None


def settings_fingerprint(config: ExperimentConfig) -> str:
    """Return a SHA-256 of a configuration, without the keys that depend on the machine.

    Args:
        config: Configuration of a training.
    """
    settings = {key: value for key, value in flat(config).items() if key not in OF_THE_MACHINE}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _read(content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the state and the record of a checkpoint."""
    values = loads(content, _NAME)
    try:
        return dict(values["state"]), dict(json.loads(values["record"]))
    except (KeyError, TypeError, ValueError, RecursionError):
        raise BundleError(f"{_NAME} was altered: it has no state. Train again.") from None


def _described(
    describe: Callable[[Mapping[str, Any]], dict[str, Any]], state: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe the state of a file; BundleError if parts of it are missing."""
    try:
        return describe(state)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise BundleError(f"{_NAME} was altered: parts of its state are missing.") from None


def _shapes(state: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the shape of every weight and the parts of a state, which depend on the version."""
    shapes = {f"the shape of `{name}`": list(t.shape) for name, t in state["model"].items()}
    return {**shapes, "the list of its parts": sorted(state)}


def _layout(state: Mapping[str, Any]) -> dict[str, str]:
    """Return the properties that all states of one configuration share, name -> JSON text."""
    shapes = _shapes(state)
    settings = {
        f"`{key}` of the optimizer's group {number}": value
        for number, group in enumerate(state["optimizer"]["param_groups"])
        for key, value in group.items()
        if key != "lr"  # follows the schedule
    }
    return {name: json.dumps(value) for name, value in (shapes | settings).items()}
