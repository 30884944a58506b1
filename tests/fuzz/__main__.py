"""Mutate everything that comes from outside, and give it to every command that reads it.

    python -m tests.fuzz --mutations 3000

The table counts what must not happen: a traceback, more than 10 seconds of processor time, more
than 1 GB of memory, a file changed outside of the folder, a connection, code that is run, and
scores that are not finite.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.measuring import AsJson, show, table
from tests.fuzz.fuzzer import FAULTS, READERS, Finding, Tally, fuzz, replay, require_intact
from tests.fuzz.subjects import isolate, make_subjects

_LINES = 12  # of the output of a finding


def main(
    mutations: Annotated[int, typer.Option(help="Number of mutations.")] = 3000,
    seed: Annotated[int, typer.Option(help="Seed of the mutations.")] = 0,
    reader: Annotated[list[str] | None, typer.Option(help="Only this reader. Repeatable.")] = None,
    again: Annotated[str | None, typer.Option(help="Seed of a finding to run again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the number of faults of each reader, and every finding."""
    readers = reader or READERS
    errors = Console(stderr=True, markup=False, highlight=False)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        root = Path(name).resolve()
        isolate(root)
        make_subjects(root)
        require_intact(root)
        tallies: dict[str, Tally] = {}
        findings = replay(root, again) if again else fuzz(root, readers, mutations, seed, tallies)
        n_findings = 0
        for finding in findings:
            _print(finding, errors)
            n_findings += 1
    rows = [(name, *map(str, tally.numbers())) for name, tally in tallies.items()]
    columns = ("reader", "mutations", "commands", "refused", *FAULTS)
    show({"rows": rows}, [table(f"{mutations} mutations", columns, rows)], as_json)
    raise typer.Exit(1 if n_findings else 0)


def _print(finding: Finding, errors: Console) -> None:
    faults = ", ".join(sorted(finding.ending.faults))
    errors.print(f"{finding.seed} {finding.command}: {faults} after {finding.mutation}")
    for line in finding.ending.output.splitlines()[-_LINES:]:
        errors.print(f"    {line:.200}")


if __name__ == "__main__":
    typer.run(main)
