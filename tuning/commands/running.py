"""Running of a search that the command line asks for, and its exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer
from rich.console import Console

from quantum_rerank.console import INTERRUPTED_EXIT_CODE, new_folder, say
from quantum_rerank.folder_lock import locked
from quantum_rerank.interruption import Interrupted, hangups_blocked
from quantum_rerank.plain_text import pasted
from tuning.commands.request import CheckedSearch, SearchRequest
from tuning.limits.concurrency import Node
from tuning.records import StopKind, StopReason
from tuning.reporting.plan import print_plan
from tuning.session.preflight import refuse_unusable_places
from tuning.session.search import search
from tuning.session.search_state import SearchOptions
from tuning.study.run_folder import BEST, LOG, RECORD
from tuning.workers.local_nodes import local_nodes

DIAGNOSIS_EXIT_CODE = 3
EXIT_CODES = {
    StopKind.INTERRUPT: INTERRUPTED_EXIT_CODE,
    StopKind.TERMINATED: 143,
    StopKind.HANGUP: 129,
    StopKind.SAME_FAILURES: DIAGNOSIS_EXIT_CODE,
}


def run_request(request: SearchRequest, checked: CheckedSearch, console: Console) -> None:
    """Run the search that a command line asks for, or print its plan.

    Args:
        request: Options of the command line.
        checked: Search that `check_request` made of them.
        console: Console to print to.

    Raises:
        typer.Exit: The search ended with another exit code than 0.
    """
    options = request.options
    if options.dry_run:
        folders = request.warm_start
        print_plan(checked.space, checked.concurrency, checked.folder, console, folders)
        _print_notes(checked, console)
        return
    if checked.storage is not None:
        new_folder(checked.folder, but=[LOG])
        refuse_unusable_places(checked.storage, checked.folder)
    with locked(checked.folder), _joined(checked.local_nodes, options.address) as address:
        _print_notes(checked, console)
        search_options = SearchOptions(
            address=address,
            wandb_mode=checked.mode,
            storage=checked.storage,
            patience=options.patience,
            earlier=checked.earlier,
        )
        try:
            reason = search(checked.space, checked.folder, console, search_options)
        except Interrupted as interrupted:
            say(f"Stopped by {interrupted.name}. {_way_on(checked.folder)}")
            raise typer.Exit(interrupted.exit_code) from None
    if code := exit_code(reason, has_model=(checked.folder / BEST).exists()):
        raise typer.Exit(code)


def exit_code(reason: StopReason | None, has_model: bool) -> int:
    """Return the exit code of a search.

    Args:
        reason: Reason for which it ended early; None if it is done.
        has_model: Whether it has exported a model.
    """
    code = EXIT_CODES.get(reason.kind, 0) if reason else 0
    return code or (0 if has_model else DIAGNOSIS_EXIT_CODE)


def _print_notes(checked: CheckedSearch, console: Console) -> None:
    for note in checked.notes:
        console.print(note, soft_wrap=True)


@contextmanager
def _joined(nodes: list[Node], address: str | None) -> Iterator[str | None]:
    """Yield the address of the cluster to join, starting nodes on this machine if requested."""
    with ExitStack() as resources:
        if nodes:
            with hangups_blocked():  # a closed terminal ends the search, not its nodes
                address = resources.enter_context(local_nodes(nodes))
        yield address


def _way_on(folder: Path) -> str:
    """Return a sentence on how to continue a search that was stopped."""
    if (folder / RECORD).exists():
        command = pasted("python", "-m", "tuning.search", "--resume", folder)
        return f"Go on with `{command}`."
    return "Nothing was begun: give the same command again."
