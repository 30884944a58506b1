from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # what `wandb sweep` reads files with
from ruamel.yaml import YAML
from typer.testing import CliRunner

from quantum_rerank.config import DataConfig
from quantum_rerank.errors import OutputError
from quantum_rerank.training.trial_data import PreparedData
from tuning.records import EPOCH, OBJECTIVE, PEAK_RSS_MB, SECONDS, TrialMetadata
from tuning.reporting.sweep_file import inexpressible, sweep_yaml
from tuning.reporting.tracking import logged_metrics
from tuning.space import CategoricalParameter, FloatParameter, IntParameter, Space
from tuning.space.file import load_space
from tuning.study.trial_files import TrialFiles
from tuning.sweep import app
from tuning.workers.training import TrialTask, train
from tuning.workers.trial_context import TrialContext

DEFAULT = Path(__file__).parents[2] / "search_spaces" / "default.yaml"
WANDB = str(Path(sys.executable).parent / "wandb")


@pytest.fixture(scope="module")
def space() -> Space:
    return load_space(DEFAULT)


@pytest.fixture(scope="module")
def sweep(space: Space) -> dict[str, Any]:
    """The exported sweep, parsed again."""
    parsed: dict[str, Any] = YAML(typ="safe", pure=True).load(sweep_yaml(space, DEFAULT))
    return parsed


def test_a_sweep_has_every_parameter_with_the_same_values(
    space: Space, sweep: Mapping[str, Any]
) -> None:
    assert list(sweep["parameters"]) == list(space.parameters)
    for name, parameter in space.parameters.items():
        written = sweep["parameters"][name]
        if isinstance(parameter, (FloatParameter, IntParameter)):
            assert (written["min"], written["max"]) == (parameter.low, parameter.high)
        else:
            assert written == {"values": parameter.choices}


@pytest.mark.parametrize(
    ("parameter", "written"),
    [
        (
            FloatParameter(type="float", low=0.1, high=0.9),
            {"distribution": "uniform", "min": 0.1, "max": 0.9},
        ),
        (
            FloatParameter(type="float", low=0.1, high=0.9, log=True),
            {"distribution": "log_uniform_values", "min": 0.1, "max": 0.9},
        ),
        (
            FloatParameter(type="float", low=0.0, high=0.6, step=0.25),
            {"distribution": "q_uniform", "min": 0.0, "max": 0.5, "q": 0.25},
        ),
        (FloatParameter(type="float", low=0.1, high=0.4, step=0.25), {"values": [0.1, 0.35]}),
        (FloatParameter(type="float", low=0.1, high=0.1, log=True), {"value": 0.1}),
        (FloatParameter(type="float", low=0.1, high=0.1), {"value": 0.1}),
        (FloatParameter(type="float", low=0.1, high=0.2, step=0.5), {"value": 0.1}),
        (
            IntParameter(type="int", low=2, high=6),
            {"distribution": "int_uniform", "min": 2, "max": 6},
        ),
        (
            IntParameter(type="int", low=2, high=64, log=True),
            {"distribution": "q_log_uniform_values", "min": 2, "max": 64, "q": 1},
        ),
        (
            IntParameter(type="int", low=2, high=7, step=2),
            {"distribution": "q_uniform", "min": 2, "max": 6, "q": 2},
        ),
        (
            IntParameter(type="int", low=0, high=2_000_000, step=2),
            {"distribution": "q_uniform", "min": 0, "max": 2_000_000, "q": 2},
        ),
        (IntParameter(type="int", low=1, high=6, step=2), {"values": [1, 3, 5]}),
        (
            IntParameter(type="int", low=1, high=2_000_000, step=2),
            {"distribution": "int_uniform", "min": 1, "max": 2_000_000},
        ),
        (IntParameter(type="int", low=2, high=2), {"value": 2}),
        (IntParameter(type="int", low=2, high=2, log=True), {"value": 2}),
    ],
)
def test_each_kind_of_range_has_its_distribution(
    tiny_space: Space, parameter: FloatParameter | IntParameter, written: dict[str, Any]
) -> None:
    space = Space(tiny_space.header, tiny_space.base, {"warmup.weight": parameter})
    parsed = YAML(typ="safe", pure=True).load(sweep_yaml(space, DEFAULT))
    assert parsed["parameters"]["warmup.weight"] == written


