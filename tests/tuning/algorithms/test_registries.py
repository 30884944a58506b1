"""Samplers and schedulers from outside of the package, by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import BaseSampler, RandomSampler
from pydantic import ValidationError

from tuning.algorithms.ray_searcher import OptunaSearcher, TrialPolicy
from tuning.algorithms.rules import Rule, make_rule
from tuning.algorithms.samplers import make_sampler
from tuning.records import EPOCH, FINAL, OBJECTIVE, Listener
from tuning.space import SAMPLERS, SCHEDULERS, SamplerConfig, SchedulerConfig, Space
from tuning.study.run_folder import load_study, open_study
from tuning.study.view import StudyView


class LowestSampler(RandomSampler):
    """Sampler that proposes the lowest value of every parameter."""

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        choices = getattr(distribution, "choices", None)
        return choices[0] if choices else distribution.low


class FirstEpochOnly:
    """Rule that stops every trial at its first epoch."""

    def stops(self, trial: int, epoch: int, value: float) -> bool:
        return True


def lowest(space: Space, seed: int) -> BaseSampler:
    return LowestSampler(seed=seed)


def first_epoch_only(space: Space, view: Callable[[], StudyView]) -> Rule:
    return FirstEpochOnly()


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    SAMPLERS.register("lowest", lowest)
    SCHEDULERS.register("first_epoch_only", first_epoch_only)
    yield
    SAMPLERS.unregister("lowest")
    SCHEDULERS.unregister("first_epoch_only")


def space_with(space: Space, **sections: Any) -> Space:
    header = space.header.model_copy(update={"start_from": [], **sections})
    return Space(header, space.base, space.parameters)


def test_a_sampler_from_outside_proposes_the_trials_of_a_search(
    tmp_path: Path, tiny_space: Space
) -> None:
    space = space_with(tiny_space, sampler=SamplerConfig(name="lowest"))
    study = open_study(tmp_path, space.header.name)
    searcher = OptunaSearcher(space, study, 2, Listener(), lambda: None, TrialPolicy())
    for name in "ab":
        searcher.suggest(name)
        searcher.on_trial_complete(name, {EPOCH: 1, OBJECTIVE: 0.5, FINAL: True})
    expected = {
        "loss.name": "triplet",
        "loss.margin": 0.1,
        "optimizer.mlp_lr": 1e-4,
        "circuit.n_qubits": 2,
    }
    assert [trial.params for trial in load_study(tmp_path).trials] == [expected] * 2


def test_a_scheduler_from_outside_stops_trials(tiny_space: Space) -> None:
    space = space_with(tiny_space, scheduler=SchedulerConfig(name="first_epoch_only"))
    assert make_rule(space, lambda: StudyView([])).stops(0, 1, 0.9)


@pytest.mark.parametrize("section", [SamplerConfig, SchedulerConfig])
def test_a_name_that_is_not_registered_is_refused_with_the_known_ones(section: Any) -> None:
    with pytest.raises(ValidationError, match=r"must be one of '(tpe|asha)'"):
        section(name="unknown")


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_every_registered_sampler_can_be_made(name: str, tiny_space: Space) -> None:
    parameters = {key: p for key, p in tiny_space.parameters.items() if key == "circuit.n_qubits"}
    header = tiny_space.header.model_copy(update={"sampler": SamplerConfig(name=name)})
    sampler = make_sampler(Space(header, tiny_space.base, parameters), 0)
    assert isinstance(sampler, BaseSampler)
