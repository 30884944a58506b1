"""Configurations and search spaces by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from quantum_rerank.config import load_config
from quantum_rerank.errors import ConfigError
from quantum_rerank.presets import CONFIGS, SPACES, preset_or_file
from tuning.space.file import load_space

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_configuration_can_be_named(name: str) -> None:
    file = preset_or_file(Path(name), CONFIGS)
    assert load_config(file) == load_config(ROOT / "configs" / file.name)


@pytest.mark.parametrize("name", SPACES)
def test_every_space_can_be_named(name: str) -> None:
    file = preset_or_file(Path(name), SPACES)
    assert load_space(file, {}) == load_space(ROOT / "search_spaces" / file.name, {})


@pytest.mark.parametrize(("presets", "folder"), [(CONFIGS, "configs"), (SPACES, "search_spaces")])
def test_every_file_that_stands_alone_has_a_name(presets: Mapping[str, Path], folder: str) -> None:
    parts = {"optimizer_config.yaml", "data_config.yaml"}  # of training_config.yaml
    files = {path.name for path in (ROOT / folder).glob("*.yaml")} - parts
    assert {path.name for path in presets.values()} == files


def test_a_file_comes_before_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert preset_or_file(Path("tuned"), CONFIGS) != Path("tuned")
    Path("tuned").touch()
    assert preset_or_file(Path("tuned"), CONFIGS) == Path("tuned")


@pytest.mark.parametrize("path", ["a.yaml", "missing/tuned", "x" * 300])
def test_what_cannot_be_a_preset_is_a_path(path: str) -> None:
    assert preset_or_file(Path(path), CONFIGS) == Path(path)


def test_an_unknown_name_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(ConfigError, match="`tunde` is neither a file nor one of `tuned`"):
        preset_or_file(Path("tunde"), CONFIGS)
