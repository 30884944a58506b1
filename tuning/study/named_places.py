"""Databases and folders outside of run folders that this user trusts.

A run folder may come from anybody, and its record may name any server. A connection sends the
user's password to that server, and a resumed search writes and removes files. So such storage is
used only after this user has started a search there, or has named it on a command line. The
file `~/.local/state/quantum-rerank/places` (`XDG_STATE_HOME`) lists it, one entry a line, without
passwords.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from quantum_rerank.errors import ConfigError, OutputError
from quantum_rerank.plain_text import pasted
from tuning.study.storage import StorageConfig, check_root, check_storage, masked

_STATE = "XDG_STATE_HOME"


def outside(places: StorageConfig, folder: Path) -> list[str]:
    """Return the parts of a run's storage that are outside of its folder.

    Args:
        places: Storage of the run.
        folder: Folder of the run.
    """
    storage = [] if places.file else [places.storage]
    is_inside = not places.trials or _is_below(places.trials, folder)
    return storage if is_inside else [*storage, places.trials]


def remember(places: StorageConfig, folder: Path) -> None:
    """Trust the storage of a run from now on.

    Args:
        places: Storage of the run.
        folder: Folder of the run.

    Raises:
        OutputError: The user's file cannot be written.
    """
    if not (new := set(outside(places, folder)) - _named()):
        return
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as lines:
            lines.write("".join(f"{json.dumps(place)}\n" for place in sorted(new)))
    except OSError as error:
        raise OutputError(
            f"`{path}` cannot be written: {error.strerror}. A search whose study or files are "
            f"outside of its folder is noted there. Set {_STATE} to a folder that can be written."
        ) from None


def refuse_unnamed(places: StorageConfig, folder: Path) -> None:
    """Check that this user trusts the storage of a run.

    Args:
        places: Storage of the run.
        folder: Folder of the run.

    Raises:
        OutputError: A part of the storage is outside of the folder and is not trusted.
    """
    unnamed = set(outside(places, folder)) - _named()
    if not unnamed:
        return
    shown = " and ".join(f"`{masked(place)}`" for place in sorted(unnamed))
    options = [
        word
        for option, place in (("--storage", places.storage), ("--storage-path", places.trials))
        if place in unnamed
        for word in (option, masked(place))
    ]
    command = pasted("python", "-m", "tuning.status", folder, *options)
    raise OutputError(
        f"The record of `{folder}` names {shown}, where this user has not started a search. "
        "Nothing was read from there or sent there, since a run folder may come from anybody. If "
        f"you trust it, name it once: `{command}`."
    )


def name_as_recorded(
    recorded: StorageConfig, folder: Path, storage: str | None, trials: str | None
) -> None:
    """Trust the storage that a command line names, which must be the recorded one.

    Args:
        recorded: Storage of the run.
        folder: Folder of the run.
        storage: Value of `--storage`.
        trials: Value of `--storage-path`.

    Raises:
        ConfigError: The run has recorded other storage.
    """
    there = {"--storage": recorded.storage, "--storage-path": recorded.trials}
    named = {
        "--storage": storage and check_storage(storage),
        "--storage-path": trials and check_root(trials),
    }
    for option, place in named.items():
        if place and place != there[option]:
            is_at = f"`{masked(there[option])}`" if there[option] else "the folder itself"
            raise ConfigError(
                f"`{option} {masked(place)}` is not where `{folder}` has it, which is {is_at}. "
                "A run stays where it was started: give the same, or leave the option out."
            )
    trusted = StorageConfig(
        named["--storage"] or StorageConfig.storage, trials=named["--storage-path"] or ""
    )
    remember(trusted, folder)


def _is_below(root: str, folder: Path) -> bool:
    return "://" not in root and Path(root).resolve().is_relative_to(folder.resolve())


def _named() -> set[str]:
    try:
        lines = _path().read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return set()
    return {place for line in lines if (place := _place(line))}


def _place(line: str) -> str:
    """Return the entry of a line; empty if the line is damaged."""
    try:
        return str(json.loads(line))
    except ValueError:
        return ""


def _path() -> Path:
    base = Path(os.environ.get(_STATE, ""))
    if not base.is_absolute():  # empty, or to be ignored by the rules of XDG
        try:
            base = Path("~/.local/state").expanduser()
        except RuntimeError:
            raise OutputError(
                f"This user has no home folder: set {_STATE} to a folder that can be written. A "
                "search whose study or files are outside of its folder is noted there."
            ) from None
    return base / "quantum-rerank" / "places"
