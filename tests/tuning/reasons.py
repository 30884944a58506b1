"""Failures by the text that a user reads, for tests."""

from __future__ import annotations

from tuning.records import Failure, FailureKind


def failure(text: str) -> Failure:
    """Return the failure that is written as a text, such as `oom: 9 GiB used`."""
    kind, _, detail = text.partition(": ")
    return Failure(FailureKind(kind), detail)


def recorded(text: str) -> dict[str, str]:
    """Return a failure as a study holds it."""
    return failure(text).as_record()
