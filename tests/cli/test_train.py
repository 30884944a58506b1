from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from quantum_rerank.cli.train import app
from quantum_rerank.console import run
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.errors import DataError, OutputError
from quantum_rerank.export import read_bundle
from quantum_rerank.folder_lock import LOCK, holder, locked
from quantum_rerank.similarity import MODELS, score
from quantum_rerank.training import run_record
from quantum_rerank.training.best_model import read_best_model
from quantum_rerank.training.data_manager import prepare
from tests.conftest import write_beir

Folder = Callable[..., Path]
DIM = 16
Ended = Callable[..., tuple[int, str]]

SMALL = {
    "circuit.n_qubits": 2,
    "circuit.n_layers": 2,
    "mlp.hidden_layers": "[8]",
    "warmup.steps": 2,
    "training.batch_size": 4,
    "training.max_epochs": 2,
}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of vectors of the 24 documents and 16 queries of `trees`."""
    vectors = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    np.save(vectors / "corpus.npy", rng.normal(size=(24, DIM)))
    np.save(vectors / "queries.npy", rng.normal(size=(16, DIM)))
    return vectors


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, vectors: Path) -> Callable[..., list[str]]:
    """The command line of a training of a second on 16 queries."""
    folder = write_beir(tmp_path_factory.mktemp("data") / "trees")

    def line(output: Path, *more: str, data: str | None = None) -> list[str]:
        settings = {**SMALL, "data.encoder": f"npy:{vectors}"}
        sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        given = ["--config", "default", "--data", data or f"beir:{folder}"]
        return [*given, "--output", str(output), *sets, *more]

    return line


@dataclass(frozen=True)
class Trained:
    """A training that ended: what it wrote, and what it printed."""

    folder: Path
    printed: str

    @property
    def metrics(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.folder / "metrics.json").read_text())
        return record


@pytest.fixture(scope="module")
def first_training(
    arguments: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """The training that `trained` copies."""
    folder = tmp_path_factory.mktemp("training") / "first"
    result = CliRunner().invoke(app, arguments(folder), catch_exceptions=False)
    assert result.exit_code == 0
    return Trained(folder, result.output)


@pytest.fixture
def trained(first_training: Trained, tmp_path: Path) -> Trained:
    folder = shutil.copytree(first_training.folder, tmp_path / "first")
    return replace(first_training, folder=folder)


def test_every_model_is_scored_once_on_the_test_queries(trained: Trained) -> None:
    test = trained.metrics["test"]
    assert list(test) == ["cosine", "quantum_only", "mlp_twin", "hybrid"]
    for metrics in test.values():
        assert set(metrics) == {"ndcg@10", "mrr@10", "recall@100", "map"}
        assert all(0.0 <= value <= 1.0 for value in metrics.values())
    assert "unseen_test" not in trained.metrics


def test_the_record_holds_configuration_epochs_and_splits(trained: Trained) -> None:
    record = trained.metrics
    assert record["config"]["circuit"]["n_qubits"] == 2
    assert record["config"]["mlp"]["hidden_layers"] == [8]
    assert record["epochs"] == {"cosine": 1, "quantum_only": 2, "mlp_twin": 2, "hybrid": 2}
    (roles,) = record["splits"].values()
    queries = [query for ids in roles.values() for query in ids]
    assert len(queries) == len(set(queries)) == 16
    assert record["fusion_weight"].keys() == record["validation"].keys() == record["test"].keys()


def test_no_model_is_below_cosine_on_the_validation_queries(
    trained: Trained,
) -> None:
    values = {
        model: metrics["val_ndcg@10"] for model, metrics in trained.metrics["validation"].items()
    }
    assert min(values.values()) == values["cosine"]


def test_the_bundle_gives_the_scores_of_its_examples(trained: Trained) -> None:
    head, manifest = read_bundle(trained.folder / "bundle")
    assert manifest.config.model == "hybrid"
    assert manifest.metrics["test"] == trained.metrics["test"]["hybrid"]
    prepared = prepare(manifest.config.data, embedding_source(manifest.config.data.encoder))
    assert manifest.data_fingerprint == prepared.fingerprint
    assert len(manifest.examples) == len(prepared.examples) > 0
    for kept, example in zip(manifest.examples, prepared.examples, strict=True):
        scores = score(head, manifest.fusion_weight, example.query_vector, example.document_vectors)
        np.testing.assert_allclose(kept.scores, scores, atol=1e-12)


def test_the_trained_model_is_compared_with_every_other(trained: Trained) -> None:
    assert "Leaderboard on test queries" in trained.printed
    lines = [line.strip() for line in trained.printed.splitlines()]
    (head,) = (number for number, line in enumerate(lines) if line.startswith("hybrid minus"))
    others = [line.split()[0] for line in lines[head + 1 : head + 4]]
    assert others == ["cosine", "quantum_only", "mlp_twin"]


def test_the_same_seed_gives_the_same_results(
    trained: Trained, arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    CliRunner().invoke(app, arguments(tmp_path / "second"), catch_exceptions=False)
    second = Trained(tmp_path / "second", "").metrics
    measured = ("wall_seconds", "seconds", "peak_memory_gb", "targets")
    timeless = {key: value for key, value in trained.metrics.items() if key not in measured}
    assert {key: second[key] for key in timeless} == timeless


@pytest.mark.parametrize("model", ["quantum_only", "mlp_twin"])
def test_another_model_may_be_the_one_that_is_exported(
    arguments: Callable[..., list[str]], tmp_path: Path, model: str
) -> None:
    line = arguments(tmp_path / "other", "--set", f"model={model}")
    CliRunner().invoke(app, line, catch_exceptions=False)
    trained = Trained(tmp_path / "other", "")
    first, *_, last = trained.metrics["test"]
    assert (first, last) == ("cosine", model)
    assert trained.metrics["test"].keys() == {"cosine", "quantum_only", "mlp_twin"}
    assert trained.metrics["config"]["model"] == model
    assert read_bundle(trained.folder / "bundle")[1].config.model == model


def test_every_epoch_of_every_model_is_recorded(trained: Trained) -> None:
    record = trained.metrics
    for model, history in record["history"].items():
        assert [epoch["epoch"] for epoch in history] == [*range(1, record["epochs"][model] + 1)]
        objectives = [epoch["objective"] for epoch in history]
        assert record["best_epoch"][model] == 1 + objectives.index(max(objectives))
        assert all("train_loss" in epoch for epoch in history)


def test_the_mean_of_the_query_scores_is_the_score_of_the_model(trained: Trained) -> None:
    record = trained.metrics
    for model, results in record["per_query"]["test"].items():
        values = list(results["ndcg@10"].values())
        assert sum(values) / len(values) == pytest.approx(record["test"][model]["ndcg@10"])


def test_every_target_is_recorded_and_printed(trained: Trained) -> None:
    record = trained.metrics
    results = {target["name"]: target for target in record["targets"]}
    assert len(results) == 9
    assert "Targets of hybrid" in trained.printed
    assert all(name in trained.printed for name in results)
    test = {model: metrics["ndcg@10"] for model, metrics in record["test"].items()}
    gain = test["hybrid"] / test["cosine"] - 1
    assert results["ranking improvement"]["value"] == pytest.approx(gain)
    assert results["ranking improvement"]["passed"] == (gain >= 0.15)
    assert results["peak memory"]["value"] == record["peak_memory_gb"] > 0.05
    assert results["time"]["value"] * 3600 == pytest.approx(record["seconds"]["hybrid"], abs=0.01)
    assert results["stability"]["outcome"] == results["cross-domain"]["outcome"] == "not known"


@pytest.mark.parametrize("model", ["cosine", "quantum_only", "mlp_twin", "hybrid"])
def test_the_best_epoch_of_every_model_is_kept(trained: Trained, model: str) -> None:
    content = (trained.folder / "best_models" / f"{model}.safetensors").read_bytes()
    _, validation, config, epoch = read_best_model(content, model)
    assert (config.model, epoch) == (model, trained.metrics["best_epoch"][model])
    assert validation.metrics == trained.metrics["validation"][model]


def test_the_bundle_holds_a_summary_of_its_training(trained: Trained) -> None:
    training = read_bundle(trained.folder / "bundle")[1].training
    history = trained.metrics["history"]["hybrid"]
    assert training["objectives"] == [epoch["objective"] for epoch in history]
    assert training["peak_memory_gb"] == trained.metrics["peak_memory_gb"]


@pytest.mark.parametrize("option", ["--model", "--models"])
def test_all_models_are_in_one_table_with_their_number_of_parameters(
    arguments: Callable[..., list[str]], tmp_path: Path, option: str
) -> None:
    result = CliRunner().invoke(
        app, arguments(tmp_path / "all", option, "all"), catch_exceptions=False
    )
    trained = Trained(tmp_path / "all", result.output)
    everyone = {*MODELS, "bm25", "bm25_cosine"}
    assert trained.metrics["test"].keys() == trained.metrics["n_trained"].keys() == everyone
    assert trained.metrics["left_out"] == {}
    lines = [line.split() for line in trained.printed.splitlines()]
    (head,) = (number for number, words in enumerate(lines) if words[:2] == ["hybrid", "minus"])
    rows = lines[head + 1 : head + len(everyone)]
    assert {row[0] for row in rows} == everyone - {"hybrid"}
    printed = {row[0]: int(row[-1].replace(",", "")) for row in rows}
    assert printed.items() <= trained.metrics["n_trained"].items()
    assert read_bundle(trained.folder / "bundle")[1].config.model == "hybrid"


def test_named_models_replace_the_default_ones(
    trained: Trained, arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    line = arguments(tmp_path / "two", "--model", "mlp_twin", "--model", "bm25")
    CliRunner().invoke(app, line, catch_exceptions=False)
    test = Trained(tmp_path / "two", "").metrics["test"]
    assert list(test) == ["cosine", "mlp_twin", "bm25", "hybrid"]
    # The same seed, whoever is trained before.
    assert test["mlp_twin"] == trained.metrics["test"]["mlp_twin"]


def test_a_model_that_cannot_be_trained_is_left_out_and_named(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    # Of one hidden unit nothing is left at such a rate, and then all texts are the same.
    settings = {"model": "quantum_only", "mlp.hidden_layers": "[1]", "optimizer.mlp_lr": 1.0}
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    line = arguments(tmp_path / "left", "--model", "rbf", *sets)
    result = CliRunner().invoke(app, line, catch_exceptions=False)
    record = Trained(tmp_path / "left", "").metrics
    assert record["left_out"].keys() == {"rbf"}
    assert "rbf" not in record["test"]
    assert "rbf is left out: " in result.output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data", "beir:nowhere"], "`nowhere/corpus.jsonl` does not exist"),
        (["--data", "pigeons:3"], "pigeons"),
        (["--set", "circuit.n_qubit=3"], "Did you mean `circuit.n_qubits`?"),
        (["--set", "circuit.n_qubits"], "must have the form KEY=VALUE"),
        (["--set", "circuit.n_qubits=60"], "`circuit.n_qubits` is 60"),
        (["--set", "data.encoder=npy:nowhere"], "does not exist"),
        (["--model", "leg"], "`leg` is not a model. Choose from hybrid, "),
        (["--config", "nowhere.yaml"], "`nowhere.yaml` does not exist"),
    ],
)
def test_invalid_input_ends_with_code_two_and_one_message(
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", *arguments(tmp_path / "first"), *more])
    with pytest.raises(SystemExit) as ended:
        run(app)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_an_unseen_collection_may_be_named_beside_those_trained_on(
    arguments: Callable[..., list[str]], beir_folder: Folder, tmp_path: Path
) -> None:
    shrubs = f"beir:{beir_folder('shrubs')}"
    line = arguments(tmp_path / "first", "--set", f"data.unseen_test=[{shrubs!r}]")
    result = CliRunner().invoke(app, line, catch_exceptions=False)
    assert "domain beir:shrubs  documents 24  test 16\n" in result.output
    record = json.loads((tmp_path / "first" / "metrics.json").read_text())
    assert record["config"]["data"]["unseen_test"] == [shrubs]
    assert record["config"]["data"]["unseen_validation"] == []


def test_a_run_is_not_overwritten(
    trained: Trained,
    arguments: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    previous = (trained.folder / "metrics.json").read_bytes()
    monkeypatch.setattr(sys, "argv", ["train", *arguments(trained.folder)])
    with pytest.raises(SystemExit) as ended:
        run(app)
    assert ended.value.code == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert (trained.folder / "metrics.json").read_bytes() == previous


def cut_short(folder: Path) -> None:
    """What a kill after the trainings leaves: a bundle that nobody knows to be whole."""
    (folder / "metrics.json").unlink()
    (folder / "bundle" / "manifest.json").write_text("{")
    (folder / ".bundle-x1").mkdir()
    (folder / "best_models" / "hybrid.safetensors").write_bytes(b"cut")


@pytest.mark.parametrize("checkpoint_lost", [False, True])
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    trained: Trained, checkpoint_lost: bool
) -> None:
    previous = trained.metrics
    written = ("bundle/model.safetensors", "best_models/hybrid.safetensors")
    weights = [(trained.folder / name).read_bytes() for name in written]
    cut_short(trained.folder)
    if checkpoint_lost:
        for path in (trained.folder / "checkpoints").glob("hybrid.safetensors*"):
            path.unlink()
    (trained.folder / "checkpoints" / "hybrid.seconds").write_text("1000.0")
    line = ["--output", str(trained.folder), "--resume"]
    started = time.monotonic()
    assert CliRunner().invoke(app, line, catch_exceptions=False).exit_code == 0
    passed = time.monotonic() - started
    again = trained.metrics
    assert 1000.0 < again["seconds"]["hybrid"] <= 1000.0 + passed
    assert again["seconds"]["mlp_twin"] < 1000.0
    measured = ("wall_seconds", "seconds", "peak_memory_gb", "targets")
    assert {key: again[key] for key in previous if key not in measured} == {
        key: value for key, value in previous.items() if key not in measured
    }
    assert [(trained.folder / name).read_bytes() for name in written] == weights
    assert {path.name for path in trained.folder.iterdir()} == {
        LOCK,
        "bundle",
        "best_models",
        "checkpoints",
        "metrics.json",
        "run.json",
    }


def test_a_resumed_run_names_the_model_of_an_unusable_checkpoint(
    trained: Trained,
) -> None:
    cut_short(trained.folder)
    for path in (trained.folder / "checkpoints").glob("hybrid.safetensors*"):
        path.write_bytes(b"cut")
    line = ["--output", str(trained.folder), "--resume"]
    output = CliRunner().invoke(app, line, catch_exceptions=False).output
    newest = trained.folder / "checkpoints" / "hybrid.safetensors"
    assert f"hybrid: `{newest}` is skipped: The checkpoint (3 bytes) was cut off" in output
    assert "hybrid: Starting again from the first epoch" in output
    assert "mlp_twin: `" not in output


def test_a_run_that_cannot_be_resumed_is_refused(
    trained: Trained,
    arguments: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(*line: str) -> str:
        monkeypatch.setattr(sys, "argv", ["train", *line, "--resume"])
        with pytest.raises(SystemExit) as ended:
            run(app)
        assert ended.value.code == 2
        (message,) = capsys.readouterr().err.splitlines()
        return message

    folder = str(trained.folder)
    assert "is finished: see" in refused("--output", folder)
    assert "does not exist" in refused("--output", str(tmp_path / "nowhere"))
    cut_short(trained.folder)
    assert "with its own configuration" in refused(*arguments(trained.folder))
    assert "with its own configuration" in refused("--output", folder, "--model", "rbf")
    record = json.loads((trained.folder / "run.json").read_text())
    for key, message in (
        ("data_fingerprint", "The collections are not those"),
        ("encoder_fingerprint", "was trained with the encoder `another`"),
    ):
        (trained.folder / "run.json").write_text(json.dumps(record | {key: "another"}))
        assert message in refused("--output", folder)
    for change, message in (
        ({"models": None}, "its models are not a list of names"),
        ({"models": ["mlp_twin", 3]}, "its models are not a list of names"),
        ({"models": ["../mlp_twin"]}, "`../mlp_twin` is not a model"),
        ({"config": []}, "its configuration has no data"),
        ({"config": {}}, "its configuration has no data"),
    ):
        (trained.folder / "run.json").write_text(json.dumps(record | change))
        assert message in refused("--output", folder)
    (trained.folder / "run.json").write_text("{}")
    assert "it was changed" in refused("--output", folder)
    (trained.folder / "run.json").write_text('{"config"')
    assert "run.json` cannot be read" in refused("--output", folder)


def test_a_run_is_not_resumed_with_other_vectors_in_the_same_folder(
    trained: Trained, vectors: Path
) -> None:
    cut_short(trained.folder)
    file = vectors / "corpus.npy"
    previous = file.read_bytes()
    np.save(file, np.random.default_rng(1).normal(size=(24, DIM)))
    line = ["--output", str(trained.folder), "--resume"]
    error = CliRunner().invoke(app, line).exception
    file.write_bytes(previous)
    assert isinstance(error, DataError)
    assert "was trained with the encoder `npy:" in str(error)
    assert CliRunner().invoke(app, line, catch_exceptions=False).exit_code == 0


def test_a_run_of_another_process_is_not_resumed(trained: Trained) -> None:
    cut_short(trained.folder)
    previous = {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}
    # flock holds between two open files, so that the same process stands for another here.
    with locked(trained.folder):
        line = ["--output", str(trained.folder), "--resume"]
        error = CliRunner().invoke(app, line).exception
        assert isinstance(error, OutputError)
        assert f"Another process works in `{trained.folder}`" in str(error)
        mine = trained.folder / LOCK
        now = {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}
        assert now | {mine: b""} == previous | {mine: b""}
    assert CliRunner().invoke(app, line).exit_code == 0


def test_a_run_locks_its_folder_until_its_end(
    arguments: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders = []

    def watched(*arguments: Any) -> None:
        holders.append(holder(tmp_path / "first"))
        record_seconds(*arguments)

    record_seconds = run_record.record_seconds
    monkeypatch.setattr(run_record, "record_seconds", watched)
    CliRunner().invoke(app, arguments(tmp_path / "first"), catch_exceptions=False)
    assert set(holders) == {os.getpid()}
    assert holder(tmp_path / "first") is None


def test_a_table_with_other_columns_is_trained_on_by_the_names_of_the_option(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    rows = [f"what is plant {n}|plant {n}, a tree|1" for n in range(16)]
    rows += [f"what is plant 0|stone {n}|0" for n in range(8)]
    table = tmp_path / "clicks.csv"
    table.write_text("\n".join(["Question|text|rel", *rows]), encoding="utf-8")
    named = ("--columns", "query=question,document=text,label=rel", "--model", "bm25")
    line = arguments(tmp_path / "first", *named, data=f"csv:{table}")
    result = CliRunner().invoke(app, line, catch_exceptions=False)
    assert result.exit_code == 0
    assert "csv:clicks: 24 rows with `|` between their columns" in result.output
    record = json.loads((tmp_path / "first" / "metrics.json").read_text())
    columns = record["config"]["data"]["columns"]
    assert (columns["query"], columns["document"], columns["label"]) == ("question", "text", "rel")


def test_a_folder_stays_usable_after_a_mistake_in_the_data(
    arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    wrong = arguments(tmp_path / "first", data=f"beir:{tmp_path / 'nowhere'}")
    assert CliRunner().invoke(app, wrong).exit_code == 1
    right = arguments(tmp_path / "first")
    assert CliRunner().invoke(app, right, catch_exceptions=False).exit_code == 0


def test_a_missing_folder_ends_the_command_with_one_message(
    arguments: Callable[..., list[str]], ended: Ended, tmp_path: Path
) -> None:
    line = arguments(tmp_path / "first", data=f"beir:{tmp_path / 'nowhere'}")
    code, stderr = ended(app, *line)
    assert code == 2
    assert stderr.count("error: ") == 1
    assert "nowhere/corpus.jsonl` does not exist" in stderr
    assert "Traceback" not in stderr
