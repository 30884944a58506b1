"""Counts of texts that an encoder does not read in full: too long, or in unknown characters."""

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
"""Share of affected texts above which a count has a warning."""

_BATCH = 1024  # texts tokenised together
_UNREADABLE = ("Mn", "Mc", "Me", "Cf", "Cc")  # Unicode categories of marks and controls
_BYTES = range(0x80, 0x100)  # bytes of characters that are not ASCII

_PLURAL = {Role.QUERY: "queries", Role.DOCUMENT: "documents"}
_SOME = {Role.QUERY: "The query is", Role.DOCUMENT: "Some documents are"}
_SHORTEN = {
    Role.QUERY: "Shorten long queries",
    Role.DOCUMENT: "Split long documents into passages",
}
_UNKNOWN = "written mostly in characters that the encoder does not know"
_OTHER_LANGUAGE = (
    "Their vectors are nearly equal, regardless of their content. Choose an encoder that was "
    "trained on their language (`data.encoder`), such as a multilingual one."
)


@dataclass(frozen=True)
class Coverage:
    """Counts of texts that an encoder does not read in full.

    Attributes:
        texts: Number of all texts.
        cut: Number of texts longer than `limit`; the rest of each is ignored.
        unknown: Number of texts with more than half of their characters not in the vocabulary.
        limit: Most tokens of a text, with special tokens and prompt; None for no limit.
    """

    texts: int
    cut: int = 0
    unknown: int = 0
    limit: int | None = None

    def counts(self, role: Role) -> dict[str, int]:
        """Describe the texts of a collection.

        Args:
            role: Role of the texts.

        Returns:
            Sentence -> count. Above WARN_SHARE the sentence has a warning with advice.
        """
        counts = {}
        for count, problem, advice in self._findings(role):
            sentence = f"{_PLURAL[role]} are {problem}"
            if count > WARN_SHARE * self.texts:
                share = f"Warning: this is {count / self.texts:.0%}."
                sentence = f"of {self.texts:,} {sentence}. {share} {advice}"
            counts[sentence] = count
        return counts

    def warnings(self, role: Role) -> list[str]:
        """Describe the texts of a call; without counts, so that repeated warnings are equal."""
        return [f"{_SOME[role]} {problem}. {advice}" for _, problem, advice in self._findings(role)]

    def _findings(self, role: Role) -> Iterator[tuple[int, str, str]]:
        """Yield the number of affected texts, the problem, and advice."""
        if self.cut:
            longer = (
                f"longer than the {self.limit} tokens that the encoder reads; it ignores the rest"
            )
            other = "or choose an encoder that reads longer texts (`data.encoder`)."
            yield self.cut, longer, f"{_SHORTEN[role]}, {other}"
        if self.unknown:
            yield self.unknown, _UNKNOWN, _OTHER_LANGUAGE


class TextReader:
    """A counter of the texts that an encoder does not read in full, based on its tokenizer.

    Args:
        tokenizer: Tokenizer of the encoder; it is copied, and its settings do not change.
        limit: Most tokens of a text, with special tokens; None for no limit.
        unknown: Ids of tokens for characters outside the vocabulary.
        add_special_tokens: The encoder adds special tokens.
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
        """Count the texts that are cut or unknown.

        Args:
            texts: Texts without their prompt.
            prompt: Text put before each of them.
        """
        cut = unknown = 0
        n_least = len(self._encodings([prompt])[0])
        for start in range(0, len(texts), _BATCH):
            part = texts[start : start + _BATCH]
            encodings = self._encodings([prompt + text for text in part])
            for text, encoding in zip(part, encodings, strict=True):
                cut += self._limit is not None and len(encoding) > self._limit
                unknown += self._is_unknown(text, encoding, len(prompt), n_least)
        return Coverage(len(texts), cut, unknown, self._limit)

    def _encodings(self, texts: list[str]) -> list[Encoding]:
        return self._tokenizer.encode_batch(texts, add_special_tokens=self._add_special_tokens)

    def _is_unknown(self, text: str, encoding: Encoding, start: int, n_least: int) -> bool:
        """Return whether the vocabulary lacks most of the readable characters of a text.

        Args:
            text: Text without its prompt.
            encoding: Tokens of prompt and text.
            start: Position at which the text begins after its prompt.
            n_least: Number of tokens of the prompt.
        """
        if not text.strip():
            return False  # an empty text loses nothing
        ids = encoding.ids
        if len(ids) <= n_least:
            return True  # the tokenizer drops all of it
        if self._unknown.isdisjoint(ids):
            return False
        pairs = zip(ids, encoding.offsets, strict=True)
        spans = {span for token, span in pairs if token in self._unknown}
        places = {place for first, end in spans for place in range(max(first, start), end)}
        lost = sum(_is_read(text[place - start]) for place in places)
        return 2 * lost > sum(map(_is_read, text))


def _is_read(character: str) -> bool:
    """Return whether a character is readable: not a space, mark, joiner or control."""
    return not character.isspace() and unicodedata.category(character) not in _UNREADABLE


def unknown_tokens(tokenizer: Tokenizer, bytes_too: bool) -> frozenset[int]:
    """Find the ids of tokens for characters outside a vocabulary.

    Args:
        tokenizer: Tokenizer of an encoder.
        bytes_too: Include tokens of the bytes that spell such characters. A transformer may
            understand them, but a mean of token vectors cannot.
    """
    tokens = [getattr(tokenizer.model, "unk_token", None)]
    tokens += [f"<0x{byte:02X}>" for byte in _BYTES if bytes_too]
    ids = {tokenizer.token_to_id(token) for token in tokens if token}
    if type(tokenizer.model).__name__ == "Unigram":  # has no attribute for it
        ids.add(json.loads(tokenizer.to_str())["model"].get("unk_id"))
    return frozenset(number for number in ids if number is not None)
