"""A search over recorded trainings delivers what its conclusion chooses, and counts all seconds."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.anchors import Anchor, run_asked
from benchmarks.curves import SPACE
from benchmarks.recordings import N_SPLITS, Recording, configurations
from benchmarks.replay import Recorded, Replay, Setting, run_way
from benchmarks.simulation import Ended, Training
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
    delivered = run_way(way, Setting(small, 2, {}), one, split=1, seed=0)
    assert delivered.number == 1
    assert delivered.test == pytest.approx(max(one[1, 1].objective))
    assert delivered == run_way(way, Setting(small, 2, {}), one, split=1, seed=0)


class Stand:
    """Stand-in of another library's searcher: each configuration is asked for twice."""

    def __init__(self, params: list[Params]) -> None:
        self._params = params
        self.reports: list[tuple[int, int, float, bool]] = []
        self._n = 0

    def ask(self) -> tuple[int, Params, int]:
        number, self._n = self._n, self._n + 1
        return number, self._params[number // 2 % len(self._params)], (4, EPOCHS)[number % 2]

    def report(self, number: int, epoch: int, objective: float, *, is_last: bool) -> bool:
        self.reports.append((number, epoch, objective, is_last))
        return not is_last


def test_a_configuration_that_is_asked_for_again_goes_on_where_it_was() -> None:
    training = Training([0.1 * epoch for epoch in range(EPOCHS)], [1.0] * EPOCHS)
    params: list[Params] = [{"a": 1}, {"a": 2}, {"a": 3}]
    stand = Stand(params)
    ended = run_asked(stand, lambda _: training, n_configurations=2, workers=1)  # type: ignore[arg-type]
    assert [one.params for one in ended] == params[:2]
    assert [(one.epochs, one.seconds, one.to_its_end) for one in ended] == [(12, 12.0, True)] * 2
    assert [report[:2] for report in stand.reports] == [(0, 4), (1, 12), (2, 4), (3, 12)]
    assert ended[-1].at == 24.0  # no epoch is trained twice


def test_an_anchor_answers_line_by_line(space: Space, tmp_path: Path) -> None:
    server = tmp_path / "python"
    server.write_text(
        f"""#!{sys.executable}
import json, sys
setup = json.loads(sys.stdin.readline())
for line in sys.stdin:
    call = json.loads(line)
    if call["call"] == "ask":
        print(json.dumps({{"number": 0, "config": setup["points"][0], "epochs": 4}}), flush=True)
    else:
        print(json.dumps(call["objective"] > 0.5), flush=True)
"""
    )
    server.chmod(0o755)
    with Anchor("cqr", server, space, seed=0) as anchor:
        number, params, epochs = anchor.ask()
        assert (number, params, epochs) == (0, space.start_points()[0], 4)
        assert [anchor.report(0, 1, value, is_last=False) for value in (0.4, 0.6)] == [False, True]


def test_an_anchor_that_has_ended_is_named(space: Space) -> None:
    with (
        Anchor("cqr", Path("/bin/true"), space, seed=0) as anchor,
        pytest.raises(RuntimeError, match="/bin/true"),
    ):
        anchor.ask()
