"""Commands of the search, which need the extra `tune`; each is imported when it is called."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from quantum_rerank.errors import MissingExtra

EXPORT_TRIAL = "tuning.best_trial:main"
PACKAGES = ("ray", "optuna", "cmaes", "wandb", "pandas", "psutil")  # of the extra `tune`


def load_tuning(target: str, command: str) -> Any:
    """Import a command of the search.

    Args:
        target: Module and attribute, as `module:attribute`.
        command: Command line that needs it, for the message.

    Returns:
        The attribute: a function, or an application of typer.

    Raises:
        MissingExtra: A package of the extra `tune` is not installed.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtra(package, "tune", f"`{command}`")
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