@pytest.mark.parametrize(
    ("parameter", "line"),
    [
        (
            IntParameter(type="int", low=0, high=9, step=3),
            "warmup.steps: its lowest and its highest value are drawn half as often as the others",
        ),
        (
            IntParameter(type="int", low=1, high=2_000_000, step=3),
            "warmup.steps: steps of 3 from 1 are not kept",
        ),
    ],
)
def test_what_a_distribution_changes_of_a_range_with_steps_is_named(
    tiny_space: Space, parameter: IntParameter, line: str
) -> None:
    space = Space(tiny_space.header, tiny_space.base, {"warmup.steps": parameter})
    assert line in list(inexpressible(space))
    exact = IntParameter(type="int", low=1, high=9, step=3)
    space = Space(tiny_space.header, tiny_space.base, {"warmup.steps": exact})
    assert not any(text.startswith("warmup.steps:") for text in inexpressible(space))


# What W&B's schema of a sweep asks for: of each distribution, which numbers it has.
_BOUNDS = {"min", "max"}
_KEYS = {
    "uniform": _BOUNDS,
    "log_uniform_values": _BOUNDS,
    "int_uniform": _BOUNDS,
    "q_uniform": _BOUNDS | {"q"},
    "q_log_uniform_values": _BOUNDS | {"q"},
}

OF_EVERY_KIND = """\
name: kinds
base: base.yaml
budget: {trials: 3, epochs: 4}
scheduler: {name: asha, grace_period: 1, reduction_factor: 1.4}
parameters:
  optimizer.mlp_lr: {type: float, low: 1e-5, high: 1e-2, log: true}
  optimizer.circuit_lr: {type: float, low: 0.001, high: 0.001, log: true}
  mlp.dropout: {type: float, low: 0.0, high: 0.3, step: 0.1}
  loss.margin: {type: float, low: 0.1, high: 0.9}
  circuit.n_layers: {type: int, low: 2, high: 2}
  circuit.n_qubits: {type: int, low: 2, high: 6}
  loss.negatives: {type: int, low: 1, high: 64, log: true}
  warmup.steps: {type: int, low: 0, high: 2000000, step: 2}
  warmup.batch_size: {type: int, low: 5, high: 2000000, step: 2}
  training.batch_size: {type: int, low: 5, high: 9, step: 2}
  circuit.entangler: {type: categorical, choices: [cnot_chain, none]}
"""


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_wandb_reads_a_sweep_by_the_rules_of_its_schema(tmp_path: Path, sampler: str) -> None:
    (tmp_path / "base.yaml").write_text("model: hybrid\n")
    space_file, file = tmp_path / "space.yaml", tmp_path / "sweep.yaml"
    text = OF_EVERY_KIND + f"sampler: {{name: {sampler}}}\n"
    if sampler == "grid":
        kept = ("mlp.dropout", "circuit.", "training.batch_size")
        lines = text.splitlines()
        text = "\n".join(x for x in lines if x[:2] != "  " or x.strip().startswith(kept))
    space_file.write_text(text)
    file.write_text(sweep_yaml(load_space(space_file), space_file))
    assert file.stat().st_size < 3000
    sweep = yaml.safe_load(file.read_text())
    for name, written in sweep["parameters"].items():
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name)
        if "distribution" not in written:
            assert written.keys() in ({"value"}, {"values"}), name
            assert written.get("values", ["one"])
            continue
        numbers = {key: value for key, value in written.items() if key != "distribution"}
        assert numbers.keys() == _KEYS[written["distribution"]], name
        assert all(type(value) in (int, float) for value in numbers.values()), name
        assert numbers["min"] < numbers["max"]
        if written["distribution"] == "int_uniform":
            assert {type(value) for value in numbers.values()} == {int}
        if "log" in written["distribution"]:
            assert numbers["min"] > 0
    assert sweep["early_terminate"] == {"type": "hyperband", "min_iter": 1, "eta": 1.4}
    assert sweep["parameters"]["circuit.n_layers"] == {"value": 2}


def test_texts_that_older_yaml_takes_for_truth_values_stay_texts(
    tiny_space: Space, tmp_path: Path
) -> None:
    choices = CategoricalParameter(type="categorical", choices=["on", "off", "1e-05"])
    space = Space(tiny_space.header, tiny_space.base, {"loss.name": choices})
    file = tmp_path / "sweep.yaml"
    file.write_text(sweep_yaml(space, DEFAULT))
    assert yaml.safe_load(file.read_text())["parameters"]["loss.name"] == {
        "values": choices.choices
    }


