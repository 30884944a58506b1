from __future__ import annotations

import subprocess

import pytest

from quantum_rerank.plain_text import pasted, shown, table_cell

STRANGE = ["a b", "it's", "$(id)", "`id`", "a\nb", "x\x1b[2J", "lr=1?*", "-rf", "ü日本", ""]


def test_control_characters_are_replaced_and_text_stays() -> None:
    assert shown("a\tb\nü日本 \U0001f600") == "a\tb\nü日本 \U0001f600"
    assert shown("\x1b]0;t\x07\r\x9b\x7f") == "�]0;t����"


def test_characters_that_reorder_or_break_a_line_are_replaced() -> None:
    assert shown("safe\u202eexe.\u2066txt\u2028x") == "safe�exe.�txt�x"


@pytest.mark.parametrize("word", STRANGE)
def test_a_pasted_word_reaches_the_program_as_it_is(word: str) -> None:
    line = pasted("printf", "%s", word)
    assert line.isprintable()
    printed = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert printed.decode() == word


@pytest.mark.parametrize(
    "text", ["=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"]
)
def test_a_formula_in_a_table_is_text(text: str) -> None:
    assert table_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [-1, -0.5, None, True, "triplet", "", "a=b"])
def test_other_cells_of_a_table_are_unchanged(value: object) -> None:
    assert table_cell(value) is value
