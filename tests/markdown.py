"""Code blocks and links of Markdown pages, for the tests of README and docs/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"(?:^<!-- test: (?P<mark>\w+) -->\n)?"
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Attributes:
        page: Path of the Markdown file.
        line: Line of the block's first line of code, from 1.
        language: Language of the fence, such as `sh`.
        title: Name of the file that the block shows, or nothing.
        mark: `run` for shell commands that every test run executes, `slow` for blocks that only
            the complete test run executes, or nothing.
        text: The code.
    """

    page: Path
    line: int
    language: str
    title: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page, in order."""
    content = page.read_text(encoding="utf-8")
    return [
        Block(
            page=page,
            line=content.count("\n", 0, match.start("text")) + 1,
            language=match["language"],
            title=match["title"] or "",
            mark=match["mark"] or "",
            text=match["text"],
        )
        for match in _FENCE.finditer(content)
    ]


def links(page: Path) -> Iterator[str]:
    """Yield the targets of a page's links and images outside of code blocks."""
    content = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for match in _LINK.finditer(content):
        yield match["target"]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    content = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = (match["text"].lower() for match in _HEADING.finditer(content))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}
