"""Sections of a space file beside its parameters."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from quantum_rerank.config import Section
from quantum_rerank.registry import name_of
from tuning.space.registries import SAMPLERS, SCHEDULERS

Factor = Annotated[float, Field(gt=0.0)]


def rung_epochs(max_epochs: int, grace: int, reduction: float) -> list[int]:
    """Return the epochs of the rungs: the powers of the reduction that fit, the first included.

    Args:
        max_epochs: Epochs of a trial.
        grace: First rung.
        reduction: Factor between two rungs.
    """
    n_rungs = int(math.log(max_epochs / grace) / math.log(reduction) + 1e-9) + 1
    return [round(grace * reduction**k) for k in range(n_rungs)]


class Objective(Section):
    """Objective to maximise: the validation score of a trial's best epoch."""

    metric: Literal["ndcg@10", "mrr@10", "map"] = Field(
        "ndcg@10", description="validation metric, of the best epoch of a trial"
    )
    mode: Literal["max"] = Field("max", description="direction: the metric is maximised")
    cost: Literal["parameters", "latency"] | None = Field(
        None,
        description="second objective, minimised: the number of trained parameters, or the "
        "milliseconds of a query with 100 candidates",
    )

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Optuna's directions: of the score and, if there is one, of the cost."""
        return ["maximize", "minimize"] if self.cost else ["maximize"]


class Budget(Section):
    """Budget of a search."""

    trials: int = Field(ge=1, le=1_000_000, description="number of trials")
    epochs: int = Field(ge=1, le=1_000_000, description="largest number of epochs of a trial")
    hours: float = Field(24.0, gt=0.0, description="hours of the search, after which it ends")
    trial_memory_gb: float = Field(
        8.0, gt=0.0, description="GiB of memory of a trial; a trial that uses more fails"
    )
    trial_hours: float | None = Field(
        None, gt=0.0, description="hours of a trial, after which it fails"
    )
    epoch_minutes: float | None = Field(
        None, gt=0.0, description="minutes of an epoch, after which the trial fails as hanging"
    )
    core_hours: float | None = Field(
        None,
        gt=0.0,
        description="core-hours of all trainings together, after which the search ends",
    )
    retries: int = Field(
        3, ge=0, description="restarts of a trial whose worker was lost, or that gave way to others"
    )
    failures_in_a_row: int = Field(
        5, ge=1, description="consecutive trials with the same failure after which the search ends"
    )
    early_end: bool = Field(
        True,
        description="no further trial is proposed once the rest are expected to add less to the "
        "objective than the standard error of a comparison",
    )


class SamplerConfig(Section):
    """Sampler, which proposes the next trial."""

    name: Annotated[str, name_of(SAMPLERS)] = Field(
        "tpe", description="sampler, see [Samplers](search-spaces.md#samplers)"
    )
    seed: int = Field(0, ge=0, description="seed of the sampler")
    startup_trials: int = Field(
        8,
        ge=0,
        description="random trials before tpe, gp or cmaes uses the results; trials that the "
        "scheduler median compares with at least",
    )


class Guess(Section):
    """Guess of a parameter's best value, which the sampler `prior` draws near to."""

    center: bool | int | float | str = Field(description="value that is guessed to be best")
    width: float = Field(
        0.2,
        gt=0.0,
        le=1.0,
        description="standard deviation of a number around it, as a share of its range",
    )
    keep: float = Field(
        0.7, ge=0.0, le=1.0, description="probability that a choice is the guessed one"
    )


class SchedulerConfig(Section):
    """Scheduler, which stops weak trials."""

    name: Annotated[str, name_of(SCHEDULERS)] = Field(
        "asha", description="scheduler, see [Schedulers](search-spaces.md#schedulers)"
    )
    grace_period: int = Field(
        3, ge=1, description="epochs before a trial may be stopped; not used by pbt"
    )
    reduction_factor: float = Field(
        3.0, ge=1.1, description="asha and hyperband: the best 1 / factor continue at each rung"
    )
    brackets: int = Field(3, ge=1, description="hyperband: number of brackets")
    population: int = Field(8, ge=2, le=10_000, description="pbt: members that train side by side")
    interval_epochs: int = Field(3, ge=1, description="pbt: epochs between two comparisons")
    quantile: float = Field(
        0.25,
        gt=0.0,
        le=0.5,
        description="pbt: share of the members that is replaced by clones of the best ones",
    )
    resample_probability: float = Field(
        0.25,
        ge=0.0,
        le=1.0,
        description="pbt: probability that a clone draws a parameter again instead of changing it "
        "by a factor",
    )
    factors: tuple[Factor, ...] = Field(
        (0.8, 1.2), min_length=1, description="pbt: factors by which a clone changes a parameter"
    )

    def rungs(self, max_epochs: int) -> list[int]:
        """Return the epochs of the rungs of asha, and of the first bracket of hyperband.

        Args:
            max_epochs: Epochs of a trial.

        >>> SchedulerConfig(grace_period=4, reduction_factor=3).rungs(max_epochs=20)
        [4, 12]
        """
        return rung_epochs(max_epochs, min(self.grace_period, max_epochs), self.reduction_factor)

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

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        max_length=100,
        description="name of the search, of its folder and of its W&B group",
    )
    base: str = Field(
        description="configuration file for all values that are not searched, relative to this file"
    )
    data: dict[str, Any] = Field(
        default_factory=dict, description="keys of the section `data`, without the prefix"
    )
    fixed: dict[str, Any] = Field(
        default_factory=dict, description="dotted keys that replace the base's in every trial"
    )
    objective: Objective = Objective()
    budget: Budget
    sampler: SamplerConfig = SamplerConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    start_from: list[dict[str, Any]] = Field(
        default_factory=list,
        description="first trials, each a mapping of dotted keys that replace the base's",
    )
    prior: dict[str, Guess] = Field(
        default_factory=dict,
        description="guesses of the best values, parameter by parameter, for the sampler `prior`",
    )
    top_k: int = Field(
        3, ge=1, le=1000, description="best trials that are confirmed on fresh seeds"
    )
    confirm_seeds: int = Field(5, ge=0, le=1000, description="fresh seeds at most")
