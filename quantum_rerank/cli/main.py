"""Console script `quantum-rerank`: every command, imported when it is called.

`quantum-rerank --help` lists the commands without importing them, and so without torch and Ray.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from quantum_rerank import __version__
from quantum_rerank.cli.tuning_commands import load_tuning
from quantum_rerank.console import expand_paths, run

_SEARCH, _MODEL = "Search", "One model"  # panels of the help


@dataclass(frozen=True)
class Entry:
    """Entry of the table of commands.

    Attributes:
        target: Function or application of typer, as `module:attribute`.
        summary: Line in the list of commands.
        panel: Panel of the list.
    """

    target: str
    summary: str
    panel: str


COMMANDS = {
    "tune": Entry("tuning.search:tune", "Search a space for the best reranker.", _SEARCH),
    "resume": Entry("tuning.search:resume", "Resume a search, however it ended.", _SEARCH),
    "rerun": Entry("tuning.search:rerun", "Train one trial of a search again.", _SEARCH),
    "status": Entry("tuning.status:main", "Show the progress of a search.", _SEARCH),
    "compare": Entry("tuning.compare:main", "Compare several searches.", _SEARCH),
    "export": Entry(
        "quantum_rerank.cli.export:app",
        "Export a trial of a search, or a trained model, as a bundle.",
        _SEARCH,
    ),
    "sweep": Entry("tuning.sweep:app", "Run a search space as a W&B sweep.", _SEARCH),
    "train": Entry(
        "quantum_rerank.cli.train:app", "Train one reranker beside its baselines.", _MODEL
    ),
    "evaluate": Entry(
        "quantum_rerank.cli.evaluate:app", "Evaluate a model against the targets.", _MODEL
    ),
    "rerank": Entry("quantum_rerank.cli.rerank:app", "Rerank a TREC run or a JSONL file.", _MODEL),
    "report": Entry("quantum_rerank.cli.report:app", "Compare finished runs.", _MODEL),
}
"""Name -> command, in the order of the help."""


class LazyCommand(TyperCommand):
    """Command that is imported when its arguments are parsed.

    Args:
        name: Name of the command.
        entry: Entry of the command.
    """

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, short_help=entry.summary, rich_help_panel=entry.panel)
        self._entry = entry

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Import the command, and parse its arguments."""
        return self._load().make_context(info_name, args, parent, **extra)

    def _load(self) -> Any:
        target = self._entry.target
        if target.startswith("tuning."):
            command = load_tuning(target, f"quantum-rerank {self.name}")
        else:
            module, _, attribute = target.partition(":")
            command = getattr(import_module(module), attribute)
        app = command if isinstance(command, typer.Typer) else _application(command)
        expand_paths(app)
        return get_command(app)


class LazyGroup(TyperGroup):
    """Group of the commands in `COMMANDS`, none of them imported yet."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: LazyCommand(name, entry) for name, entry in COMMANDS.items()}

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, in the order of the help."""
        return list(self.commands)


def _application(command: Callable[..., None]) -> typer.Typer:
    """Return an application of typer with a function as its only command."""
    application = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    application.command()(command)
    return application


def _print_version(requested: bool) -> None:
    if requested:
        print(f"quantum-rerank {__version__}")
        raise typer.Exit


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def root(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Tune, train and use hybrid quantum-classical rerankers.

    Search for the best model on your own table of queries and documents, then rerank with it:

        quantum-rerank tune --space search_spaces/default.yaml \\
            --data csv:FILE --output RUN

        quantum-rerank rerank RUN/best --input candidates.jsonl \\
            --output reranked.jsonl

    `quantum-rerank COMMAND --help` shows the options of a command, with an example.
    """


def main() -> None:
    """Run the console script."""
    run(app)


if __name__ == "__main__":
    main()
