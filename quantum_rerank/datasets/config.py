"""The configuration of the data: collections, splits, columns and the encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from quantum_rerank.datasets.text_files import is_encodable
from quantum_rerank.section import Section

HOW_EMBEDDED = ("device", "encoder_batch_size", "show_progress_bar")
"""Keys that decide how texts are embedded, but not what their vectors mean."""


class ColumnsConfig(Section):
    """Names of a table's columns, for the sources csv, parquet, triplets and datasets.

    A table has either a query, a document and a label, or a query, its positive documents and
    its negative ones. As long as `query` is the default, a column `anchor` is read as well.
    """

    query: str = Field("query", min_length=1)
    document: str = Field("document", min_length=1)
    label: str = Field("label", min_length=1)
    positive: str = Field("positive", min_length=1)
    negative: str = Field("negative", min_length=1)


class DataConfig(Section):
    """Collections, their split by query, and the encoder of their texts.

    `seen` collections are split into train, validation and test queries. The
    domains in `unseen_validation` and `unseen_test` are never trained on.
    """

    seen: tuple[str, ...] = Field(("icd10:5", "icd10:9"), min_length=1)
    unseen_validation: tuple[str, ...] = ("icd10:7", "icd10:8")
    unseen_test: tuple[str, ...] = ("icd10:3",)
    validation_split: float = Field(0.2, gt=0.0, lt=1.0)
    test_split: float = Field(0.2, gt=0.0, lt=1.0)
    split_seed: int = Field(13, ge=0)
    validation_seed: int | None = Field(None, ge=0)
    train_queries: int | None = Field(None, ge=1)
    train_queries_seed: int = Field(13, ge=0)
    cut_validation: bool = False
    candidates: int = Field(100, ge=2)
    candidates_from: Literal["cosine", "bm25", "union"] = "cosine"
    ignore_identical: Literal["auto", "id", "text", "none"] = "auto"
    judge_copies_alike: bool = False
    lexical: Literal["none", "words", "stems", "ngrams", "stems+ngrams"] = "none"
    language: str = "english"
    encoder: str = Field("minilm", min_length=1)
    columns: ColumnsConfig = ColumnsConfig()
    separator: Literal["auto", "comma", "semicolon", "tab", "pipe"] = "auto"
    quoting: Literal["auto", "double", "none"] = "auto"
    max_unmatched_judgments: float = Field(0.05, ge=0.0, le=1.0)
    query_prompt: str | None = None
    document_prompt: str | None = None
    device: str = Field("cpu", min_length=1)
    encoder_batch_size: int = Field(32, ge=1)
    show_progress_bar: bool = True

    @model_validator(mode="after")
    def _check_candidates(self) -> Self:
        if self.candidates_from != "cosine" and self.lexical == "none":
            rule = "`candidates_from: {source}` needs BM25: set `lexical`, as to `stems+ngrams`"
            raise PydanticCustomError("candidates", rule, {"source": self.candidates_from})
        return self

    @field_validator("language")
    @classmethod
    def _check_language(cls, language: str) -> str:
        from quantum_rerank.lexical.terms import languages

        if language not in languages():
            rule = "must be a language with a stemmer: {names}"
            raise PydanticCustomError("language", rule, {"names": ", ".join(languages())})
        return language

    @field_validator("query_prompt", "document_prompt", mode="before")
    @classmethod
    def _check_prompt(cls, prompt: Any, info: ValidationInfo) -> Any:
        if isinstance(prompt, Mapping):
            raise PydanticCustomError(
                "prompt", "must be a text: put it in quotes, or YAML takes `query: ` for a key"
            )
        if isinstance(prompt, str) and not is_encodable(prompt):
            raise PydanticCustomError("prompt", "must be a text: it has half a surrogate pair")
        if prompt and str(info.data.get("encoder", "")).startswith("npy:"):
            raise PydanticCustomError(
                "prompt", "must be null where `data.encoder` is npy:, whose vectors are ready"
            )
        return prompt
