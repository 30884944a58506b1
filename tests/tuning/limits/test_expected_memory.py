from __future__ import annotations

from dataclasses import dataclass

import pytest

from quantum_rerank.config import ExperimentConfig, override
from tuning.limits.concurrency import GIB
from tuning.limits.expected_memory import ExpectedMemory, MemoryRoom, expected_gib, predicted_bytes
from tuning.records import PEAK_RSS_MB, TrialEnd, TrialOutcome
from tuning.space import Space

LIMIT = 8 * GIB
CONFIG = ExperimentConfig()


def expected_of(predicted: int = GIB, limit: int = LIMIT) -> ExpectedMemory:
    return ExpectedMemory(lambda config: predicted, limit)


def run(expected: ExpectedMemory, number: int, peak_gib: float) -> None:
    """Run a trial from its start to its end."""
    expected.trial_started(number, CONFIG)
    expected.trial_reported(number, 1, {PEAK_RSS_MB: peak_gib * 1024})
    expected.trial_ended(TrialEnd(number, TrialOutcome.COMPLETE, 1, 0.5))


@pytest.mark.parametrize(
    "larger",
    [
        {"mlp.hidden_layers": [4096, 1024]},
        {"circuit.n_qubits": 12},
        {"model": "low_rank_bilinear", "linear.rank": 4096},
    ],
)
def test_larger_models_are_predicted_to_use_more(larger: dict[str, object]) -> None:
    base = override(CONFIG, {"model": larger.get("model", "hybrid")})
    assert predicted_bytes(override(CONFIG, larger), 384, 1000) > predicted_bytes(base, 384, 1000)


def test_a_prediction_has_a_margin_until_a_trial_was_measured() -> None:
    expected = expected_of()
    assert expected.of(CONFIG) == 1.25 * GIB
    run(expected, 0, peak_gib=0.5)
    assert expected.of(CONFIG) == pytest.approx(0.55 * GIB)


def test_the_larger_of_the_measured_trials_count() -> None:
    expected = expected_of()
    for number in range(20):
        run(expected, number, peak_gib=0.5 if number % 2 else 2.0)
    assert expected.of(CONFIG) == pytest.approx(2.2 * GIB)


def test_trials_of_long_ago_no_longer_count() -> None:
    expected = expected_of()
    run(expected, 0, peak_gib=4.0)
    for number in range(1, 40):
        run(expected, number, peak_gib=0.5)
    assert expected.of(CONFIG) == pytest.approx(0.55 * GIB)


def test_no_trial_is_expected_to_use_more_than_its_limit() -> None:
    expected = expected_of(predicted=9 * GIB)
    assert expected.of(CONFIG) == expected.of_next(CONFIG) == LIMIT


def test_a_trial_without_a_report_corrects_nothing() -> None:
    expected = expected_of()
    expected.trial_started(0, CONFIG)
    expected.trial_ended(TrialEnd(0, TrialOutcome.FAILED, 0, None))
    assert expected.of(CONFIG) == 1.25 * GIB
    assert expected.n_running == 0


def test_running_trials_are_expected_to_grow_to_their_expectation() -> None:
    expected = expected_of()
    expected.trial_started(0, CONFIG)
    expected.trial_started(1, CONFIG)
    assert expected.outstanding() == 2.5 * GIB
    expected.trial_reported(0, 1, {PEAK_RSS_MB: 1024.0})
    assert expected.outstanding() == 1.5 * GIB
    expected.trial_reported(1, 1, {PEAK_RSS_MB: 3 * 1024.0})
    assert expected.outstanding() == 0.25 * GIB


def test_the_next_trial_counts_as_one_of_the_larger_of_the_latest() -> None:
    sizes = iter([GIB, GIB, 3 * GIB])
    expected = ExpectedMemory(lambda config: next(sizes, 10 * GIB), 100 * GIB)
    for number in range(3):
        expected.trial_started(number, CONFIG)
    assert GIB < expected.of_next(CONFIG) <= 3 * 1.25 * GIB


def test_before_the_first_trial_the_largest_start_point_counts(tiny_space: Space) -> None:
    large = {"mlp.hidden_layers.0": 64}
    points = [{}, {key: value for key, value in large.items() if key in tiny_space.parameters}]
    header = tiny_space.header.model_copy(update={"start_from": points[:1]})
    alone = expected_gib(Space(header, tiny_space.base, tiny_space.parameters), 384)
    assert alone == pytest.approx(1.25 * predicted_bytes(tiny_space.base, 384) / GIB, rel=0.1)


@dataclass
class Machine:
    """Machine with a clock, and memory that is set by hand."""

    free: float = 20.0 * GIB
    now: float = 0.0

    def available(self) -> float:
        return self.free

    def clock(self) -> float:
        return self.now


def room_of(expected: ExpectedMemory, machine: Machine) -> MemoryRoom:
    return MemoryRoom(expected, CONFIG, machine.available, machine.clock)


def test_the_only_trial_always_has_room() -> None:
    machine = Machine()
    room = room_of(expected_of(), machine)
    machine.free = 0.0
    assert room.has_room()


def test_a_further_trial_has_room_while_memory_is_left_after_the_expectations() -> None:
    machine, expected = Machine(), expected_of()
    room = room_of(expected, machine)  # keeps 2 GiB free
    expected.trial_started(0, CONFIG)
    for free, has_room in ((4.6, True), (4.4, False)):  # 2 and twice 1.25 GiB
        machine.free = free * GIB
        assert room.has_room() == has_room


def test_one_trial_at_a_time_is_to_end_while_memory_is_low() -> None:
    machine, expected = Machine(), expected_of()
    room = room_of(expected, machine)
    for number in range(3):
        expected.trial_started(number, CONFIG)
    assert not room.should_relieve()
    machine.free = 1.9 * GIB
    assert not room.should_relieve()  # it was looked at a moment ago
    machine.now = 0.5
    assert room.should_relieve()
    assert not room.should_relieve()  # its memory is not free yet
    machine.now = 6.0
    assert room.should_relieve()
    expected.trial_ended(TrialEnd(1, TrialOutcome.FAILED, 0, None))
    expected.trial_ended(TrialEnd(2, TrialOutcome.FAILED, 0, None))
    machine.now = 12.0
    assert not room.should_relieve()  # the last one keeps what it has


def test_a_small_machine_keeps_less_free() -> None:
    machine, expected = Machine(free=4.0 * GIB), expected_of()
    room = room_of(expected, machine)
    for number in range(2):
        expected.trial_started(number, CONFIG)
    machine.free = 0.5 * GIB
    assert not room.should_relieve()
    machine.now, machine.free = 1.0, 0.3 * GIB
    assert room.should_relieve()
