"""Configurations and search spaces that are installed with the package, by name.

`configs` and `search_spaces` link to the folders of the checkout; an installed package has copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from quantum_rerank.errors import ConfigError
from quantum_rerank.paths import expanded

_FOLDER = Path(__file__).parent
CONFIGS: Mapping[str, Path] = {
    "tuned": _FOLDER / "configs" / "tuned_config.yaml",
    "tuned_twin": _FOLDER / "configs" / "tuned_twin.yaml",
    "discriminant": _FOLDER / "configs" / "discriminant.yaml",
    "default": _FOLDER / "configs" / "training_config.yaml",
}
SPACES: Mapping[str, Path] = {
    name: _FOLDER / "search_spaces" / f"{name}.yaml"
    for name in ("default", "smoke", "icd10", "icd10_twin")
}


def preset_or_file(path: Path, presets: Mapping[str, Path]) -> Path:
    """Return the file that is named, either by its path or as a preset.

    Args:
        path: Path of a file, or the name of a preset. A file of the same name comes first.
        presets: Name -> file.

    Raises:
        ConfigError: There is no such file, and no such preset.

    >>> preset_or_file(Path("tuned"), CONFIGS).name
    'tuned_config.yaml'
    """
    if path.suffix or len(path.parts) > 1 or _may_exist(path):
        return path
    if str(path) not in presets:
        names = ", ".join(f"`{name}`" for name in presets)
        raise ConfigError(f"`{path}` is neither a file nor one of {names}.")
    return presets[str(path)]


def _may_exist(path: Path) -> bool:
    """Return whether a file exists, True where that cannot be known: its reader says why."""
    try:
        return expanded(path).exists()
    except OSError:
        return True
