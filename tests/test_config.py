from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from quantum_rerank.circuits import ENGINES
from quantum_rerank.circuits.choice import fastest_engine
from quantum_rerank.config import (
    ExperimentConfig,
    Plain,
    apply_overrides,
    build_config,
    config_keys,
    flat,
    load_config,
    override,
    parse_columns,
    parse_override,
)
from quantum_rerank.errors import ConfigError
from quantum_rerank.yaml_source import load_yaml

CONFIGS = Path(__file__).parents[1] / "configs"
DEFAULTS = ExperimentConfig().model_dump(mode="json")


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, lists kept whole."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        found |= leaves(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def written() -> dict[str, Any]:
    """Every value of the default configuration, with its includes."""
    found: dict[str, Any] = {}
    for name in ("data_config", "optimizer_config", "training_config"):
        found |= leaves(load_yaml(CONFIGS / f"{name}.yaml").values)
    found.pop("include")
    return found


def test_every_number_of_the_files_is_the_schema_default() -> None:
    values, defaults = written(), leaves(DEFAULTS)
    for key in config_keys():
        assert values[key] == defaults[key]


def test_the_files_write_no_key_that_the_schema_does_not_have() -> None:
    assert set(written()) == set(config_keys())


def test_the_training_file_loads_as_the_defaults() -> None:
    assert load_config(CONFIGS / "training_config.yaml") == ExperimentConfig()


def test_no_file_at_all_loads_as_the_defaults() -> None:
    assert load_config(None) == ExperimentConfig()


SEEN = ["csv:clicks.csv"]


def collections(config: ExperimentConfig) -> tuple[list[str], list[str], list[str]]:
    data = config.data
    return list(data.seen), list(data.unseen_validation), list(data.unseen_test)


def test_a_file_that_names_only_what_is_trained_on_has_no_unseen_collections(
    tmp_path: Path,
) -> None:
    own = write(tmp_path, "own.yaml", f"data: {{seen: {SEEN}}}\n")
    assert collections(load_config(own)) == (SEEN, [], [])
    including = f"include: ['{CONFIGS}/training_config.yaml']\ndata: {{seen: {SEEN}}}\n"
    assert collections(load_config(write(tmp_path, "below.yaml", including))) == (SEEN, [], [])
    # One that names none of them changes nothing in what it includes.
    above = write(tmp_path, "above.yaml", "include: [own.yaml]\ndata: {unseen_test: ['icd10:3']}\n")
    assert collections(load_config(above)) == (SEEN, [], ["icd10:3"])


def test_overrides_that_name_only_what_is_trained_on_leave_no_unseen_collections() -> None:
    path = CONFIGS / "training_config.yaml"
    named = {"data.seen": SEEN}
    assert collections(load_config(path, named)) == (SEEN, [], [])
    both = {"data.unseen_test": ["icd10:8"], **named}
    assert collections(load_config(path, both)) == (SEEN, [], ["icd10:8"])
    others = {"data.unseen_test": ["icd10:8"]}
    seen, unseen_validation, _ = collections(ExperimentConfig())
    assert collections(load_config(path, others)) == (seen, unseen_validation, ["icd10:8"])


def test_an_unknown_key_names_the_nearest_with_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, "run.yaml", "seed: 1\ncircuit:\n  n_qubit: 5\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.problems == (
        f"`circuit.n_qubit` is not a known key ({path}, line 3). Did you mean `n_qubits`?",
    )


