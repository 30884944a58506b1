"""Reading of configuration files and overrides; all mistakes are reported at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from quantum_rerank.config.dotted import apply_overrides, config_keys, section_of
from quantum_rerank.config.experiment import ExperimentConfig
from quantum_rerank.errors import ConfigError
from quantum_rerank.paths import expanded
from quantum_rerank.yaml_source import Location, YamlSource, load_yaml, nearest, shown

_MAX_FILES = 100  # read for one configuration, each inclusion counted
_MAX_INCLUDE_DEPTH = 10
_UNSEEN = ("unseen_validation", "unseen_test")


def load_config(
    path: Path | None,
    overrides: Mapping[str, Any] | None = None,
    places: Mapping[str, str] | None = None,
) -> ExperimentConfig:
    """Read a configuration file, its includes and the overrides given by dotted keys.

    A file, or the overrides, that set `data.seen` without an unseen list make that list empty:
    the unseen collections of an included file belong to other training collections.

    Args:
        path: The file; None for the defaults alone.
        overrides: Values by dotted keys.
        places: Dotted key of an override -> the place where it was written, for the errors.

    Raises:
        ConfigError: Every mistake of every file, each with file and line.
    """
    sources: list[YamlSource] = []
    for source in _with_includes(path, ()) if path else ():
        sources.append(source)
        if len(sources) > _MAX_FILES:
            raise ConfigError(f"`{path}` includes more than {_MAX_FILES} files. Include fewer.")
    values = ExperimentConfig().model_dump(mode="json")
    for source in sources:
        values = _merge(values, _naming_all(source.values))
    values.pop("include", None)
    overridden = {key: (places or {}).get(key, "given as an override") for key in overrides or {}}
    changes = dict(overrides or {})
    if "data.seen" in changes:
        changes = {f"data.{key}": [] for key in _UNSEEN} | changes
    return build_config(apply_overrides(values, changes), sources, overridden)


def _naming_all(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a file's values; if it names `seen`, missing unseen lists are empty."""
    data = values.get("data")
    if not isinstance(data, Mapping) or "seen" not in data:
        return values
    return {**values, "data": {**{key: [] for key in _UNSEEN}, **data}}


def build_config(
    values: Mapping[str, Any],
    sources: Sequence[YamlSource] = (),
    overridden: Mapping[str, str] | None = None,
) -> ExperimentConfig:
    """Check plain values against the schema.

    Args:
        values: Nested plain values.
        sources: Files that the values come from, for the errors.
        overridden: Dotted key of a value from no file -> its place, for the errors.

    Raises:
        ConfigError: Every mistake, each with its place.
    """
    try:
        return ExperimentConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(describe(error, ExperimentConfig, sources, overridden)) from None


def override(config: ExperimentConfig, overrides: Mapping[str, Any]) -> ExperimentConfig:
    """Return `config` with some values replaced, checked as a file would be.

    >>> override(ExperimentConfig(), {"circuit.n_qubits": 5}).circuit.n_qubits
    5
    """
    return build_config(apply_overrides(config.model_dump(mode="json"), overrides))


def parse_override(text: str) -> tuple[str, Any]:
    """Read `KEY=VALUE` as given on a command line, the value as YAML.

    >>> parse_override("mlp.hidden_layers=[64]")
    ('mlp.hidden_layers', [64])
    """
    from ruamel.yaml import YAML

    key, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"`{text}` must have the form KEY=VALUE.")
    if key not in config_keys():
        raise ConfigError(f"`{key}` is not a known key. {nearest(key, config_keys())}")
    try:
        return key, YAML(typ="safe", pure=True).load(value)
    except Exception:  # ruamel's errors, and Python's for a month 13 or an int of letters
        raise ConfigError(f"`{text}`: the value is not valid YAML.") from None


