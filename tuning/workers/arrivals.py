"""Workers that Ray does not start, and the reason that its logs give."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from quantum_rerank.errors import SearchError
from quantum_rerank.plain_text import shown
from tuning.records import Clock

WARNED_SECONDS = 60.0
GIVEN_UP_SECONDS = 900.0  # a machine that is as slow as that would not train either
FAILED_STARTS = 3
_DIED = "have not registered within the timeout. The process is dead"
_RAYLET = re.compile(r"\[[-0-9 :,]+ [IWEC] ")  # how the lines of Ray's own process begin
_ERROR = re.compile(r"([\w.]+(Error|Exception)|error|fatal)\b", re.IGNORECASE)
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class FailedStarts:
    """Messages of Ray's logs about workers that did not start.

    count: those that died before Ray heard of them.
    reason: the last line that they wrote and where the logs are; empty if nothing is known.
    """

    count: int
    reason: str


class Arrivals:
    """Warns once where trials wait for their first worker in vain, and ends such a search.

    Args:
        clock: Seconds; should not count those in which the search itself did not run.
        say: Prints a line for the user.
        failed_starts: Reads what is known of workers that failed.
        may_wait: Whether workers may come late for good reasons, as on a cluster whose nodes
            others use. Such a search is warned about, and never ended.
    """

    def __init__(
        self,
        clock: Clock,
        say: Callable[[str], None],
        failed_starts: Callable[[], FailedStarts],
        may_wait: bool,
    ) -> None:
        self._clock, self._say = clock, say
        self._failed_starts, self._may_wait = failed_starts, may_wait
        self._since: float | None = None
        self._is_warned = False

    def check(self, is_waiting: bool, is_running: bool) -> None:
        """Check the trials once.

        Args:
            is_waiting: Whether a trial waits for its worker.
            is_running: Whether a trial has its worker.

        Raises: SearchError if no worker will come.
        """
        now = self._clock()
        if is_running or not is_waiting:
            self._since, self._is_warned = None, False
            return
        self._since = now if self._since is None else self._since
        seconds = now - self._since
        if seconds < WARNED_SECONDS:
            return
        if not self._is_warned:
            self._is_warned = True
            self._say(self._warning(seconds))
        elif not self._may_wait:
            self._refuse_to_wait(seconds)

    def _warning(self, seconds: float) -> str:
        text = f"Ray has started no worker for a trial within {seconds:.0f} s"
        if reason := self._failed_starts().reason:
            return f"{text}; {reason}."
        why = "its nodes may be busy, see `ray status`" if self._may_wait else "it may be slow"
        return f"{text}: {why}."

    def _refuse_to_wait(self, seconds: float) -> None:
        failed = self._failed_starts()
        if failed.count >= FAILED_STARTS:
            raise SearchError(
                f"{failed.count} of Ray's workers died as they started; {failed.reason}."
            )
        if seconds >= GIVEN_UP_SECONDS:
            raise SearchError(
                f"Ray has started no worker for a trial within {seconds / 60:.0f} min; "
                f"{failed.reason or 'it gives no reason'}."
            )


def read_failed_starts(logs: Path) -> FailedStarts:
    """Read from the logs of a Ray node how its workers failed to start.

    Args:
        logs: The folder `logs` of Ray's session.
    """
    count = sum(line.count(_DIED) for line in _lines(logs.glob("raylet*.out")))
    # Until Ray has heard of a worker, it writes to the standard error of Ray's own process.
    written = [line for line in _lines(logs.glob("raylet*.err")) if not _RAYLET.match(line)]
    errors = [line for line in written if _ERROR.match(line)] or written
    last = f"the last error is `{errors[-1]}` " if errors else ""
    return FailedStarts(count, f"{last}(Ray's logs: {logs})" if last or count else "")


def _lines(paths: Iterable[Path]) -> Iterator[str]:
    """The lines of logs that are not empty, of each log the end."""
    for path in sorted(paths):
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _READ_BYTES, 0))
            for line in file.read().decode(errors="replace").splitlines():
                if line.strip():
                    yield shown(line.strip())