def test_mistakes_in_several_files_are_all_shown_at_once(tmp_path: Path) -> None:
    below = write(tmp_path, "below.yaml", "optimizer:\n  mlp_lr: 3.0\n  colour: red\n")
    path = write(
        tmp_path,
        "run.yaml",
        "include: [below.yaml]\nmodel: quantum\nmlp:\n  hidden_layers: [64, 0]\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    problems = sorted(caught.value.problems)
    assert len(problems) == 4
    expected = [
        ("`mlp.hidden_layers.1` is 0", f"{path}, line 4"),
        ("`model` is 'quantum'", f"{path}, line 2"),
        ("`optimizer.colour` is not a known key", f"{below}, line 3"),
        ("`optimizer.mlp_lr` is 3.0", f"{below}, line 2"),
    ]
    for problem, (what, where) in zip(problems, expected, strict=True):
        assert what in problem
        assert where in problem


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("circuit.n_qubits", 1),
        ("circuit.n_qubits", 13),
        ("circuit.n_qubits", 4.5),
        ("circuit.n_layers", 0),
        ("circuit.engine", "abacus"),
        ("circuit.precision", "float16"),
        ("circuit.threads", 0),
        ("circuit.threads", 257),
        ("mlp.dropout", 1.0),
        ("mlp.hidden_layers", [8] * 7),
        ("fusion.initial_weight", 0.0),
        ("fusion.initial_weight", 1.0),
        ("loss.temperature", 0.0),
        ("loss.margin", -0.1),
        ("loss.name", "tripled"),
        ("optimizer.mlp_lr", float("nan")),
        ("optimizer.mlp_lr", 0.0),
        ("optimizer.circuit_schedule", "cosin"),
        ("training.batch_size", 0),
        ("training.early_stopping_patience", 0),
        ("data.seen", []),
        ("data.test_split", 1.0),
        ("data.candidates", 1),
        ("seed", -1),
        ("seed", 2**63),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_name_and_value(key: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        override(ExperimentConfig(), {key: value})
    (problem,) = caught.value.problems
    assert f"`{key}` is {value!r}" in problem


def test_the_including_file_has_the_last_word(tmp_path: Path) -> None:
    write(tmp_path, "below.yaml", "seed: 1\nloss:\n  margin: 0.1\n  temperature: 0.3\n")
    path = write(tmp_path, "run.yaml", "include: [below.yaml]\nloss:\n  margin: 0.2\n")
    config = load_config(path)
    assert (config.seed, config.loss.margin, config.loss.temperature) == (1, 0.2, 0.3)


def test_includes_are_found_beside_the_file_that_names_them(tmp_path: Path) -> None:
    write(tmp_path, "parts/seed.yaml", "seed: 3\n")
    write(tmp_path, "parts/all.yaml", "include: [seed.yaml]\n")
    path = write(tmp_path, "run.yaml", "include: [parts/all.yaml]\n")
    assert load_config(path).seed == 3


@pytest.mark.parametrize(("width", "rule"), [(2, "10 files deep"), (99, "more than 100 files")])
def test_includes_that_multiply_are_refused_at_once(tmp_path: Path, width: int, rule: str) -> None:
    depth = 24 if width == 2 else 3
    for level in range(depth):
        below = [f"{level + 1}.yaml"] * width
        write(tmp_path, f"{level}.yaml", f"include: [{', '.join(below)}]\n")
    write(tmp_path, f"{depth}.yaml", "seed: 1\n")
    with pytest.raises(ConfigError, match=rule):
        load_config(tmp_path / "0.yaml")


def test_an_include_that_is_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match=r"pipe\.yaml` is no regular file"):
        load_config(write(tmp_path, "run.yaml", "include: [pipe.yaml]\n"))


def test_an_include_that_is_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "run.yaml", "include: [gone.yaml]\n")
    with pytest.raises(ConfigError, match=r"gone\.yaml` does not exist"):
        load_config(path)


def test_an_include_that_is_no_list_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "run.yaml", "seed: 1\ninclude: other.yaml\n")
    with pytest.raises(ConfigError, match=r"must be a list of files .*line 2"):
        load_config(path)


@pytest.mark.parametrize("back", ["run.yaml", "../conf/run.yaml"])
def test_files_that_include_each_other_are_refused(tmp_path: Path, back: str) -> None:
    write(tmp_path, "conf/other.yaml", f"include: [{back}]\n")
    path = write(tmp_path, "conf/run.yaml", "include: [other.yaml]\n")
    with pytest.raises(ConfigError, match="includes itself"):
        load_config(path)


def test_an_override_wins_over_the_files(tmp_path: Path) -> None:
    path = write(tmp_path, "run.yaml", "circuit:\n  n_qubits: 3\n  n_layers: 2\n")
    circuit = load_config(path, {"circuit.n_qubits": 5}).circuit
    assert (circuit.n_qubits, circuit.n_layers) == (5, 2)


def test_a_refused_override_is_not_blamed_on_a_line_that_holds_another_value(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "run.yaml", "seed: 1\ncircuit:\n  n_qubits: 3\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"circuit.n_qubits": 99})
    assert "`circuit.n_qubits` is 99" in str(caught.value)
    assert "line 3" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"length": 1}, (256,)),
        ({"length": 4}, (256, 128, 128, 128)),
        ({"length": 0}, ()),
        ({"1": 64}, (256, 64)),
        ({"length": 3, "2": 64}, (256, 128, 64)),
        ({"2": 64, "length": 3}, (256, 128, 64)),
    ],
)
def test_a_list_is_cut_or_filled_with_its_last_element_before_it_is_set(
    overrides: dict[str, int], expected: tuple[int, ...]
) -> None:
    dotted = {f"mlp.hidden_layers.{key}": value for key, value in overrides.items()}
    assert override(ExperimentConfig(), dotted).mlp.hidden_layers == expected


