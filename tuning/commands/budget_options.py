"""Budget options of the command line: `--trials 40` replaces, `--trials +20` adds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quantum_rerank.config import describe
from quantum_rerank.errors import ConfigError
from tuning.space import Budget, Space
from tuning.study.run_folder import (
    is_unbegun,
    last_budget,
    load_study,
    read_record,
    recorded_space,
)


def budget_changes(**options: object) -> dict[str, str]:
    """Return key -> text of the budget options that were given.

    >>> budget_changes(trials="+20", hours=None, trial_memory_gb=1.5)
    {'trials': '+20', 'trial_memory_gb': '1.5'}
    """
    return {key: str(value) for key, value in options.items() if value is not None}


def option_of(key: str) -> str:
    """Return the option that sets a key.

    >>> option_of("core_hours")
    '--core-hours'
    """
    return f"--{key.replace('_', '-')}"


def parse_number(key: str, text: str) -> float:
    """Return the number of a budget option.

    Args:
        key: Key of the budget.
        text: Text on the command line, with a sign or without.

    Raises:
        ConfigError: The text is not a number, or not a whole one for `trials`.
    """
    try:
        return int(text) if key == "trials" else float(text)
    except ValueError:
        kind = "a whole number" if key == "trials" else "a number"
        raise ConfigError(f"`{option_of(key)} {text}` is not {kind}.") from None


def changed_budget(folder: Path, changes: Mapping[str, str], patience: float) -> Space:
    """Return the space of a run, with the budget of its last session and changes to it.

    Args:
        folder: Folder of the run.
        changes: Key of the budget -> its text on the command line.
        patience: Seconds to wait for study storage that is locked or unreachable.

    Raises:
        ConfigError: A change is not a number, adds to a budget that the run does not have, or
            leads to a budget that is not valid.
    """
    space = recorded_space(read_record(folder))
    last = space.header.budget
    if not is_unbegun(folder):
        last = last_budget(last, load_study(folder, patience).user_attrs, folder)
    budget = last.model_dump()
    if "trials" in changes:  # which are asked for by name
        budget["early_end"] = False
    for key, text in changes.items():
        budget[key] = _base(budget, key, text, folder) + parse_number(key, text)
    try:
        header = space.header.model_copy(update={"budget": Budget.model_validate(budget)})
    except ValidationError as error:
        places = {key: f"{option_of(key)} {text}" for key, text in changes.items()}
        raise ConfigError(describe(error, Budget, [], places)) from None
    return Space(header, space.base, space.parameters)


def _base(budget: Mapping[str, Any], key: str, text: str, folder: Path) -> float:
    """Return the number that a change adds to: the budget's own, or 0."""
    if not text.startswith("+"):
        return 0
    if budget[key] is None:
        raise ConfigError(
            f"`{option_of(key)} {text}` adds to a budget of `{folder}`, which has none: give the "
            "whole, without `+`."
        )
    number: float = budget[key]
    return number
