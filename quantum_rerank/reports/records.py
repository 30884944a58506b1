"""Types and relations of the records of finished runs, checked before tables are made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from quantum_rerank.config import build_config
from quantum_rerank.errors import BundleError, ConfigError
from quantum_rerank.evaluation import NDCG
from quantum_rerank.evaluation.targets import TargetResult
from quantum_rerank.records import first_mistake

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Metrics = dict[str, _Number]


class _Record(BaseModel):
    """Record of which only the named values are checked."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Training(_Record):
    config: dict[str, Any]
    objective: _Metrics
    history: dict[str, list[dict[str, Any]]]
    per_query: dict[str, dict[str, dict[str, _Metrics]]]
    splits: dict[str, dict[str, list[str]]]
    best_epoch: dict[str, int]
    fusion_weight: _Metrics
    targets: list[TargetResult]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        configured = build_config(self.config).model
        for name in ("objective", "history", "best_epoch", "fusion_weight"):
            if configured not in getattr(self, name):
                raise ValueError(f"`{name}` has no `{configured}`")
        test = {
            f"{domain}/{query}"
            for domain, roles in self.splits.items()
            for query in roles.get("test", ())
        }
        if not all("test" in roles for roles in self.splits.values()):
            raise ValueError("`splits` has a domain without `test`")
        for role, models in self.per_query.items():
            if models.keys() != self.objective.keys():
                raise ValueError(f"`per_query.{role}` has other models than `objective`")
            queries = {frozenset(scores.get(NDCG, {})) for scores in models.values()}
            if len(queries) != 1 or not all(len(ids) > 0 and ids <= test for ids in queries):
                raise ValueError(f"`per_query.{role}` has other queries than `splits`")
        return self


class _System(_Record):
    number: int = -1
    test: _Metrics = {NDCG: 0.0}
    unseen_test: _Metrics = {NDCG: 0.0}

    @model_validator(mode="after")
    def _have_the_metric(self) -> Self:
        if NDCG not in self.test or NDCG not in self.unseen_test:
            raise ValueError(f"a system has no {NDCG}")
        return self


class _Numbered(_System):
    number: int


class _Confirmed(_Record):
    number: int
    values: list[_Number]
    mean: _Number = 0.0
    std: _Number = 0.0


class _Search(_Record):
    name: str = ""
    baselines: dict[str, _System] = {}
    tested: list[_Numbered]
    confirmed: list[_Confirmed] = []
    default_config: _Numbered | None = None


def require_training_record(record: Mapping[str, Any], name: str) -> None:
    """Check the record of a training.

    Args:
        record: Content of `metrics.json`.
        name: File, for the message.

    Raises:
        BundleError: A value is missing, has another type, or contradicts the others.
    """
    _require(_Training, record, name)


def require_search_record(record: Mapping[str, Any], name: str) -> None:
    """Check the record of a search.

    Args:
        record: Content of `summary.json`.
        name: File, for the message.

    Raises:
        BundleError: A value is missing or has another type.
    """
    _require(_Search, record, name)


def _require(kind: type[_Record], record: Mapping[str, Any], name: str) -> None:
    try:
        # As JSON, of which a dataclass is an object and a tuple a list even if types are strict.
        kind.model_validate_json(json.dumps(record))
    except ConfigError as error:
        raise BundleError(f"`{name}` was altered: {error.problems[0]}") from None
    except ValidationError as error:
        raise BundleError(f"`{name}` was altered: {first_mistake(error)}.") from None
