from __future__ import annotations

import math
from pathlib import Path

import pytest

from quantum_rerank.embeddings.memory import available_memory, require_room
from quantum_rerank.errors import EmbeddingError


def test_vectors_that_do_not_fit_are_refused_with_both_numbers_and_advice() -> None:
    # 10 million x 384 x 4 bytes x 3 copies = 46.08 GB.
    with pytest.raises(EmbeddingError) as caught:
        require_room(10_000_000, 384, "beir:web corpus", available=16_000_000_000)
    message = str(caught.value)
    assert message.startswith("beir:web corpus: the vectors of 10,000,000 texts, 384 numbers each")
    assert "46.1 GB" in message
    assert "16.0 GB of memory are free" in message
    assert "npy:FOLDER" in message


def test_vectors_that_just_fit_are_not_refused() -> None:
    require_room(10, 4, "trees", available=480)
    with pytest.raises(EmbeddingError):
        require_room(10, 4, "trees", available=479)


def test_this_machine_has_room_for_a_few_texts() -> None:
    require_room(1000, 384, "trees")


@pytest.mark.parametrize(
    ("limit", "expected"), [("max", 2_048_000), ("1000000", 600_000), ("9000000", 2_048_000)]
)
def test_a_container_may_have_less_left_than_its_machine(
    tmp_path: Path, limit: str, expected: int
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    2000 kB\n")
    assert available_memory(tmp_path) == 2_048_000
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{limit}\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text("400000\n")
    assert available_memory(tmp_path) == expected


def test_an_unknown_memory_is_unlimited(tmp_path: Path) -> None:
    assert available_memory(tmp_path) == math.inf