@pytest.mark.parametrize(
    "key", ["mlp.hidden_layers.7", "mlp.hidden_layers.first", "seed.deeper", "circuit.nqubits"]
)
def test_an_override_of_something_that_is_not_there_is_a_config_error(key: str) -> None:
    with pytest.raises(ConfigError):
        override(ExperimentConfig(), {key: 1})


def test_overriding_leaves_the_given_values_alone() -> None:
    values = {"mlp": {"hidden_layers": [256, 128]}}
    apply_overrides(values, {"mlp.hidden_layers.0": 1, "mlp.dropout": 0.2})
    assert values == {"mlp": {"hidden_layers": [256, 128]}}


def test_a_value_set_by_its_dotted_key_stands_there() -> None:
    for key in config_keys():
        value = leaves(DEFAULTS)[key]
        assert leaves(apply_overrides({}, {key: value})) == {key: value}


def test_a_flat_configuration_overrides_any_other_into_itself() -> None:
    for layers in ([], [7], [256, 128], [8, 4, 2]):
        values = {"mlp.hidden_layers": layers, "model": "mlp_twin"}
        expected = override(ExperimentConfig(), values)
        for previous in ([], [7], [9, 9, 9, 9]):
            other = override(ExperimentConfig(), {"mlp.hidden_layers": previous, "seed": 1})
            assert override(other, flat(expected)) == expected


def test_a_flat_configuration_holds_plain_values_only() -> None:
    assert all(isinstance(value, Plain) for value in flat(ExperimentConfig()).values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed=3", ("seed", 3)),
        ("optimizer.mlp_lr=1e-4", ("optimizer.mlp_lr", 1e-4)),
        ("mlp.hidden_layers=[64, 32]", ("mlp.hidden_layers", [64, 32])),
        ("data.encoder=npy:a=b", ("data.encoder", "npy:a=b")),
    ],
)
def test_an_override_on_the_command_line_is_read_as_yaml(
    text: str, expected: tuple[str, object]
) -> None:
    assert parse_override(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("seed", "must have the form KEY=VALUE"),
        ("circuit.n_qubit=3", "Did you mean `circuit.n_qubits`"),
        ("seed=[1", "not valid YAML"),
        ("data.encoder=2020-13-45", "`data.encoder=2020-13-45`: the value is not valid YAML"),
        ("seed=!!int foo", "not valid YAML"),
        ("seed=!!bool maybe", "not valid YAML"),
    ],
)
def test_an_override_that_cannot_be_read_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_override(text)


def test_a_configuration_survives_being_written_and_read() -> None:
    changed = override(ExperimentConfig(), {"model": "mlp_twin", "mlp.hidden_layers": [7]})
    assert build_config(changed.model_dump(mode="json")) == changed


def test_a_configuration_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ExperimentConfig().circuit.n_qubits = 5  # type: ignore[misc]


@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
def test_every_engine_can_be_named(engine: str) -> None:
    assert override(ExperimentConfig(), {"circuit.engine": engine}).circuit.engine == engine


def test_auto_is_the_fastest_engine_for_the_circuit_and_a_batch_of_triplets() -> None:
    for batch_size in [1, 4, 32, 256]:
        for n_qubits in [2, 4, 8, 10, 12]:
            sizes = {"circuit.n_qubits": n_qubits, "training.batch_size": batch_size}
            auto = override(ExperimentConfig(), {"circuit.engine": "auto", **sizes})
            fastest = fastest_engine(n_qubits, 3 * batch_size)
            named = override(ExperimentConfig(), {"circuit.engine": fastest, **sizes})
            assert auto.resolved() == named
            assert auto.resolved().resolved() == named
            # The configuration itself is left as it was written.
            assert auto.circuit.engine == "auto"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_named_engine_needs_no_resolving(engine: str) -> None:
    config = override(ExperimentConfig(), {"circuit.engine": engine})
    assert config.resolved() is config


@pytest.mark.parametrize("engine", ["statevector", "auto"])
def test_threads_are_for_an_engine_that_has_them(engine: str) -> None:
    config = override(ExperimentConfig(), {"circuit.engine": engine, "circuit.threads": 4})
    assert config.circuit.threads == 4


@pytest.mark.parametrize("engine", ["lightning.qubit", "torch", "qnode"])
def test_threads_of_an_engine_without_them_are_refused(tmp_path: Path, engine: str) -> None:
    path = write(tmp_path, "run.yaml", f"circuit:\n  engine: {engine}\n  threads: 4\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.problems == (
        f"`circuit.threads` is 4, but must be 1 where `circuit.engine` is {engine}, which runs on "
        f"one thread ({path}, line 3).",
    )