def describe(
    error: ValidationError,
    model: type[BaseModel],
    sources: Sequence[YamlSource],
    overridden: Mapping[str, str] | None = None,
) -> list[str]:
    """Turn pydantic's findings into sentences: value, rule, place and the nearest valid key.

    Args:
        error: The findings.
        model: The schema that was checked.
        sources: Files that the values come from.
        overridden: Dotted key of a value from no file -> its place.
    """
    findings = error.errors()
    unknown = {_key(finding) for finding in findings if finding["type"] == "extra_forbidden"}

    def is_dotted_elsewhere(finding: Any) -> bool:
        """Return whether a missing key was written as a dotted one, which is reported already."""
        key = _key(finding)
        is_there = any(name == key or name.startswith(f"{key}.") for name in unknown)
        return finding["type"] == "missing" and is_there

    return [
        _sentence(finding, model, sources, overridden or {})
        for finding in findings
        if not is_dotted_elsewhere(finding)
    ]


def _key(finding: Any) -> str:
    return ".".join(str(part) for part in finding["loc"])


def _sentence(
    finding: Any,
    model: type[BaseModel],
    sources: Sequence[YamlSource],
    overridden: Mapping[str, str],
) -> str:
    location: Location = finding["loc"]
    key = _key(finding)
    place = _place(location, sources, overridden)
    if finding["type"] == "extra_forbidden":
        parent = _section_at(model, location[:-1])
        return f"`{key}` is not a known key{place}. {_right_key(str(location[-1]), parent)}"
    if finding["type"] == "missing":
        return f"`{key}` is missing{place}, but is required."
    rule = finding["msg"].replace("Input should be", "must be", 1).replace("valid tuple", "list")
    if finding["type"] == "model_type":
        rule = "must be a section of keys and values"
    if not rule.startswith("must be"):
        rule = f"is refused: {rule}"
    hint = finding.get("ctx", {}).get("hint", "")
    name = f"`{key}`" if key else "The configuration"
    return f"{name} is {shown(finding['input'])}, but {rule}{place}. {hint}".rstrip()


def _right_key(written: str, parent: type[BaseModel]) -> str:
    """Suggest the right key for an unknown one; for a dotted key in a file, a nested section."""
    section, *below = written.split(".")
    if below and written in config_keys(parent):
        nested = f"{below[-1]}: ..."
        for key in reversed([section, *below[:-1]]):
            nested = f"{key}: {{{nested}}}"
        return f"Keys are nested here: write `{nested}`."
    return nearest(written, list(parent.model_fields))


def _place(location: Location, sources: Sequence[YamlSource], overridden: Mapping[str, str]) -> str:
    """Return the place of a value: its override, or the last file with it or its parent."""
    above = [location[:length] for length in range(len(location), 0, -1)]
    for part in above:
        if override_place := overridden.get(".".join(str(step) for step in part)):
            return f" ({override_place})"
        for source in reversed(sources):
            if part in source.lines:
                return f" ({source.at(part)})"
    return f" ({sources[-1].at(())})" if sources else ""


def _section_at(model: type[BaseModel], location: Location) -> type[BaseModel]:
    """Return the section at a location, whose fields are the valid keys there."""
    for part in location:
        field = model.model_fields.get(str(part))
        section = section_of(field.annotation) if field else None
        if section is None:
            break
        model = section
    return model


def _with_includes(path: Path, seen: tuple[Path, ...]) -> Iterator[YamlSource]:
    """Yield the included files first, so that the including file has the last word."""
    source = load_yaml(path)
    included = source.values.get("include", [])
    if not isinstance(included, list):
        raise ConfigError(f"`include` must be a list of files ({source.at(('include',))}).")
    for name in included:
        child = source.path.parent / expanded(str(name))
        if len(seen) >= _MAX_INCLUDE_DEPTH:
            depth = f"more than {_MAX_INCLUDE_DEPTH} files deep"
            raise ConfigError(f"`include` goes {depth} ({source.at(('include',))}). Include fewer.")
        if child.resolve() in (*seen, source.path.resolve()):
            raise ConfigError(f"`{child}` includes itself ({source.at(('include',))}).")
        yield from _with_includes(child, (*seen, source.path.resolve()))
    yield source


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged
