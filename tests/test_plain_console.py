from __future__ import annotations

from io import StringIO

import pytest
from rich.progress import BarColumn
from rich.table import Table
from rich.text import Text

from quantum_rerank.plain_console import PlainConsole, make_progress

STRANGE = "runs/a[/b] [red]x[/red] :cat: \x1b[2J"
SHOWN = "runs/a[/b] [red]x[/red] :cat: �[2J"


def printed(*renderables: object, terminal: bool = False, **options: object) -> str:
    file = StringIO()
    console = PlainConsole(file=file, force_terminal=terminal, color_system=None, **options)
    console.print(*renderables, sep="\n")
    return file.getvalue()


def strange_table(no_wrap: bool = False) -> Table:
    table = Table(title=STRANGE, caption=STRANGE, box=None)
    table.add_column(STRANGE, no_wrap=no_wrap)
    table.add_row(STRANGE)
    table.add_row(Text(STRANGE))
    return table


@pytest.mark.parametrize("terminal", [False, True])
def test_text_is_printed_literally_everywhere(terminal: bool) -> None:
    text = printed(STRANGE, Text(STRANGE), strange_table(), terminal=terminal, width=80)
    assert text.count(SHOWN) == 7
    assert "\x1b" not in text


def test_the_description_of_a_progress_bar_is_printed_literally() -> None:
    file = StringIO()
    console = PlainConsole(file=file, width=120)
    with make_progress(BarColumn(), console=console) as progress:
        progress.update(progress.add_task(STRANGE, total=1), completed=1)
    assert SHOWN in file.getvalue()


@pytest.mark.parametrize("no_wrap", [False, True])
@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_table_outside_of_a_terminal_is_folded_and_complete(no_wrap: bool, width: int) -> None:
    table = Table(box=None, padding=0)
    table.add_column("when", no_wrap=no_wrap)
    table.add_column("why")
    table.add_row("x" * 150, "y" * 30)
    text = printed(table, width=width)
    assert (text.count("x"), text.count("y")) == (150, 31)
    assert "…" not in text


def test_output_outside_of_a_terminal_is_wide_unless_columns_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert len(printed("word " * 39).splitlines()) == 1
    monkeypatch.setenv("COLUMNS", "60")
    assert len(printed("word " * 39).splitlines()) == 4
