"""Checks before a search starts. A dry run makes all of them and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from quantum_rerank.console import new_folder
from quantum_rerank.errors import ConfigError, FilesError, QuantumRerankError
from quantum_rerank.folder_lock import LOCK, locked
from tuning.space import Space
from tuning.study.run_folder import LOG, is_unbegun, load_study, recorded_places
from tuning.study.storage import StorageConfig, connect, connect_to_read, refuse_long_path
from tuning.study.trial_files import BEST_EPOCH, TrialFiles
from tuning.study.view import StudyView

T = TypeVar("T")


class Mistakes:
    """Collector of mistakes, so that all of them are reported at once."""

    def __init__(self) -> None:
        self._errors: list[QuantumRerankError] = []

    def attempt(self, check: Callable[[], T]) -> T | None:
        """Return the result of a check; None if it fails, whose error is collected."""
        try:
            return check()
        except QuantumRerankError as error:
            self._errors.append(error)
            return None

    def raise_any(self) -> None:
        """Raise the only mistake as it is, several as one ConfigError."""
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            lines = [line for error in self._errors for line in str(error).splitlines()]
            raise ConfigError(list(dict.fromkeys(lines)))


def refuse_unusable_output(folder: Path) -> None:
    """Check that a new folder can be created, written to and locked; it is removed again.

    Args:
        folder: Folder of the run.

    Raises:
        OutputError: The folder is not empty, or cannot be written to or locked.
    """
    with removed_again(folder):
        new_folder(folder, but=[LOG])
        lock = folder / LOCK
        had_lock = lock.exists()
        with locked(folder):
            pass
        if not had_lock:
            lock.unlink()


def refuse_unusable_places(places: StorageConfig, folder: Path, keep: bool = True) -> None:
    """Check that the study's storage answers and that the files of trials can be written.

    Args:
        places: Storage of a new run.
        folder: Folder of the run.
        keep: Whether to keep the folders and tables that the check creates.

    Raises:
        OutputError: A database does not answer.
        ConfigError: The root of the files of trials cannot be used, or a path is too long.
    """
    refuse_long_path(folder, places)
    if not places.file:
        if keep:
            connect(folder, places)
        else:
            connect_to_read(places)
    if not places.trials:
        return
    root = Path(places.trials)
    try:
        with removed_again(root) if "://" not in places.trials and not keep else _kept():
            TrialFiles(places.trials).refuse_unusable(keep_root=keep)
    except FilesError as error:
        raise ConfigError(str(error)) from None


def refuse_run_at_work(folder: Path) -> None:
    """Check that no other process uses a run's folder.

    Args:
        folder: Folder of the run.

    Raises:
        OutputError: Another process uses it, or it cannot be written to or locked.
    """
    with locked(folder):
        pass


def weights_gone(folder: Path, space: Space, patience: float) -> str:
    """Return a sentence on the best trials of a run whose weights are missing; empty if none is.

    Args:
        folder: Folder of a run that is resumed.
        space: Space of the run.
        patience: Seconds to wait for storage that is locked or unreachable.

    Raises:
        FilesError: The root of the files of trials cannot be reached.
    """
    if is_unbegun(folder):
        return ""
    best = StudyView.of(load_study(folder, patience)).ranked()
    files = TrialFiles(recorded_places(folder).root(folder))
    numbers = [trial.number for trial in best[: space.header.top_k]]
    gone = [number for number in numbers if not files.holds(number, BEST_EPOCH)]
    if not gone:
        return ""
    paths = ", ".join(f"`{files.shown(number, BEST_EPOCH)}`" for number in gone)
    return (
        f"The weights of {len(gone)} of the best {len(numbers)} trials are gone ({paths}), so they "
        "can be neither confirmed nor exported. Stop and put them back, or go on without them."
    )


@contextmanager
def removed_again(folder: Path, made: Sequence[str] = ()) -> Iterator[None]:
    """Remove a folder, and its parents, after the block if they are new and empty.

    Args:
        folder: Folder that the block may create.
        made: Names of files in a new folder that are removed too.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        for name in made if folder in missing and folder.is_dir() else ():
            (folder / name).unlink(missing_ok=True)
        for path in missing:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


@contextmanager
def _kept() -> Iterator[None]:
    yield
