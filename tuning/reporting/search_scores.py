"""scores.json of a search: NDCG@10 of every test query by every system."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quantum_rerank.evaluation import Comparison, compare
from quantum_rerank.regular_files import read_json
from tuning.reporting.summary import SCORES

_Value = Annotated[float, Field(allow_inf_nan=False)]


class RoleScores(BaseModel):
    """Scores on the test queries of one role.

    Attributes:
        domains: Query -> domain.
        systems: System -> query -> NDCG@10.
    """

    domains: dict[str, str]
    systems: dict[str, dict[str, _Value]]

    def mean(self, system: str) -> float:
        """Return the mean over domains of the mean over their queries; 0 without queries."""
        by_domain: dict[str, list[float]] = {}
        for query, value in self.systems[system].items():
            by_domain.setdefault(self.domains.get(query, ""), []).append(value)
        means = [sum(values) / len(values) for values in by_domain.values()]
        return sum(means) / max(len(means), 1)


class SearchScores(BaseModel):
    """Content of scores.json.

    Attributes:
        winner: Name of the winner among the systems.
        roles: Role of test queries -> scores.
    """

    model_config = ConfigDict(strict=True)

    winner: str
    roles: dict[str, RoleScores]

    def of_winner(self, role: str) -> Mapping[str, float]:
        """Return query -> NDCG@10 of the winner; empty where it was not scored."""
        return self.roles[role].systems.get(self.winner, {}) if role in self.roles else {}

    def comparisons(self) -> dict[str, dict[str, Comparison]]:
        """Return role -> system -> winner minus system, paired over queries."""
        found: dict[str, dict[str, Comparison]] = {}
        for role, of_role in self.roles.items():
            others = {n: s for n, s in of_role.systems.items() if n != self.winner}
            if not self.of_winner(role) or not others:
                continue
            with suppress(ValueError, KeyError):  # queries without a domain, or none in common
                found[role] = {
                    name: compare(self.of_winner(role), scores, of_role.domains)
                    for name, scores in others.items()
                }
        return found


def read_scores(folder: Path) -> SearchScores | None:
    """Return the scores of a finished search; None where there are none that can be read."""
    try:
        return SearchScores.model_validate(read_json(folder / SCORES))
    except (OSError, ValueError, ValidationError):
        return None
