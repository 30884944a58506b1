"""Topics of evaluation campaigns: TREC, its tracks with XML, CLEF, FIRE, NTCIR.

A topic is the content of `<top>` or `<topic>`. Its number is an attribute (`number`, `num`, `id`,
`qid`) or a tag (`<num>`, `<number>`, `<identifier>`, `<id>`, `<qid>`). Its text is `<title>` (or
CLEF's `<EN-title>`), or else `<query>`, or else `<question>`; the whole content of a topic without
tags is its text. Inner tags may be left open, as in TREC's classic topics.

Files are searched for tags and never given to an XML parser: many are not XML, and no entity that
a file declares can be expanded or fetched.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from quantum_rerank.datasets.text_files import each_line, shortened
from quantum_rerank.errors import DataError

_FLAGS = re.DOTALL | re.IGNORECASE
_ANY_TAG = r"</?[a-z][\w-]*(?:\s[^<>]*)?/?>"
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE)
_NUMBER_ATTRIBUTE = re.compile(
    r"\b(?:number|num|id|qid)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE
)
_NUMBER = re.compile(
    r"<(?:num|number|identifier|id|qid)(?:\s[^<>]*)?>\s*(?:Number\s*:)?\s*([^\s<]+)", re.IGNORECASE
)
_TEXT_TAGS = (r"(?:[a-z]{2}-)?title", "query", "question")
_FORMS = (
    'A topic is `<top> <num> 1 <title> text </top>`, `<topic number="1"><title>text</title>'
    "</topic>` or the same with `<query>`; a table of ids and texts must be called queries.tsv"
)


def read_topics(path: Path) -> dict[str, str]:
    """Read the topics of a file.

    Args:
        path: File, which may be compressed.

    Returns:
        Number -> text, in the order of the file.

    Raises:
        DataError: Topics lack a number or a text, or a number is repeated; the message names all
            of them. Or the file has no topics, or declares entities.
    """
    blocks = _blocks(path, _read(path))
    topics: dict[str, str] = {}
    problems: list[str] = []
    for attributes, block in blocks:
        number, text = _number(attributes, block), _text(block)
        if number is None or text is None:
            tags = "<num> or <title>" if "<" in block else "number"
            problems.append(f"{path}: the topic {shortened(block.strip())} has no {tags}.")
        elif number in topics:
            problems.append(f"{path}: the topic {number} is repeated. Give each its own number.")
        else:
            topics[number] = text
    if problems:
        raise DataError(problems)
    return topics


def _read(path: Path) -> str:
    lines: list[str] = []
    each_line(path, lines.append)
    text = "\n".join(lines)
    if "<!entity" in text.lower():
        raise DataError(
            f"{path}: the file declares entities, which are not expanded. "
            "Replace them by their texts."
        )
    return _COMMENT.sub("", text)


def _blocks(path: Path, text: str) -> list[tuple[str, str]]:
    """Return the attributes and the content of each topic."""
    for tag in ("top", "topic"):
        begin, end = rf"<{tag}(\s[^<>]*)?>", rf"</{tag}\s*>"
        n_begun, n_ended = (len(re.findall(mark, text, _FLAGS)) for mark in (begin, end))
        if n_begun != n_ended:
            raise DataError(
                f"{path}: {n_begun} topics begin with <{tag}>, but {n_ended} end with </{tag}>. "
                "Close every topic."
            )
        if n_begun:
            return re.findall(rf"{begin}(.*?){end}", text, _FLAGS)
    raise DataError(f"{path}: the file has no topics: neither <top> nor <topic>. {_FORMS}.")


def _number(attributes: str, block: str) -> str | None:
    if attribute := _NUMBER_ATTRIBUTE.search(attributes):
        return (attribute[1] or attribute[2] or "").strip() or None
    number = _NUMBER.search(block)
    return number[1] if number else None


def _text(block: str) -> str | None:
    for tag in _TEXT_TAGS:
        # Up to its end tag, or else up to any other tag or the end of the topic.
        closed = re.search(rf"<({tag})(?:\s[^<>]*)?>(.*?)</\1\s*>", block, _FLAGS)
        if closed:
            return _plain(re.sub(_ANY_TAG, " ", closed[2], flags=_FLAGS))
        is_open = re.search(rf"<{tag}(?:\s[^<>]*)?>(.*?)(?={_ANY_TAG}|\Z)", block, _FLAGS)
        if is_open:
            return _plain(is_open[1])
    return None if re.search(_ANY_TAG, block, _FLAGS) else _plain(block) or None


def _plain(text: str) -> str:
    """Return a text on one line, with XML's predefined entities replaced by their characters."""
    text = _CDATA.sub(r"\1", text)
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    return " ".join(re.sub(r"^\s*Topic\s*:", "", text, flags=re.IGNORECASE).split())
