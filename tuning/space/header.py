"""Sections of a space file beside its parameters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from quantum_rerank.config import Section
from quantum_rerank.registry import name_of
from tuning.space.registries import SAMPLERS, SCHEDULERS

Factor = Annotated[float, Field(gt=0.0)]


class Objective(Section):
    """Objective to maximise: the validation score of a trial's best epoch."""

    metric: Literal["ndcg@10", "mrr@10", "map"] = "ndcg@10"
    mode: Literal["max"] = "max"
    cost: Literal["parameters", "latency"] | None = Field(
        None, description="a cost that is minimised beside it: see `tuning.workers.cost`"
    )

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """As Optuna names them: of the score, and of the cost where there is one."""
        return ["maximize", "minimize"] if self.cost else ["maximize"]


class Budget(Section):
    """Budget of a search."""

    trials: int = Field(ge=1, le=1_000_000)
    epochs: int = Field(ge=1, le=1_000_000, description="of each trial, at most")
    hours: float = Field(24.0, gt=0.0, description="of the whole search")
    trial_memory_gb: float = Field(8.0, gt=0.0, description="memory of each trial")
    trial_hours: float | None = Field(None, gt=0.0, description="of each trial")
    epoch_minutes: float | None = Field(None, gt=0.0, description="of each epoch: ends what hangs")
    core_hours: float | None = Field(None, gt=0.0, description="of all trials together")
    retries: int = Field(3, ge=0, description="of a trial whose worker was lost")
    failures_in_a_row: int = Field(5, ge=1, description="for the same reason, then the search ends")


class SamplerConfig(Section):
    """Sampler, which proposes the next trial."""

    name: Annotated[str, name_of(SAMPLERS)] = "tpe"
    seed: int = Field(0, ge=0)
    startup_trials: int = Field(8, ge=0, description="drawn at random before TPE takes over")


class SchedulerConfig(Section):
    """Scheduler, which stops weak trials."""

    name: Annotated[str, name_of(SCHEDULERS)] = "asha"
    grace_period: int = Field(3, ge=1)
    reduction_factor: float = Field(3.0, ge=1.1)
    brackets: int = Field(3, ge=1, description="of hyperband")
    population: int = Field(
        8, ge=2, le=10_000, description="of pbt: members at work, clones in their places"
    )
    interval_epochs: int = Field(3, ge=1, description="of pbt: between two comparisons")
    quantile: float = Field(0.25, gt=0.0, le=0.5, description="of pbt: share replaced by clones")
    resample_probability: float = Field(0.25, ge=0.0, le=1.0, description="of pbt: or else moved")
    factors: tuple[Factor, ...] = Field((0.8, 1.2), min_length=1, description="of pbt: moved by")

    def share(self, n_members: int) -> int:
        """Return how many of some members are in the lowest, or the highest, quantile."""
        return int(n_members * self.quantile + 1e-9)

    @property
    def n_donors(self) -> int:
        """Members of a population whose weights are kept at an epoch.

        >>> SchedulerConfig(population=8, quantile=0.25).n_donors
        2
        """
        return max(self.share(self.population), 1)


class Header(Section):
    """All of a space file but its parameters."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)
    base: str
    data: dict[str, Any] = Field(default_factory=dict)
    fixed: dict[str, Any] = Field(
        default_factory=dict, description="dotted keys that differ from the base in every trial"
    )
    objective: Objective = Objective()
    budget: Budget
    sampler: SamplerConfig = SamplerConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    start_from: list[dict[str, Any]] = Field(default_factory=list)
    top_k: int = Field(
        3, ge=1, le=1000, description="trials that are confirmed, then scored on test"
    )
    confirm_seeds: int = Field(
        5, ge=0, le=1000, description="fresh seeds on which each of them is trained"
    )
