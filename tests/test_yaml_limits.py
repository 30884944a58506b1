from __future__ import annotations

import os
from pathlib import Path

import pytest

from quantum_rerank.errors import ConfigError
from quantum_rerank.yaml_limits import MAX_BYTES, MAX_DEPTH, MAX_NODES
from quantum_rerank.yaml_source import load_yaml, shown


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def bomb(levels: int) -> str:
    """Return a file of a few lines that stands for 10**levels values."""
    lines = ["a0: &a0 [" + ", ".join("x" * 10) + "]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [" + ", ".join([f"*a{level - 1}"] * 10) + "]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        (bomb(9), 4, "more than 4,000 values"),
        ("a: 1\nb: [" + "1," * MAX_NODES + "1]", 2, "more than 4,000 values"),
        ("a: 1\nb: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH, 2, "more than 32 levels"),
        ("a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20, 2, "32 levels"),
        ("a: 1\nb: &b [*b]", 2, "`*b` stands within `&b`"),
        ("a: 1\nb: &b {c: *b}", 2, "`*b` stands within `&b`"),
        ("a: 1\nb: !x [1]", 2, "the tag `!x` is not supported"),
        ("a: 1\nb: !!python/object/apply:os.system [x]", 2, "is not supported"),
        ("a: 1\nb: !!binary aGk=", 2, "is not supported"),
        ("a: 1\nb: 0x" + "f" * 5000, 2, "at most 100 digits"),
        ("a: 1\nb: " + "9" * 5000, 2, "at most 100 digits"),
    ],
    ids=[
        "aliases of aliases",
        "many values",
        "deep",
        "deep through an alias",
        "list in itself",
        "mapping in itself",
        "tag",
        "Python object",
        "binary",
        "long hexadecimal number",
        "long number",
    ],
)
def test_a_file_beyond_a_limit_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, rule: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load_yaml(path)
    assert str(refused.value).startswith(f"{path}, line {line}: ")
    assert rule in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_at_the_limits_is_read(tmp_path: Path) -> None:
    n_leaves = MAX_NODES - MAX_DEPTH - 2
    nested = "[" * (MAX_DEPTH - 2) + "1" + "]" * (MAX_DEPTH - 2)
    text = f"a: {nested}\nb: [{', '.join(['1'] * (n_leaves - 4))}]\n"
    text += "#" * (MAX_BYTES - len(text))
    values = load_yaml(write(tmp_path, text)).values
    assert len(values["b"]) == n_leaves - 4


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1\n#" + "x" * MAX_BYTES)
    with pytest.raises(ConfigError, match="more than 262,144 bytes"):
        load_yaml(path)


def test_a_pipe_a_device_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    pipe, device = tmp_path / "pipe.yaml", tmp_path / "zero.yaml"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path in (pipe, device, tmp_path):
        with pytest.raises(ConfigError, match="is no regular file"):
            load_yaml(path)


def test_a_mapping_with_merged_values_alone_is_read(tmp_path: Path) -> None:
    source = load_yaml(write(tmp_path, "a: &base {x: 1}\nb: {<<: *base}\n"))
    assert source.values["b"] == {"x": 1}


def test_a_control_character_is_reported_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: \x1b[2J\n")
    with pytest.raises(ConfigError) as refused:
        load_yaml(path)
    assert "\n" not in str(refused.value)
    assert "unacceptable character #x001b" in str(refused.value)


def test_a_long_value_is_shortened_in_messages() -> None:
    text = shown(list(range(10_000)))
    assert len(text) < 250
    assert text.startswith("[0, 1")
    assert text.endswith("9999]")
