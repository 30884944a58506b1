"""Metadata of a trial that Ray hands to its worker beside the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

METADATA = "trial_metadata"  # the one key of a Ray trial's configuration that is no parameter


class Donor(NamedTuple):
    """Configuration and epoch whose weights a clone starts from."""

    configuration: int
    epoch: int


@dataclass(frozen=True)
class TrialMetadata:
    """Facts of a trial that do not follow from its parameters.

    Attributes:
        number: Number of the trial in the study.
        earlier: Attempts at the same configuration that were cut short, the latest first.
        is_protected: Whether the scheduler never stops the trial.
        donor: Weights that a clone starts from; None for any other trial.
        spent_seconds: Seconds that the trial took before it let other trials run first.
        ordinal: Number of the configuration, which is added to the seed of the base.
    """

    number: int
    earlier: tuple[int, ...] = ()
    is_protected: bool = False
    donor: Donor | None = None
    spent_seconds: float = 0.0
    ordinal: int = 0

    @property
    def origin(self) -> int:
        """Number of the first attempt at the configuration."""
        return self.earlier[-1] if self.earlier else self.number


def metadata_of(config: Mapping[str, Any]) -> TrialMetadata:
    """Return the metadata in the configuration of a Ray trial."""
    metadata: TrialMetadata = config[METADATA]
    return metadata


def parameters_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a Ray trial without the metadata."""
    return {key: value for key, value in config.items() if key != METADATA}
