"""The files of the page: the summary, the Markdown and the pictures."""

from __future__ import annotations

from pathlib import Path

from experiments.pictures import draw
from experiments.report import document
from experiments.summary import Summary, compact_json
from quantum_rerank.atomic import output_errors, write_text

PAGE, SUMMARY, PICTURES = "experiments.md", "experiments.json", "experiments"


def write_summary(folder: Path, summary: Summary) -> None:
    """Write the summary.

    Raises:
        OutputError: The file cannot be written.
    """
    with output_errors(folder / SUMMARY):
        write_text(folder / SUMMARY, compact_json(summary.as_json()) + "\n")


def write_page(folder: Path, summary: Summary) -> None:
    """Draw the pictures and write the page.

    Raises:
        MissingPackage: matplotlib is not installed.
        OutputError: A file cannot be written.
    """
    with output_errors(folder / PICTURES):
        drawn = draw(folder / PICTURES, summary)
    pictures = {title: file.relative_to(folder).as_posix() for title, file in drawn.items()}
    with output_errors(folder / PAGE):
        write_text(folder / PAGE, document(summary, pictures))