def test_a_line_break_in_a_path_does_not_end_the_comment(tiny_space: Space) -> None:
    text = sweep_yaml(tiny_space, Path("two\nlines.yaml"))
    assert "two\\nlines.yaml" in text.splitlines()[0]
    parsed = YAML(typ="safe", pure=True).load(text)
    assert parsed["command"][-1] == "two\nlines.yaml"


def test_the_command_that_starts_a_sweep_can_be_pasted(tmp_path: Path) -> None:
    path = tmp_path / "a b" / "sweep $1.yaml"
    path.parent.mkdir()
    result = CliRunner().invoke(app, ["export", "--space", str(DEFAULT), "--output", str(path)])
    command = result.output.partition("Start it with `")[2].rpartition("`")[0]
    assert shlex.split(command) == ["wandb", "sweep", str(path)]


def test_a_sweep_maximises_the_same_objective_for_as_many_runs(
    space: Space, sweep: Mapping[str, Any]
) -> None:
    assert sweep["metric"] == {"name": OBJECTIVE, "goal": "maximize"}
    assert sweep["run_cap"] == space.header.budget.trials
    assert sweep["early_terminate"] == {"type": "hyperband", "min_iter": 4, "eta": 3}
    assert sweep["command"][-2:] == ["--space", str(DEFAULT)]


def test_every_condition_is_named_in_a_comment(space: Space) -> None:
    text = sweep_yaml(space, DEFAULT)
    comments = [line for line in text.splitlines() if line.startswith("#")]
    for name, parameter in space.parameters.items():
        for other, values in parameter.when.items():
            assert any(f"{name} only when {other} in {values}" in line for line in comments)
    assert len(comments) == 1 + len(list(inexpressible(space)))


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("asha", "hyperband with the same first rung"),
        ("hyperband", "brackets are not kept"),
        ("median", "no run is stopped below the median"),
        ("pbt", "no run continues from another's weights"),
    ],
)
def test_what_becomes_of_a_scheduler_is_said(tiny_space: Space, name: str, lost: str) -> None:
    scheduler = tiny_space.header.scheduler.model_copy(update={"name": name})
    header = tiny_space.header.model_copy(update={"scheduler": scheduler})
    space = Space(header, tiny_space.base, tiny_space.parameters)
    (line,) = (line for line in inexpressible(space) if line.startswith("scheduler"))
    assert line.startswith(f"scheduler {name}: {lost}")
    assert ("early_terminate" in sweep_yaml(space, DEFAULT)) == (name == "asha")


def test_a_sampler_that_a_sweep_does_not_have_is_said(tiny_space: Space) -> None:
    lines = {}
    for name in ("tpe", "random", "cmaes"):
        sampler = tiny_space.header.sampler.model_copy(update={"name": name})
        header = tiny_space.header.model_copy(update={"sampler": sampler})
        space = Space(header, tiny_space.base, tiny_space.parameters)
        lines[name] = [line for line in inexpressible(space) if line.startswith("sampler")]
    assert [len(found) for found in lines.values()] == [1, 0, 1]
    assert lines["cmaes"] == ["sampler cmaes: every run is drawn at random"]


def test_a_grid_is_a_grid_in_a_sweep_too(tiny_space: Space) -> None:
    sampler = tiny_space.header.sampler.model_copy(update={"name": "grid"})
    header = tiny_space.header.model_copy(update={"sampler": sampler})
    parameters = {"circuit.n_qubits": IntParameter(type="int", low=2, high=4)}
    space = Space(header, tiny_space.base, parameters)
    parsed = YAML(typ="safe", pure=True).load(sweep_yaml(space, DEFAULT))
    assert parsed["method"] == "grid"
    assert parsed["parameters"] == {"circuit.n_qubits": {"values": [2, 3, 4]}}


def test_a_sweep_is_written_into_the_file_that_was_named(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    result = CliRunner().invoke(app, ["export", "--space", str(DEFAULT), "--output", str(path)])
    assert result.exit_code == 0
    assert f"wandb sweep {path}" in result.output
    assert path.read_text() == sweep_yaml(load_space(DEFAULT), DEFAULT)


def test_a_sweep_that_cannot_be_written_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "sweep.yaml"
    arguments = ["export", "--space", str(DEFAULT), "--output", str(path)]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, OutputError)
    assert f"`{path}` cannot be written" in str(error)


