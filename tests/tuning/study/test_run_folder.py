from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.errors import DataError, OutputError, QuantumRerankError
from quantum_rerank.training.trial_data import PreparedData
from tuning.space import SchedulerConfig, Space
from tuning.space.file import load_space
from tuning.study.run_folder import (
    RECORD,
    load_study,
    open_study,
    read_record,
    recorded_run,
    recorded_space,
    refuse_other_data,
    write_record,
)
from tuning.study.storage import STUDY

SPACES = Path(__file__).parents[3] / "search_spaces"


# The record.


def test_the_record_tells_what_is_searched_on_which_data(
    tiny_space: Space, prepared: PreparedData, tmp_path: Path
) -> None:
    write_record(tiny_space, prepared, tmp_path)
    record = read_record(tmp_path)
    assert record["space"]["budget"]["trials"] == 6
    assert list(record["parameters"]) == list(tiny_space.parameters)
    assert record["parameters"]["loss.margin"]["when"] == {"loss.name": ["triplet"]}
    assert record["base"]["circuit"]["n_qubits"] == 2
    assert record["data_fingerprint"] == prepared.fingerprint
    assert record["splits"]["beir:park"]["test"] == list(prepared.splits["beir:park"]["test"])


def test_two_runs_of_the_same_space_are_told_apart(
    tiny_space: Space, prepared: PreparedData, tmp_path: Path
) -> None:
    runs = set()
    for _ in range(2):
        write_record(tiny_space, prepared, tmp_path)
        runs.add(recorded_run(read_record(tmp_path)))
    assert len(runs) == 2


def test_other_vectors_than_those_of_the_record_are_refused(
    tiny_space: Space, prepared: PreparedData, tmp_path: Path
) -> None:
    write_record(tiny_space, prepared, tmp_path)
    record = read_record(tmp_path)
    refuse_other_data(record, prepared, tmp_path)
    others = replace(prepared, encoder_fingerprint="npy:others")
    with pytest.raises(DataError, match="The vectors of the data have changed since"):
        refuse_other_data(record, others, tmp_path)
    # A version that knew no vectors wrote none: its runs go on.
    del record["encoder_fingerprint"]
    refuse_other_data(record, others, tmp_path)


def test_the_space_of_a_run_comes_back(
    tiny_space: Space, prepared: PreparedData, tmp_path: Path
) -> None:
    scheduler = SchedulerConfig(name="hyperband", brackets=2)
    header = tiny_space.header.model_copy(update={"scheduler": scheduler, "fixed": {"seed": 3}})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    write_record(space, prepared, tmp_path)
    again = recorded_space(read_record(tmp_path))
    assert again == space
    assert list(again.parameters) == list(space.parameters)


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_space_of_ours_comes_back_from_its_record(
    path: Path, prepared: PreparedData, tmp_path: Path
) -> None:
    space = load_space(path)
    write_record(space, prepared, tmp_path)
    again = recorded_space(read_record(tmp_path))
    assert again == space
    assert again.start_points() == space.start_points()


def test_a_record_replaces_the_one_before_it_as_a_whole(
    tiny_space: Space, prepared: PreparedData, tmp_path: Path
) -> None:
    (tmp_path / RECORD).write_text('{"spa')
    write_record(tiny_space, prepared, tmp_path)
    assert recorded_space(read_record(tmp_path)) == tiny_space
    assert [path.name for path in tmp_path.glob(f"{RECORD}*")] == [RECORD]


def test_a_folder_without_a_record_holds_no_run(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"holds no run: there is no run\.json in it"):
        read_record(tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"space": {', b"\xff\xfe", b"7", b'"text"'])
def test_a_record_that_was_cut_off_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(OutputError, match=f"`{tmp_path / RECORD}` is damaged"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"space": {}},
        {"parameters": {"loss.margin": {"type": "float"}}},
        {"parameters": {"loss.margin": {"type": "gaussian", "low": 0.0, "high": 1.0}}},
        {"base": {"circuit": {"n_qubit": 2}}},
        {"space": None},
    ],
)
def test_a_record_of_another_version_is_refused_in_words(
    tiny_space: Space, prepared: PreparedData, tmp_path: Path, change: dict[str, Any]
) -> None:
    write_record(tiny_space, prepared, tmp_path)
    with pytest.raises(QuantumRerankError, match=r"damaged, or of another|not a known key"):
        recorded_space(read_record(tmp_path) | change)


@pytest.mark.parametrize("missing", ["space", "parameters", "base", "data_fingerprint"])
def test_a_record_that_lacks_something_is_refused_in_words(
    tiny_space: Space, prepared: PreparedData, tmp_path: Path, missing: str
) -> None:
    write_record(tiny_space, prepared, tmp_path)
    record = read_record(tmp_path)
    del record[missing]
    (tmp_path / RECORD).write_text(json.dumps(record))
    with pytest.raises(OutputError, match=f"{RECORD}` is damaged, or of another.*{missing}"):
        read_record(tmp_path)


# The study.


def test_a_study_is_made_once_and_then_opened(tmp_path: Path) -> None:
    open_study(tmp_path, "tiny").ask()
    assert len(open_study(tmp_path, "tiny").get_trials()) == 1
    found = load_study(tmp_path)
    assert (found.study_name, found.direction.name) == ("tiny", "MAXIMIZE")


@pytest.mark.parametrize("content", [None, "other.txt"])
def test_a_folder_without_a_study_is_refused_in_words(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / content).write_text("something else")
    with pytest.raises(OutputError, match=r"holds no run: there is no study\.db in it"):
        load_study(tmp_path)
    assert not (tmp_path / STUDY).exists()


@pytest.mark.parametrize("content", [b"", b"no database at all"])
def test_a_study_file_that_holds_no_study_is_refused_in_words(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / STUDY).write_bytes(content)
    with pytest.raises(OutputError):
        load_study(tmp_path)


def test_a_record_is_plain_json(tiny_space: Space, prepared: PreparedData, tmp_path: Path) -> None:
    write_record(tiny_space, prepared, tmp_path)
    text = (tmp_path / RECORD).read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == read_record(tmp_path)
