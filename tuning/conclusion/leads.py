"""Lead of the winner over the cosine on validation and on test queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from quantum_rerank.evaluation.roles import TEST, UNSEEN_TEST
from quantum_rerank.plural import counted

_ROLES = {TEST: "on test queries", UNSEEN_TEST: "on test queries of unseen domains"}


@dataclass(frozen=True)
class Leads:
    """Lead of the winner over the cosine, which shrinks from the queries that chose it to others.

    Attributes:
        validation: On the validation queries of the search.
        divisions: On those of further divisions, after a new training on each.
        test: Role of test queries -> lead.
    """

    validation: float
    divisions: tuple[float, ...]
    test: Mapping[str, float]

    def __str__(self) -> str:
        """Return the leads in words.

        >>> print(Leads(0.02, (0.01, 0.02), {"test": 0.005}))
        Lead over the cosine: +0.0200 on the validation queries of the search, +0.0150 over 2 \
further divisions, +0.0050 on test queries.
        """
        parts = [f"{self.validation:+.4f} on the validation queries of the search"]
        if self.divisions:
            n = counted(len(self.divisions), "further division")
            parts.append(f"{fmean(self.divisions):+.4f} over {n}")
        parts += [
            f"{self.test[role]:+.4f} {words}" for role, words in _ROLES.items() if role in self.test
        ]
        return f"Lead over the cosine: {', '.join(parts)}."
