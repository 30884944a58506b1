"""Pages with tables and charts, each one HTML file that opens without a network.

A page works without JavaScript, but for its charts: plotly's library is part of the file. All
texts are escaped by the template; in a chart, where plotly reads some markup, by `plain`.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from quantum_rerank.atomic import write_text
from quantum_rerank.errors import MissingPackage, OutputError
from quantum_rerank.reports.tabular import Tabular

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Colours that colour-blind readers can tell apart (Okabe and Ito, 2008)."""
_FOLDER = Path(__file__).parent
_TEMPLATE = "page.html.j2"
_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028"}


@dataclass(frozen=True)
class Chart:
    """Chart of a page.

    Attributes:
        figure: Figure of plotly.
        caption: What the chart shows, for those who cannot see it too.
    """

    figure: Any
    caption: str


@dataclass(frozen=True)
class Listing:
    """Text that is shown as it is, such as a configuration to copy."""

    title: str
    text: str


@dataclass(frozen=True)
class Section:
    """Section of a page.

    Attributes:
        title: Heading.
        sentences: Sentences below it.
        parts: Tables, charts and listings.
        is_finding: Whether the sentences are set off, as the main result is.
    """

    title: str
    sentences: Sequence[str] = ()
    parts: Sequence[Tabular | Chart | Listing] = ()
    is_finding: bool = False


def write_page(path: Path, title: str, sections: Sequence[Section], subtitle: str = "") -> None:
    """Write a page.

    Args:
        path: File to write.
        title: Title of the page.
        sections: Sections; those without content are left out.
        subtitle: Line below the title.

    Raises:
        OutputError: The file cannot be written.
        MissingPackage: plotly or jinja2 is not installed.
    """
    numbers = iter(range(1_000_000))
    shown = [
        {
            "title": section.title,
            "sentences": section.sentences,
            "is_finding": section.is_finding,
            "parts": [_as_shown(part, f"chart-{next(numbers)}") for part in section.parts],
        }
        for section in sections
        if section.sentences or section.parts
    ]
    has_charts = any(isinstance(part, Chart) for section in sections for part in section.parts)
    page = _template().render(
        title=title,
        subtitle=subtitle,
        sections=shown,
        library=packed_library() if has_charts else "",
    )
    try:
        write_text(path, page)
    except OSError as error:
        raise OutputError(f"`{path}` cannot be written: {error.strerror}.") from None


def plain(text: object) -> str:
    """Return a text for a chart, in which plotly would read markup and links."""
    return escape(str(text), quote=False)


def new_figure(title: str, x: str = "", y: str = "", **layout: Any) -> Any:
    """Return an empty figure with this project's colours.

    Args:
        title: Title of the chart.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.
        layout: Further entries of plotly's layout.

    Raises:
        MissingPackage: plotly is not installed.
    """
    try:
        from plotly import graph_objects
    except ImportError:
        raise MissingPackage("plotly", "report", "A page with charts") from None
    figure = graph_objects.Figure()
    return figure.update_layout(
        title=plain(title),
        xaxis_title=plain(x),
        yaxis_title=plain(y),
        template="none",
        colorway=COLORS,
        margin={"l": 70, "r": 20, "t": 50, "b": 60},
        **layout,
    )


@cache
def packed_library() -> str:
    """Return plotly's library, compressed and as text."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _as_shown(part: Tabular | Chart | Listing, name: str) -> dict[str, Any]:
    if isinstance(part, Tabular):
        return {"kind": "table", "table": part}
    if isinstance(part, Listing):
        return {"kind": "listing", "title": part.title, "text": part.text}
    json = "".join(_escaped(part.figure.to_json()))
    return {"kind": "chart", "name": name, "caption": part.caption, "json": json}


def _escaped(json: str) -> Iterator[str]:
    """Yield JSON without the characters that end a script or begin a comment in one."""
    for character in json:
        yield _IN_SCRIPT.get(character, character)


def _template() -> Any:
    try:
        import jinja2
    except ImportError:
        raise MissingPackage("jinja2", "report", "A page") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE)
