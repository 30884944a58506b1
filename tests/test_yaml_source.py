from __future__ import annotations

from pathlib import Path

import pytest

from quantum_rerank.errors import ConfigError
from quantum_rerank.yaml_source import load_yaml, nearest


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_value_has_its_line(tmp_path: Path) -> None:
    source = load_yaml(write(tmp_path, "# a comment\nloss:\n  name: triplet\nsizes:\n- 8\n- 4\n"))
    assert source.lines == {
        ("loss",): 2,
        ("loss", "name"): 3,
        ("sizes",): 4,
        ("sizes", 0): 5,
        ("sizes", 1): 6,
    }


def test_a_missing_key_has_the_line_of_its_nearest_parent(tmp_path: Path) -> None:
    source = load_yaml(write(tmp_path, "seed: 1\nloss:\n  name: triplet\n"))
    assert source.at(("loss", "margin")) == f"{source.path}, line 2"
    assert source.at(("circuit", "n_qubits")) == f"{source.path}, line 1"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("0.5", 0.5),
        ("7", 7),
        ("true", True),
        ("'7'", "7"),
        ("", None),
        ("[1, 2]", [1, 2]),
        ("{deep: {x: 1.5}}", {"deep": {"x": 1.5}}),
    ],
)
def test_values_are_plain_python_objects(tmp_path: Path, text: str, value: object) -> None:
    read = load_yaml(write(tmp_path, f"key: {text}\n")).values["key"]
    assert read == value
    assert type(read) is type(value)


def test_a_merged_mapping_is_read_like_a_written_one(tmp_path: Path) -> None:
    source = load_yaml(write(tmp_path, "a: &base\n  x: 1\nb:\n  <<: *base\n  y: 2\n"))
    assert source.values["b"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed: 1\nloss: [a\n", 3),
        ("seed: 1\nseed: 2\n", 2),
        ("- 1\n- 2\n", 1),
        ("", 1),
        ("seed: 1\nname:\n  day: 2020-13-45\n", 3),
        ("seed: 1\nsizes:\n- 1\n- !!int foo\n", 4),
        ("seed: !!bool maybe\n", 1),
        ("a: 1\nseed: 0x_\n", 2),
        ("a: 1\nb: !!set x\n", 2),
    ],
    ids=[
        "open list",
        "key twice",
        "no mapping",
        "empty",
        "no month 13",
        "no number",
        "neither true nor false",
        "no digits",
        "no set",
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(path)
    assert f"{path}, line {line}" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml` does not exist"):
        load_yaml(tmp_path / "nowhere.yaml")


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(path)


def test_a_misspelt_key_gets_a_suggestion_and_an_unknown_key_the_list() -> None:
    assert nearest("marign", ["margin", "name"]) == "Did you mean `margin`?"
    assert nearest("colour", ["name", "margin"]) == "Valid keys: margin, name."
