"""A search over recorded trainings delivers what its conclusion chooses, and counts all seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.curves import SPACE
from benchmarks.recordings import N_SPLITS, Recording, configurations
from benchmarks.replay import Recorded, Replay, run_way
from benchmarks.simulation import Ended
from tuning.space import Params, Space
from tuning.space.file import load_space

N_QUERIES, EPOCHS = 50, 12
SHARED_BY = (1, 4)  # configurations with the same model, so that they have one warm-up


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space(SPACE, {})


@pytest.fixture(scope="module")
def drawn(space: Space) -> list[tuple[str, Params]]:
    """Return the start points, two near configurations and three random ones."""
    chosen = configurations(space, n_near=2, n_random=3)
    tuned = chosen[SHARED_BY[0]][1]
    chosen[SHARED_BY[1]] = ("near", {**tuned, "optimizer.mlp_lr": 0.002})
    return chosen


def recording(drawn: list[tuple[str, Params]], number: int, split: int, level: float) -> Recording:
    """Return a training that rises to a level, noisily from query to query."""
    rng = np.random.default_rng(100 * number + split)
    queries = np.clip(level + 0.1 * rng.normal(size=N_QUERIES), 0.0, 1.0).round(2)
    objective = [level - 0.1 / epoch for epoch in range(1, EPOCHS + 1)]
    scores = {"validation": list(queries), "test": list(queries)}
    return Recording(
        number=number,
        split=split,
        source=drawn[number][0],
        params=drawn[number][1],
        objective=objective,
        test={epoch: objective[epoch - 1] for epoch in range(1, EPOCHS + 1)},
        seconds=[3.0 if split == 1 else 1.0, *[1.0] * (EPOCHS - 1)],
        per_query=dict.fromkeys((1, 4, 12), scores),
    )


def recorded(space: Space, drawn: list[tuple[str, Params]], levels: dict[int, float]) -> Recorded:
    numbers = range(len(drawn))
    return Recorded(
        space,
        [
            recording(drawn, number, split, levels.get(number, 0.3))
            for number in numbers
            for split in range(1, N_SPLITS + 1)
        ],
    )


def ended(recorded: Recorded, number: int) -> Ended:
    params = recorded[number, 1].params
    objective = max(recorded[number, 1].objective)
    return Ended(number, params, EPOCHS, objective, True, float(EPOCHS), 0.0)


def test_a_recording_is_read_back(space: Space, drawn: list[tuple[str, Params]]) -> None:
    one = recording(drawn, 1, 2, 0.5)
    read = Recording.from_line(one.line())
    assert replace(read, per_query={}) == replace(one, per_query={})
    for epoch, roles in one.per_query.items():
        for role, scores in roles.items():
            assert read.per_query[epoch][role] == pytest.approx(scores, abs=0.0026)


def test_each_configuration_is_the_nearest_to_itself(
    space: Space, drawn: list[tuple[str, Params]]
) -> None:
    one = recorded(space, drawn, {})
    assert [one.nearest(params) for _, params in drawn] == list(range(len(drawn)))
    moved = {**drawn[5][1], "optimizer.mlp_lr": drawn[5][1]["optimizer.mlp_lr"] * 1.01}
    assert one.nearest(moved) == 5


def test_a_shared_warm_up_is_paid_once(space: Space, drawn: list[tuple[str, Params]]) -> None:
    one = recorded(space, drawn, {})
    first, second = SHARED_BY
    for shares, expected in ((True, 1.0), (False, 3.0)):
        replay = Replay(one, split=2, shares=shares)
        assert replay.seconds(first, 2)[0] == pytest.approx(3.0)
        assert replay.seconds(second, 2)[0] == pytest.approx(expected)
        assert replay.seconds(0, 2)[0] == pytest.approx(3.0)  # another model


@pytest.mark.parametrize(("level", "winner"), [(0.505, 1), (0.6, 5)])
def test_only_a_distinguishable_trial_replaces_the_start_point(
    space: Space, drawn: list[tuple[str, Params]], level: float, winner: int
) -> None:
    one = recorded(space, drawn, {1: 0.5, 5: level})
    delivered = Replay(one, split=1, shares=True).conclude([ended(one, n) for n in range(6)])
    assert delivered.number == winner
    assert delivered.test == max(one[winner, 1].objective)
    assert delivered.core_seconds > 6 * EPOCHS  # the conclusion counts


@pytest.mark.parametrize("way", ["tuned", "random", "plain", "tpe", "prior"])
def test_every_way_delivers_a_recorded_model(
    space: Space, drawn: list[tuple[str, Params]], way: str
) -> None:
    one = recorded(space, drawn, {1: 0.5})
    small = replace(
        space,
        header=space.header.model_copy(
            update={"budget": space.header.budget.model_copy(update={"trials": 6})}
        ),
    )
    delivered = run_way(way, small, one, split=1, seed=0, workers=2)
    assert delivered.number == 1
    assert delivered.test == pytest.approx(max(one[1, 1].objective))
    assert delivered == run_way(way, small, one, split=1, seed=0, workers=2)
