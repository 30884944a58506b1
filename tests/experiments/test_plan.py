from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments.__main__ import TUNED_FILES
from experiments.plan import (
    BEIR_FOLDERS,
    DEFAULT,
    FIXED,
    ICD10,
    PACKAGED,
    TUNED,
    TUNED_TWIN,
    choose_datasets,
    read_tuned,
    setups,
    tasks,
)
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.errors import ConfigError, DataError
from quantum_rerank.similarity import MODELS, build_head
from quantum_rerank.training.models import LEXICAL_MODELS

ROOT = Path(__file__).parents[2]
NUMBERS = {"circuit.n_qubits": 5, "mlp.hidden_layers": [32], "optimizer.mlp_lr": 0.002}
TUNED_CONFIG = override(ExperimentConfig(), NUMBERS)
TWIN_CONFIG = override(TUNED_CONFIG, {"model": "mlp_twin", "mlp.outputs": 48})
NESTED = "circuit:\n  n_qubits: 5\nmlp:\n  hidden_layers: [32]\noptimizer:\n  mlp_lr: 0.002\n"
DOTTED = "circuit.n_qubits: 5\nmlp.hidden_layers: [32]\noptimizer.mlp_lr: 0.002\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tuned.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", [NESTED, DOTTED, "circuit:\n  n_qubits: 5\n" + DOTTED[20:]])
def test_a_tuned_file_may_have_sections_dotted_keys_or_both(tmp_path: Path, text: str) -> None:
    assert read_tuned(write(tmp_path, text)) == TUNED_CONFIG


def test_data_and_seed_of_a_tuned_file_are_ignored(tmp_path: Path) -> None:
    text = f"{DOTTED}seed: 99\ndata:\n  seen: [icd10:5]\n"
    assert read_tuned(write(tmp_path, text)) == TUNED_CONFIG


def test_every_mistake_of_a_tuned_file_is_reported_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "circuit:\n  n_qubit: 5\nmlp.dropout: 2.0\n")
    with pytest.raises(ConfigError) as caught:
        read_tuned(path)
    first, second = sorted(caught.value.problems)
    assert "`circuit.n_qubit` is not a known key" in first
    assert "line 2" in first
    assert "`mlp.dropout` is 2.0" in second
    assert "line 3" in second


def test_the_twin_of_an_amplitude_encoding_has_as_many_outputs() -> None:
    numbers = {"model": "hybrid_amplitude", "circuit.n_qubits": 5}
    rows = setups(override(TUNED_CONFIG, numbers), TWIN_CONFIG, {})
    heads = [build_head(rows[name].config, 8) for name in (TUNED, "mlp_twin", "rbf")]
    amplitudes, twin, rbf = (head.represent(torch.ones(1, 8)) for head in heads)
    assert 2 * amplitudes.shape[1] == twin.shape[1] == rbf.shape[1] == 64


def test_controls_have_the_tuned_configuration_except_their_model() -> None:
    rows = setups(TUNED_CONFIG, TWIN_CONFIG, {})
    tuned = rows[TUNED].config
    for name, row in rows.items():
        if name not in (DEFAULT, TUNED_TWIN, *FIXED):
            same_model = {"model": tuned.model, "mlp.outputs": tuned.mlp.outputs}
            assert override(row.config, same_model) == tuned
            assert row.model == row.config.model
    assert override(rows[DEFAULT].config, {"circuit.engine": "lightning.qubit"}) == (
        ExperimentConfig()
    )


@pytest.mark.parametrize(
    ("model", "other"), [("hybrid", "hybrid_amplitude"), ("hybrid_amplitude", "hybrid")]
)
def test_every_model_has_a_row_and_the_tuned_model_is_not_a_control(model: str, other: str) -> None:
    rows = setups(override(TUNED_CONFIG, {"model": model}), TWIN_CONFIG, {})
    assert rows[TUNED].model == model
    assert other in rows
    assert {row.model for row in rows.values()} == {*MODELS, *LEXICAL_MODELS}
    assert len(rows) == len(MODELS) + len(LEXICAL_MODELS) + 2  # a hybrid and a twin twice


def test_the_tuned_configurations_of_the_project_are_rows() -> None:
    tuned, twin = (read_tuned(ROOT / file) for file in TUNED_FILES.values())
    rows = setups(tuned, twin, {})
    assert rows[TUNED].model == tuned.model
    assert rows[TUNED_TWIN].config.mlp == twin.mlp


def test_the_tuned_rows_are_a_hybrid_and_a_twin() -> None:
    with pytest.raises(ConfigError, match="`tuned_twin` is 'hybrid', but must be mlp_twin"):
        setups(TUNED_CONFIG, TUNED_CONFIG, {})
    with pytest.raises(ConfigError, match="must be hybrid or hybrid_amplitude"):
        setups(override(TUNED_CONFIG, {"model": "rbf"}), TWIN_CONFIG, {})


