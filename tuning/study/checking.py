"""Checks of a study as a whole, after which its attributes and relations can be relied on.

A study may come from anybody, or be damaged. Types are checked before anything is computed from
them. The relations between trials (`continues`, `clones`) only lead to earlier trials, so that
every walk along them ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from optuna.trial import TrialState
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from quantum_rerank.errors import OutputError
from quantum_rerank.records import checked
from tuning.records import (
    CHECKPOINT,
    FAILURE,
    PEAK_RSS_MB,
    SECONDS,
    TRAINING_SECONDS,
    UNSCHEDULED_EPOCH,
    WARM_UP_SAVED,
    FailureKind,
)
from tuning.study import attributes

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_Number = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Trial = Annotated[int, Field(ge=0, strict=True)]
_Epoch = Annotated[int, Field(ge=1, strict=True)]
_Key = Annotated[str, Field(pattern=r"#[0-9]+$")]
_Source = Annotated[str, Field(pattern=r"^(prior:[0-9]+|incumbent|model|uniform)$")]


class _Failure(BaseModel):
    kind: FailureKind
    detail: str


class _Session(BaseModel):
    started: AwareDatetime
    host: str = ""
    pid: _Trial
    seconds: _Number
    core_seconds: _Number
    ended: str | None = None


_OF_TRIALS: Mapping[str, TypeAdapter[Any]] = {
    attributes.START_POINT: TypeAdapter(_Trial),
    attributes.CONTINUES: TypeAdapter(_Trial),
    attributes.ORDINAL: TypeAdapter(_Trial),
    attributes.PROPOSED_FROM: TypeAdapter(_Source),
    attributes.CLONES: TypeAdapter(_Trial),
    attributes.AT_EPOCH: TypeAdapter(_Epoch),
    attributes.REPLACES: TypeAdapter(_Trial),
    attributes.CURVE: TypeAdapter(dict[int, _Finite]),
    attributes.WARM_START: TypeAdapter(_Key),
    attributes.PROPOSED_BY: TypeAdapter(_Key),
    CHECKPOINT: TypeAdapter(_Trial | None),
    FAILURE: TypeAdapter(_Failure),
    PEAK_RSS_MB: TypeAdapter(_Number | None),
    SECONDS: TypeAdapter(_Number | None),
    TRAINING_SECONDS: TypeAdapter(_Number | None),
    UNSCHEDULED_EPOCH: TypeAdapter(_Epoch | None),
    WARM_UP_SAVED: TypeAdapter(_Number),
}
_Objectives = dict[Annotated[str, Field(pattern=r"^[0-9]+$")], dict[str, _Finite]]
_OF_STUDY: Mapping[str, TypeAdapter[Any]] = {
    attributes.BUDGET: TypeAdapter(dict[str, float | None]),
    attributes.CONFIRMED: TypeAdapter(_Objectives),
}
_SESSION: TypeAdapter[Any] = TypeAdapter(_Session)
_FIXED = TypeAdapter(dict[str, str | int | float | bool | None])


def require_sound(
    study: Mapping[str, Any], trials: Sequence[FrozenTrial], n_objectives: int, where: str
) -> None:
    """Check attributes, values and relations of a study.

    Args:
        study: User attributes of the study.
        trials: All of its trials.
        n_objectives: Number of its objectives.
        where: File or URL of the study, for the message.

    Raises:
        OutputError: Something is of another type, out of range, or contradicts the rest. The
            message names the trial and the attribute.
    """
    try:
        for key, value in study.items():
            is_session = key.startswith(attributes.SESSION)
            _require(_SESSION if is_session else _OF_STUDY.get(key), key, value)
        for index, trial in enumerate(trials):
            _require_trial(index, trial, n_objectives)
        _require_relations(trials)
    except ValueError as error:
        raise OutputError(f"`{where}` is damaged: {error}.") from None


def _require(
    kind: TypeAdapter[Any] | None, name: str, value: Any, of: str = "its attributes"
) -> None:
    """Raise ValueError unless a value is of a kind; anything is accepted without a kind."""
    if kind is None:
        return
    try:
        checked(kind, value, name)
    except ValueError as error:
        raise ValueError(f"{of}: {error}") from None


def _require_trial(index: int, trial: FrozenTrial, n_objectives: int) -> None:
    if trial.number != index:
        raise ValueError(f"its trial {index} has the number {trial.number}")
    for key, value in trial.user_attrs.items():
        _require(_OF_TRIALS.get(key), key, value, of=f"trial {index}")
    _require(_FIXED, "fixed_params", _fixed(trial), of=f"trial {index}")
    for epoch, objective in trial.intermediate_values.items():
        if epoch < 1 or not math.isfinite(objective):
            raise ValueError(f"trial {index} has the objective {objective} at epoch {epoch}")
    if trial.state != TrialState.COMPLETE:
        return
    values = trial.values or []
    if len(values) != n_objectives or not all(map(math.isfinite, values)):
        raise ValueError(f"trial {index} is complete with the values {values}")


def _fixed(trial: FrozenTrial) -> Any:
    return trial.system_attrs.get("fixed_params", {})


def _require_relations(trials: Sequence[FrozenTrial]) -> None:
    """Raise ValueError where a relation does not lead to an earlier trial."""
    origins: dict[int, int] = {}
    for trial in trials:
        number, previous = trial.number, attributes.continues(trial)
        if previous is not None and previous >= number:
            raise ValueError(f"trial {number} continues trial {previous}, which is not before it")
        origins[number] = number if previous is None else origins[previous]
        stopped, donor = attributes.replaces(trial), None
        if attributes.CLONES in trial.user_attrs:
            if attributes.AT_EPOCH not in trial.user_attrs:
                raise ValueError(f"trial {number} clones another without `{attributes.AT_EPOCH}`")
            donor = trial.user_attrs[attributes.CLONES]
        if donor is not None and (donor >= origins[number] or origins[donor] != donor):
            raise ValueError(f"trial {number} clones configuration {donor}, which is none before")
        if stopped is not None and stopped >= number:
            raise ValueError(f"trial {number} replaces trial {stopped}, which is not before it")
