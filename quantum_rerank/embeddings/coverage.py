"""Texts that an encoder does not read in full: too long, or in unknown characters."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantum_rerank.embeddings.settings import Role

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

WARN_SHARE = 0.05
"""Share of affected texts above which a count carries a warning."""

_AT_ONCE = 1024  # texts tokenised together
_BESIDE = ("Mn", "Mc", "Me", "Cf", "Cc")
_BYTES = range(0x80, 0x100)  # those that no ASCII character has


_PLURAL = {Role.QUERY: "queries", Role.DOCUMENT: "documents"}
_SOME = {Role.QUERY: "The query is", Role.DOCUMENT: "Some documents are"}
_SHORTEN = {
    Role.QUERY: "Shorten long queries",
    Role.DOCUMENT: "Split long documents into passages",
}
_UNKNOWN = "written mostly in characters that the encoder does not know"
_OTHER_LANGUAGE = (
    "It gives such texts nearly the same vector, whatever they say. Choose an encoder that was "
    "trained on their language (`data.encoder`), such as a multilingual one."
)


@dataclass(frozen=True)
class Coverage:
    """Counts of texts that an encoder does not read in full.

    texts: all of them.
    cut: texts that are longer than `limit`; the rest of each is ignored.
    unknown: texts of which more than half the characters are not in the vocabulary.
    limit: the most tokens of a text, special tokens and prompt included; None for no limit.
    """

    texts: int
    cut: int = 0
    unknown: int = 0
    limit: int | None = None

    def counts(self, role: Role) -> dict[str, int]:
        """Describe the texts of a collection, as sentence -> count.

        Above WARN_SHARE the sentence says what the count means, and what to do.
        """
        counts = {}
        for count, what, way_out in self._findings(role):
            sentence = f"{_PLURAL[role]} are {what}"
            if count > WARN_SHARE * self.texts:
                share = f"Warning: this is {count / self.texts:.0%}."
                sentence = f"of {self.texts:,} {sentence}. {share} {way_out}"
            counts[sentence] = count
        return counts

    def warnings(self, role: Role) -> list[str]:
        """Describe the texts of one call, without their number: the same each time."""
        return [f"{_SOME[role]} {what}. {way_out}" for _, what, way_out in self._findings(role)]

    def _findings(self, role: Role) -> Iterator[tuple[int, str, str]]:
        """Yield how many texts are affected, how, and what to do; nothing where none is."""
        if self.cut:
            longer = (
                f"longer than the {self.limit} tokens that the encoder reads; it ignores the rest"
            )
            other = "or choose an encoder that reads longer texts (`data.encoder`)."
            yield self.cut, longer, f"{_SHORTEN[role]}, {other}"
        if self.unknown:
            yield self.unknown, _UNKNOWN, _OTHER_LANGUAGE


class TextReader:
    """Finds the texts that an encoder does not read in full, by means of its tokenizer.

    Args:
        tokenizer: the encoder's; it is copied, so that its settings stay as they are.
        limit: the most tokens of a text, special tokens included; None for no limit.
        unknown: ids of tokens that stand for characters outside of the vocabulary.
        add_special_tokens: whether the encoder does.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        limit: int | None,
        unknown: frozenset[int],
        add_special_tokens: bool = True,
    ) -> None:
        self._tokenizer = type(tokenizer).from_str(tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._limit, self._unknown = limit, unknown
        self._add_special_tokens = add_special_tokens

    def coverage(self, texts: Sequence[str], prompt: str = "") -> Coverage:
        """Count the texts that are cut, or unknown, behind a prompt."""
        cut = unknown = 0
        least = len(self._encodings([prompt])[0])
        for start in range(0, len(texts), _AT_ONCE):
            part = texts[start : start + _AT_ONCE]
            encodings = self._encodings([prompt + text for text in part])
            for text, encoding in zip(part, encodings, strict=True):
                cut += self._limit is not None and len(encoding) > self._limit
                unknown += self._is_unknown(text, encoding, len(prompt), least)
        return Coverage(len(texts), cut, unknown, self._limit)

    def _encodings(self, texts: list[str]) -> list[Encoding]:
        return self._tokenizer.encode_batch(texts, add_special_tokens=self._add_special_tokens)

    def _is_unknown(self, text: str, encoding: Encoding, start: int, least: int) -> bool:
        """Return whether the vocabulary lacks most of the characters that a text can be read by.

        start: where the text begins behind its prompt.  least: tokens of the prompt alone.
        """
        if not text.strip():
            return False  # nothing is lost of a text that says nothing
        ids = encoding.ids
        if len(ids) <= least:
            return True  # the tokenizer drops all of it
        if self._unknown.isdisjoint(ids):
            return False
        pairs = zip(ids, encoding.offsets, strict=True)
        spans = {span for token, span in pairs if token in self._unknown}
        places = {place for first, end in spans for place in range(max(first, start), end)}
        lost = sum(_is_read(text[place - start]) for place in places)
        return 2 * lost > sum(map(_is_read, text))


def _is_read(character: str) -> bool:
    """Return whether a character is readable: no space, mark, joiner or control."""
    return not character.isspace() and unicodedata.category(character) not in _BESIDE


def unknown_tokens(tokenizer: Tokenizer, bytes_too: bool) -> frozenset[int]:
    """Find the ids of tokens that stand for characters outside of a vocabulary.

    bytes_too: count the bytes that such characters are spelled with. A transformer may read
        them; a mean of token vectors says nothing of what they spell.
    """
    tokens = [getattr(tokenizer.model, "unk_token", None)]
    tokens += [f"<0x{byte:02X}>" for byte in _BYTES if bytes_too]
    ids = {tokenizer.token_to_id(token) for token in tokens if token}
    if type(tokenizer.model).__name__ == "Unigram":  # which does not show its number
        ids.add(json.loads(tokenizer.to_str())["model"].get("unk_id"))
    return frozenset(number for number in ids if number is not None)