def test_an_override_applies_to_every_row() -> None:
    rows = setups(TUNED_CONFIG, TWIN_CONFIG, {"training.max_epochs": 2})
    assert {row.config.training.max_epochs for row in rows.values()} == {2}


@pytest.mark.parametrize(
    ("key", "value", "way_out"),
    [
        ("model", "rbf", "--model"),
        ("seed", 3, "--seeds"),
        ("data.split_seed", 3, "--collection"),
        ("data.encoder", "wordllama", "--encoder"),
    ],
)
def test_model_seed_and_data_cannot_be_set(key: str, value: object, way_out: str) -> None:
    with pytest.raises(ConfigError, match=f"`{key}` cannot be set: .*{way_out}"):
        setups(TUNED_CONFIG, TWIN_CONFIG, {"mlp.dropout": 0.2, key: value})


def test_no_collection_of_a_data_set_has_two_roles() -> None:
    for dataset in PACKAGED:
        named = (*dataset.seen, *dataset.unseen_validation, *dataset.unseen_test)
        assert len(set(named)) == len(named)
        assert ("unseen_test" in dataset.collections) == bool(dataset.unseen_test)


def test_missing_beir_folders_are_left_out_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "cran").mkdir()
    chosen = choose_datasets(tmp_path, BEIR_FOLDERS)
    assert [dataset.name for dataset in chosen.datasets] == ["cran"]
    assert set(chosen.left_out) == set(BEIR_FOLDERS) - {"cran"}
    assert set(chosen.left_out.values()) == {"no such folder"}


def test_a_collection_selects_its_data_set() -> None:
    (dataset,) = choose_datasets(None, ["icd10_unseen"]).datasets
    assert dataset.name == "icd10"
    assert len(dataset.seen) == 12


def test_all_unknown_data_sets_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        choose_datasets(None, ["cran", "corn", "barn"])
    assert [problem.split()[0] for problem in caught.value.problems] == ["`corn`", "`barn`"]


def test_a_collection_may_be_named_by_its_source(tmp_path: Path) -> None:
    table = tmp_path / "my clicks.csv"
    table.write_text("query,document,label\na b,c,1\nd,e,1\n", encoding="utf-8")
    (dataset,) = choose_datasets(None, [f"csv:{table}"]).datasets
    assert dataset.name == "csv_my_clicks"
    assert dataset.data("minilm", 3).seen == (f"csv:{table}",)
    assert dataset.data("minilm", 3).split_seed == 3
    with pytest.raises(DataError, match="gone"):
        choose_datasets(None, [f"csv:{tmp_path / 'gone.csv'}"])


def test_experiments_without_a_data_set_are_refused() -> None:
    with pytest.raises(ConfigError, match="cran is missing: no folder of BEIR folders"):
        choose_datasets(None, ["cran"])


def test_models_without_randomness_are_measured_once_on_one_split() -> None:
    planned = tasks(PACKAGED[:1], setups(TUNED_CONFIG, TWIN_CONFIG, {}), [1, 2, 3], "minilm")
    seeds = {name: [task.seed for task in planned if task.name == name] for name in ("bm25", TUNED)}
    assert seeds == {"bm25": [1], TUNED: [1, 2, 3]}
    assert len({task.result_path for task in planned}) == len(planned)
    assert {task.config.data for task in planned} == {PACKAGED[0].data("minilm", 1)}
    assert planned[0].config.data.split_seed == ExperimentConfig().data.split_seed


def test_all_models_of_a_seed_have_the_same_split() -> None:
    rows = setups(TUNED_CONFIG, TWIN_CONFIG, {})
    planned = tasks(PACKAGED[1:2], rows, [1, 2], "minilm")
    assert [(task.seed, task.name) for task in planned] == [
        (s, name) for s in (1, 2) for name in rows
    ]
    assert all(task.config.data.split_seed == task.seed for task in planned)


def test_a_tuned_configuration_decides_on_its_lexical_part(tmp_path: Path) -> None:
    (tmp_path / "tuned.yaml").write_text(
        "model: hybrid\ndata: {lexical: ngrams, split_seed: 3}\n", encoding="utf-8"
    )
    tuned = read_tuned(tmp_path / "tuned.yaml")
    assert tuned.data == ExperimentConfig().data.model_copy(update={"lexical": "ngrams"})
    rows = setups(tuned, TWIN_CONFIG, {})
    assert rows["first_stage"].config.data.lexical == "ngrams"
    planned = {task.name: task for task in tasks([ICD10], rows, [1], "minilm")}
    lexical = {name for name, task in planned.items() if task.config.data.lexical == "ngrams"}
    plain = {"cosine", "bm25", "bm25_cosine", DEFAULT, TUNED_TWIN}
    assert planned.keys() - lexical == plain
    assert planned[TUNED].config.data.seen == ICD10.seen
    order = [task.config.data.lexical for task in planned.values()]
    assert order == sorted(order)  # the data of a split are prepared once for each kind


def test_without_a_lexical_part_there_is_no_first_stage() -> None:
    assert "first_stage" not in setups(TUNED_CONFIG, TWIN_CONFIG, {})
