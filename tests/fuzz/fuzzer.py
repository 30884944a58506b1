"""Mutations of every kind of folder, each given to every command that reads it."""

from __future__ import annotations

import gc
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.commands import COMMANDS
from tests.fuzz.contents import edit
from tests.fuzz.files import damage
from tests.fuzz.sandbox import Ending, Fault, run_command
from tests.fuzz.subjects import (
    DATA,
    INDEX,
    KILLED,
    RUN,
    SPACE,
    TRAINING,
)
from tuning.study.run_folder import BEST

FAULTS: tuple[Fault, ...] = (
    "traceback", "hang", "memory", "outside", "connection", "code", "NaN",
)  # fmt: skip

# Reader -> folder below the root, and the patterns of the files that are mutated.
_READ: dict[str, tuple[str, tuple[str, ...]]] = {
    "run": (RUN, ("*.json", "*.db", "*.db", "*.jsonl", "trials/*/*", "search.log")),
    "best epoch": (RUN, ("trials/00000/*",)),
    "training": (TRAINING, ("*.json", "bundle/*")),
    "checkpoints": (KILLED, ("run.json", "checkpoints/*")),
    "bundle": (f"{RUN}/{BEST}", ("*",)),
    "index": (INDEX, ("*",)),
    "space": (SPACE, ("*",)),
    "vectors": (f"{DATA}/vectors", ("*/*.npy",)),
    "data": (DATA, ("table.*", "seen/*.jsonl", "seen/qrels/*")),
}
READERS = tuple(_READ)
REFUSED = 2  # exit code


@dataclass
class Tally:
    """Mutations of a reader, its commands, and their faults."""

    mutations: int = 0
    commands: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of a row of the table."""
        counts = (self.faults[fault] for fault in FAULTS)
        return self.mutations, self.commands, self.refused, *counts


@dataclass(frozen=True)
class Finding:
    """Command that ended with faults."""

    reader: str
    command: str
    seed: str
    mutation: str
    ending: Ending


def fuzz(
    root: Path, readers: Sequence[str], mutations: int, seed: int, tallies: dict[str, Tally]
) -> Iterator[Finding]:
    """Yield each finding at once.

    Args:
        root: Folder of `make_subjects`.
        readers: Names of the readers.
        mutations: Number of mutations, divided among the readers.
        seed: Seed of all mutations.
        tallies: Receives reader -> its counts.
    """
    for number, reader in enumerate(readers):
        tally = tallies[reader] = Tally()
        for index in range(number, mutations, len(readers)):
            yield from _mutation(root, reader, f"{seed}-{reader}-{index}", tally)


def require_intact(root: Path) -> None:
    """Check that no command refuses what is not mutated.

    Raises:
        RuntimeError: A command refuses its folder, so that its mutations would show nothing.
    """
    for reader, commands in COMMANDS.items():
        for command in commands:
            _restore(root)
            ending = run_command(command, root / "work" / _READ[reader][0], root / "work")
            if ending.faults or ending.code == REFUSED:
                raise RuntimeError(f"{command.__name__}: {ending}")


def replay(root: Path, seed: str) -> list[Finding]:
    """Run one mutation again by the seed of its finding."""
    return list(_mutation(root, seed.split("-")[1], seed, Tally()))


def _mutation(root: Path, reader: str, seed: str, tally: Tally) -> Iterator[Finding]:
    rng = random.Random(seed)
    work, victims = root / "work", root / "victims"
    where, patterns = _READ[reader]
    _restore(root)
    text = _mutate(work / where, patterns, rng, victims)
    tally.mutations += 1
    before = _snapshot(victims)
    mutated = root / "mutated"
    shutil.rmtree(mutated, ignore_errors=True)
    _copy(work / where, mutated)
    gc.freeze()  # or each child would copy the pages of every object that it looks at
    for command in COMMANDS[reader]:
        ending = run_command(command, work / where, root / "work")
        faults = set(ending.faults)
        if _snapshot(victims) != before:
            faults.add("outside")
            _write_victims(victims)
        tally.commands += 1
        tally.refused += ending.code == REFUSED
        tally.faults.update(faults)
        if faults:
            ending = Ending(frozenset(faults), ending.code, ending.output)
            yield Finding(reader, command.__name__, seed, text, ending)
        _remove(work / where)
        _copy(mutated, work / where)


def _mutate(folder: Path, patterns: Sequence[str], rng: random.Random, victims: Path) -> str:
    pattern = rng.choice(patterns)
    path = rng.choice(sorted(path for path in folder.glob(pattern) if path.is_file()))
    return (rng.random() < 0.6 and edit(path, rng)) or damage(path, rng, victims)


def _restore(root: Path) -> None:
    """Make all folders as they were, and the files that nobody may change."""
    _remove(root / "work")
    (root / "work").mkdir()
    for name in (RUN, TRAINING, KILLED, INDEX, SPACE, DATA):
        _copy(root / name, root / "work" / name)
    _write_victims(root / "victims")


def _write_victims(folder: Path) -> None:
    _remove(folder)
    (folder / "folder").mkdir(parents=True)
    (folder / "notes").write_text("mine\n", encoding="utf-8")
    (folder / "folder" / "letter").write_text("mine too\n", encoding="utf-8")


def _snapshot(folder: Path) -> dict[str, bytes | None]:
    paths = sorted(folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder with its links, FIFOs and sparse files."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in os.scandir(source):
        goal = target / entry.name
        if entry.is_symlink():
            goal.symlink_to(Path(entry.path).readlink())
        elif entry.is_dir():
            _copy(Path(entry.path), goal)
        elif entry.is_file() and entry.stat().st_size < 2**26:
            shutil.copyfile(entry.path, goal)
        elif entry.is_file():
            goal.touch()
            os.truncate(goal, entry.stat().st_size)
        else:
            os.mkfifo(goal)
