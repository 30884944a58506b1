from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from quantum_rerank.embeddings import Role
from quantum_rerank.embeddings.coverage import Coverage, TextReader, unknown_tokens

WORDS = ("[UNK]", "oak", "elm", "ash", "query", ":")


def word_level() -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Replace("\u200b", "")
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def reader(limit: int | None = None) -> TextReader:
    tokenizer = word_level()
    return TextReader(tokenizer, limit, unknown_tokens(tokenizer, bytes_too=False))


def test_texts_of_more_tokens_than_the_limit_are_cut() -> None:
    found = reader(limit=3).coverage(["oak elm ash", "oak elm ash oak", "oak"])
    assert found == Coverage(3, cut=1, limit=3)


def test_the_prompt_counts_as_tokens_of_a_text() -> None:
    texts = ["oak elm ash", "oak"]
    assert reader(limit=4).coverage(texts, "query: ").cut == 1
    assert reader(limit=5).coverage(texts, "query: ").cut == 0


def test_without_a_limit_no_text_is_cut() -> None:
    assert reader().coverage(["oak " * 10_000]) == Coverage(1)


@pytest.mark.parametrize(
    ("text", "is_unknown"),
    [
        ("oak elm", False),
        ("oak yew", False),  # half of the characters is not most of them
        ("oak yews", True),
        ("oak \U0001f600", False),
        ("\U0001f600", True),
        ("\u200b", True),  # the tokenizer drops it
        (" \n", False),  # it says nothing, of which nothing is lost
        ("", False),
    ],
)
def test_a_text_is_unknown_where_most_of_its_characters_are(text: str, is_unknown: bool) -> None:
    for prompt in ["", "query: ", "\U0001f600 "]:
        assert reader().coverage([text], prompt).unknown == is_unknown


def test_texts_are_counted_in_every_batch() -> None:
    texts = ["oak elm"] * 1500 + ["\U0001f600"] + ["oak elm ash"] * 1500
    assert reader(limit=2).coverage(texts) == Coverage(3001, cut=1500, unknown=1, limit=2)


def test_the_settings_of_the_encoders_tokenizer_do_not_change() -> None:
    tokenizer = word_level()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=2)
    copy = TextReader(tokenizer, 2, frozenset())
    assert copy.coverage(["oak elm ash"]).cut == 1
    assert len(tokenizer.encode("oak elm ash")) == 2
    assert len(tokenizer.encode("oak")) == 2


@pytest.mark.parametrize("bytes_too", [False, True])
def test_bytes_that_spell_a_character_may_count_as_unknown(bytes_too: bool) -> None:
    spelled = {f"<0x{byte:02X}>": byte + 1 for byte in range(256)}
    vocabulary = {"<unk>": 0, **spelled, "a": 257}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    unknown = unknown_tokens(tokenizer, bytes_too)
    found = TextReader(tokenizer, None, unknown).coverage(["\U0001f600", "a\n", "a"])
    assert found.unknown == bytes_too


def test_the_unknown_token_of_a_unigram_model_is_found() -> None:
    tokenizer = Tokenizer(models.Unigram([("oak", -1.0), ("<unk>", 0.0)], unk_id=1))
    assert unknown_tokens(tokenizer, bytes_too=False) == {1}
    without = Tokenizer(models.Unigram([("oak", -1.0)]))
    assert unknown_tokens(without, bytes_too=False) == frozenset()


def test_a_few_texts_are_counted_without_a_warning() -> None:
    assert Coverage(100, cut=5, unknown=2, limit=256).counts(Role.DOCUMENT) == {
        "documents are longer than the 256 tokens that the encoder reads; it ignores the rest": 5,
        "documents are written mostly in characters that the encoder does not know": 2,
    }
    assert Coverage(100, limit=256).counts(Role.DOCUMENT) == {}


def test_many_texts_are_counted_with_a_warning_and_advice() -> None:
    counts = Coverage(1200, cut=1000, unknown=90, limit=256).counts(Role.QUERY)
    cut, unknown = counts
    assert list(counts.values()) == [1000, 90]
    assert cut.startswith("of 1,200 queries are longer than the 256 tokens")
    assert "Warning: this is 83%. Shorten long queries, or choose an encoder" in cut
    assert unknown.startswith("of 1,200 queries are written mostly in characters")
    assert "Warning: this is 8%." in unknown
    assert "multilingual" in unknown


def test_a_warning_of_a_call_does_not_depend_on_the_count() -> None:
    few, many = Coverage(10, 1, 1, 256), Coverage(900, 800, 700, 256)
    assert few.warnings(Role.DOCUMENT) == many.warnings(Role.DOCUMENT)
    cut, unknown = few.warnings(Role.QUERY)
    assert cut.startswith("The query is longer than the 256 tokens that the encoder reads")
    assert unknown.startswith("The query is written mostly in characters that the encoder does")
    assert Coverage(10).warnings(Role.QUERY) == []