SPACE = """\
name: tiny
base: base.yaml
data:
  seen: ["beir:{0}/park", "beir:{0}/forest"]
  unseen_validation: ["beir:{0}/garden"]
  unseen_test: []
  encoder: "npy:{0}/vectors"
  candidates: 12
fixed:
  circuit.n_qubits: 2
  circuit.n_layers: 2
  mlp.hidden_layers: [8]
  warmup.steps: 0
budget: {{trials: 2, epochs: 2}}
parameters:
  loss.name: {{type: categorical, choices: [triplet, infonce]}}
  loss.margin: {{type: float, low: 0.1, high: 0.9, when: {{loss.name: [triplet]}}}}
  optimizer.mlp_lr: {{type: float, low: 0.0001, high: 0.01, log: true}}
"""


@dataclass(frozen=True)
class AgentRun:
    """What the agent printed, and what W&B reads back of its run."""

    folder: Path
    printed: str
    record: dict[str, Any]


def run_agent(folder: Path, data: DataConfig, values: Mapping[str, Any]) -> AgentRun:
    """Run the agent as `wandb agent` does, without a server."""
    (folder / "base.yaml").write_text("model: hybrid\n")
    (folder / "space.yaml").write_text(SPACE.format(Path(data.encoder.removeprefix("npy:")).parent))
    given = {"wandb_version": 1} | {key: {"value": value} for key, value in values.items()}
    YAML().dump(given, folder / "sweep-params.yaml")
    command = [sys.executable, "-m", "tuning.sweep", "agent", "--wandb", "offline"]
    command += ["--space", str(folder / "space.yaml"), "--folder", str(folder / "sweep")]
    environment = {
        "WANDB_SWEEP_ID": "sweep123",
        "WANDB_RUN_ID": "run123",
        "WANDB_SWEEP_PARAM_PATH": str(folder / "sweep-params.yaml"),
        "OMP_NUM_THREADS": "1",
    }
    ended = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    (path,) = (folder / "sweep").rglob("*.wandb")
    inspect = [WANDB, "leet", "inspect", "--summary", "--json", str(path)]
    record = json.loads(subprocess.run(inspect, capture_output=True, check=True).stdout)
    return AgentRun(folder, ended.stdout, record)


SWEPT = {"optimizer.mlp_lr": 0.003, "loss.name": "infonce"}
UNUSED = {"loss.margin": 0.3}


@pytest.fixture(scope="module")
def agent_run(data_config: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> AgentRun:
    """The run of a sweep's values, one of which does not hold."""
    return run_agent(tmp_path_factory.mktemp("agent"), data_config, SWEPT | UNUSED)


@pytest.mark.slow
def test_an_agent_takes_the_values_of_the_sweep_and_names_those_it_cannot_use(
    agent_run: AgentRun,
) -> None:
    config = agent_run.record["config"]
    values = SWEPT | UNUSED
    assert {key: config[key] for key in values} == values
    assert config["circuit.n_qubits"] == 2
    assert config["unused"] == ["loss.margin"]
    assert "do not hold: loss.margin." in agent_run.printed
    assert agent_run.record["run_id"] == "run123"
    state = agent_run.record["summary"]["state"]
    assert (agent_run.record["exit_code"], state) == (0, "complete")


@pytest.mark.slow
def test_an_agent_logs_the_same_keys_as_a_trial_of_a_search(
    agent_run: AgentRun, prepared: PreparedData, tmp_path: Path
) -> None:
    reports: list[dict[str, Any]] = []
    config = load_space(agent_run.folder / "space.yaml").config_for(SWEPT, number=0)
    # A trial of a search adds its cost to the report of its training.
    cost = {SECONDS: 1.0, PEAK_RSS_MB: 600.0}
    context = TrialContext(TrialFiles(str(tmp_path / "trials")), TrialMetadata(number=0))
    task = TrialTask(config, prepared.trial, context)
    train(task, lambda metrics: reports.append({**metrics, **cost}))
    logged = agent_run.record["summary"]
    summary = {key for key in logged if not key.startswith("_")}
    assert summary - {"state"} == set(logged_metrics(reports[-1]))
    assert logged[OBJECTIVE] == pytest.approx(reports[-1][OBJECTIVE])
    assert logged[EPOCH] == reports[-1][EPOCH]
