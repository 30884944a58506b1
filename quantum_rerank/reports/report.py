"""Report on finished trainings and searches: its tables, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from quantum_rerank.reports.runs import Group, SearchRun
from quantum_rerank.reports.tables import (
    Paired,
    TextOf,
    paired,
    paired_table,
    runs_table,
    search_table,
    seeds_table,
    targets_table,
    worst_table,
)
from quantum_rerank.reports.tabular import Tabular


@dataclass(frozen=True)
class Report:
    """Tables of a report.

    Attributes:
        groups: Groups of trainings.
        pairs: Name of a group -> role of queries -> differences between models.
        overview: Table of the trainings; none without trainings.
        by_group: Name of a group -> its tables.
        searches: A table per search.
    """

    groups: Sequence[Group]
    pairs: Mapping[str, Mapping[str, Sequence[Paired]]]
    overview: Sequence[Tabular]
    by_group: Mapping[str, Sequence[Tabular]]
    searches: Sequence[Tabular]

    @classmethod
    def of(
        cls,
        groups: Sequence[Group],
        searches: Sequence[SearchRun],
        text_of: TextOf | None,
        n_worst: int,
    ) -> Report:
        """Return the report of trainings and searches.

        Args:
            groups: Groups of trainings.
            searches: Finished searches.
            text_of: Texts of a query; None leaves the worst queries out.
            n_worst: Number of the worst queries.
        """
        pairs = {
            group.name: {role: paired(group, role) for role in group.roles} for group in groups
        }
        by_group: dict[str, list[Tabular]] = {}
        for group in groups:
            tables = [seeds_table(group), targets_table(group)]
            tables += [paired_table(group, *by_role) for by_role in pairs[group.name].items()]
            if text_of:
                tables += [worst_table(group, role, text_of, n_worst) for role in group.roles]
            by_group[group.name] = tables
        return cls(
            groups=groups,
            pairs=pairs,
            overview=[runs_table(groups)] if groups else [],
            by_group=by_group,
            searches=[search_table(search) for search in searches],
        )

    def tables(self) -> Iterator[Tabular]:
        """Yield all tables in the order of the report."""
        yield from chain(self.overview, *self.by_group.values(), self.searches)