@pytest.mark.parametrize("key", ["schedule", "circuit_schedule"])
def test_a_warm_up_before_a_schedule_that_rises_by_itself_is_refused(key: str) -> None:
    rising = {f"optimizer.{key}": "one_cycle"}
    assert override(ExperimentConfig(), rising)
    with pytest.raises(
        ConfigError, match=r"`optimizer.linear_warmup_epochs` is 2.0, .* of its own"
    ):
        override(ExperimentConfig(), rising | {"optimizer.linear_warmup_epochs": 2.0})


@pytest.mark.parametrize("n_qubits", [4, 12])
def test_auto_with_threads_resolves_whichever_engine_is_the_fastest(n_qubits: int) -> None:
    wanted = {"circuit.engine": "auto", "circuit.threads": 4, "circuit.n_qubits": n_qubits}
    circuit = override(ExperimentConfig(), wanted).resolved().circuit
    assert circuit.threads == (4 if circuit.engine == "statevector" else 1)


def test_a_misspelt_engine_is_the_only_mistake_of_a_circuit_with_threads() -> None:
    with pytest.raises(ConfigError) as caught:
        override(ExperimentConfig(), {"circuit.engine": "statevectr", "circuit.threads": 4})
    (problem,) = caught.value.problems
    assert "`circuit.engine` is 'statevectr'" in problem


def test_columns_of_a_command_line_are_overrides() -> None:
    overrides = parse_columns("query=q, document = text,label=rel")
    columns = override(ExperimentConfig(), overrides).data.columns
    assert (columns.query, columns.document, columns.label) == ("q", "text", "rel")
    assert columns.positive == "positive"


def test_all_wrong_parts_of_columns_are_shown_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_columns("query=q,docs=text,label,query=x,document=")
    assert len(caught.value.problems) == 4
    message = str(caught.value)
    assert "'docs=text' must be ROLE=COLUMN, where ROLE is query, document, label" in message
    assert "names query twice" in message


def test_a_part_of_the_columns_may_be_named_in_a_file(tmp_path: Path) -> None:
    columns = load_config(write(tmp_path, "a.yaml", "data: {columns: {query: q}}\n")).data.columns
    assert (columns.query, columns.document) == ("q", "document")
    path = write(tmp_path, "b.yaml", "data:\n  columns: {querry: q}\n")
    with pytest.raises(ConfigError, match=r"`data\.columns\.querry` is not a known key.*`query`"):
        load_config(path)


@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        ({"query": None}, "must be a text: put it in quotes"),
        ("query: \ud83c", "must be a text: it has half a surrogate pair"),
        (7, "must be a valid string"),
    ],
)
@pytest.mark.parametrize("key", ["data.query_prompt", "data.document_prompt"])
def test_a_prompt_is_a_text(key: str, prompt: object, complaint: str) -> None:
    with pytest.raises(ConfigError, match=f"`{key}` is .*, but {complaint}"):
        override(ExperimentConfig(), {key: prompt})


@pytest.mark.parametrize("prompt", ["query: ", "", None, "Instruct: rank\nQuery:"])
def test_a_prompt_stays_as_it_is_written(prompt: str | None) -> None:
    config = override(ExperimentConfig(), {"data.query_prompt": prompt})
    assert config.data.query_prompt == prompt
    assert override(ExperimentConfig(), flat(config)) == config


def test_vectors_that_were_computed_elsewhere_take_no_prompt() -> None:
    arrays = override(ExperimentConfig(), {"data.encoder": "npy:vectors"})
    assert override(arrays, {"data.query_prompt": ""}).data.query_prompt == ""
    with pytest.raises(ConfigError, match=r"must be null where `data\.encoder` is npy:"):
        override(arrays, {"data.query_prompt": "query: "})


def test_a_dotted_key_of_a_file_is_named_as_the_nested_one(tmp_path: Path) -> None:
    path = tmp_path / "dotted.yaml"
    path.write_text("seed: 1\noptimizer.mlp_lr: 0.1\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    (problem,) = caught.value.problems
    assert f"`optimizer.mlp_lr` is not a known key ({path}, line 2)" in problem
    assert "write `optimizer: {mlp_lr: ...}`" in problem


def test_an_empty_section_is_named_in_the_words_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("mlp:\ndata: {seen: csv:clicks.csv}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    mlp, seen = caught.value.problems
    assert "`mlp` is null, but must be a section of keys and values" in mlp
    assert "`data.seen` is 'csv:clicks.csv', but must be a list" in seen
