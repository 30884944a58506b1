from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from quantum_rerank.cli.export import app
from quantum_rerank.cli.tuning_commands import EXPORT_TRIAL
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.embeddings import Role, TextEncoder, source_of
from quantum_rerank.embeddings.examples import ExampleTexts
from quantum_rerank.export import ExportedModel, export_model, read_bundle
from quantum_rerank.export.qasm import circuit_qasm
from quantum_rerank.export.trained_model import load_model
from quantum_rerank.similarity import build_head
from quantum_rerank.training.serialization import dumps, loads

Ended = Callable[..., tuple[int, str]]


def exported(*arguments: object) -> None:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0


def test_a_bundle_from_a_best_model_equals_the_bundle_of_the_training(
    ended_training: Path, tmp_path: Path
) -> None:
    checkpoint = ended_training / "best_models" / "hybrid.safetensors"
    exported(checkpoint, "--output", tmp_path / "again")
    loaded, original = read_bundle(tmp_path / "again")[1], read_bundle(ended_training / "bundle")[1]
    assert loaded.examples == original.examples
    assert (loaded.config, loaded.fusion_weight) == (original.config, original.fusion_weight)
    assert loaded.data_fingerprint == original.data_fingerprint
    assert loaded.encoder_fingerprint == original.encoder_fingerprint


def test_a_bundle_from_the_folder_of_a_run_keeps_its_metrics(
    ended_training: Path, tmp_path: Path
) -> None:
    exported(ended_training, "--output", tmp_path / "again")
    loaded, original = read_bundle(tmp_path / "again")[1], read_bundle(ended_training / "bundle")[1]
    assert loaded.metrics == original.metrics
    summary = load_model(ended_training).training_summary
    assert load_model(tmp_path / "again").training_summary == summary


@pytest.mark.parametrize("model", ["cosine", "mlp_twin", "quantum_only"])
def test_the_other_models_of_a_training_can_be_exported(
    ended_training: Path, tmp_path: Path, model: str
) -> None:
    exported(ended_training, "--model", model, "--output", tmp_path / model)
    _, manifest = read_bundle(tmp_path / model)
    recorded = json.loads((ended_training / "metrics.json").read_text())
    assert manifest.config.model == model
    assert manifest.metrics["test"] == recorded["test"][model]
    assert manifest.metrics["unseen_test"] == recorded["unseen_test"][model]


@pytest.mark.parametrize("model", ["hybrid", "hybrid_amplitude"])
def test_the_circuit_of_a_text_is_written_as_a_program(
    words_encoder: str, tmp_path: Path, small_config: Callable[..., ExperimentConfig], model: str
) -> None:
    torch.manual_seed(0)
    encoder, texts = TextEncoder(words_encoder), ["fear of spiders", "two\nlines"]
    config = override(small_config(), {"data.encoder": words_encoder, "model": model})
    vectors = encoder.encode(texts)
    head = build_head(config, vectors.shape[1])
    example = ExampleTexts(texts[0], vectors[0], (texts[1],), vectors[1:])
    bundle = export_model(
        tmp_path / "bundle",
        ExportedModel(
            head=head,
            config=config,
            fusion_weight=0.5,
            encoder_fingerprint=encoder.fingerprint,
            data_fingerprint="",
            metrics={},
            examples=[example],
        ),
    )
    more = [part for text in texts for part in ("--text", text)]
    exported(bundle, "--format", "qasm", *more, "--output", tmp_path / "circuits")
    for number, (text, vector) in enumerate(zip(texts, vectors, strict=True), start=1):
        program = (tmp_path / "circuits" / f"circuit-0{number}.qasm").read_text()
        first, rest = program.split("\n", 1)
        assert first == f"// {' '.join(text.split())}"
        assert rest == circuit_qasm(head, vector)


def test_the_circuit_of_a_text_depends_on_its_role_where_the_encoder_tells_them_apart(
    setting: Any, words_encoder: str, tmp_path: Path
) -> None:
    settings = {"data.encoder": words_encoder, "data.query_prompt": "query: "}
    run = setting.train(tmp_path / "run", settings)
    model = load_model(run)
    source = source_of(model.config.data)
    assert isinstance(source, TextEncoder)
    line = (run, "--format", "qasm", "--text", "oak")
    for role in Role:
        exported(*line, "--role", role, "--output", tmp_path / role)
        (vector,) = source.encode(["oak"], role=role)
        program = (tmp_path / role / "circuit-01.qasm").read_text()
        assert program == "// oak\n" + circuit_qasm(model.head, vector)
    programs = {(tmp_path / role / "circuit-01.qasm").read_text() for role in Role}
    assert len(programs) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--format", "qasm"], "Give at least one with --text"),
        (["--text", "fear of spiders"], "Add --format qasm"),
        (["--format", "qasm", "--text", " "], "A --text is empty"),
        (["--format", "qasm", "--text", "a"], "precomputed vectors"),
        (["--model", "pigeon"], "It has cosine, hybrid, mlp_twin, quantum_only."),
    ],
)
def test_invalid_input_gives_a_message(
    ended_training: Path, tmp_path: Path, ended: Ended, more: list[str], message: str
) -> None:
    code, stderr = ended(app, ended_training, "--output", tmp_path / "out", *more)
    assert code == 2
    assert message in stderr
    assert not (tmp_path / "out").exists()


def test_a_trial_of_a_search_is_exported_by_the_search(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[object, ...]] = []

    def load(target: str, command: str) -> Callable[..., None]:
        assert (target, command) == (EXPORT_TRIAL, "quantum-rerank export")
        return lambda *arguments: calls.append(arguments)

    monkeypatch.setattr("quantum_rerank.cli.export.load_tuning", load)
    (tmp_path / "run.json").write_text('{"space": {}}')
    output = tmp_path / "out"
    exported(tmp_path, "--output", output)
    exported(tmp_path, "--output", output, "--trial", 7, "--storage-path", "s3://trials")
    assert calls == [
        (tmp_path, output, None, None, None),
        (tmp_path, output, 7, None, "s3://trials"),
    ]


def test_an_option_of_a_search_is_refused_for_a_training(
    ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    code, message = ended(app, ended_training, "--trial", 7, "--output", tmp_path / "out")
    assert code == 2
    assert f"`{ended_training}` is not the folder of a search" in message


def test_an_output_that_exists_is_left_alone(
    ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    (tmp_path / "mine").write_text("mine")
    code, stderr = ended(app, ended_training, "--output", tmp_path)
    assert code == 2
    assert "exists already" in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_model_with_changed_data_is_not_exported(
    setting: Any, tmp_path: Path, ended: Ended
) -> None:
    shutil.copytree(setting.root / "trees", tmp_path / "trees")
    run = setting.train(tmp_path / "run", {"data.seen": [f"beir:{tmp_path / 'trees'}"]})
    qrels = tmp_path / "trees" / "qrels" / "test.tsv"
    qrels.write_text(qrels.read_text().replace("\t2", "\t3", 1))
    code, stderr = ended(app, run, "--model", "mlp_twin", "--output", tmp_path / "out")
    assert code == 2
    assert "not those it was trained on" in stderr


@pytest.mark.parametrize("what", ["", "bundle", "best_models/hybrid.safetensors", "--model"])
def test_a_model_with_changed_vectors_is_not_exported(
    setting: Any, changed_vectors: Path, tmp_path: Path, ended: Ended, what: str
) -> None:
    is_model = what == "--model"
    arguments = [changed_vectors, "--model", "mlp_twin"] if is_model else [changed_vectors / what]
    code, stderr = ended(app, *arguments, "--output", tmp_path / "out")
    assert code == 2
    assert "Restore the vectors that it was trained on." in stderr
    assert read_bundle(changed_vectors / "bundle")[1].encoder_fingerprint in stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def in_a_search(ended_training: Path, tmp_path: Path) -> Path:
    """A checkpoint where a search has those of its trials, beside the record of its data."""
    place = tmp_path / "search" / "trials" / "00007" / "best.safetensors"
    place.parent.mkdir(parents=True)
    content = (ended_training / "best_models" / "hybrid.safetensors").read_bytes()
    maker = {"run": "0f", "trial": 7}
    place.write_bytes(dumps({**loads(content, "the checkpoint"), "made_by": maker}))
    record = json.loads((ended_training / "run.json").read_text())
    (tmp_path / "search" / "run.json").write_text(json.dumps({**record, "run": "0f"}))
    return place


def test_a_best_model_takes_its_fingerprints_from_the_record_of_its_run(
    ended_training: Path, in_a_search: Path, tmp_path: Path
) -> None:
    original = load_model(ended_training)
    checkpoint = ended_training / "best_models" / "mlp_twin.safetensors"
    for loaded in (load_model(checkpoint), load_model(in_a_search)):
        assert loaded.encoder_fingerprint == original.encoder_fingerprint
        assert loaded.data_fingerprint == original.data_fingerprint
    alone = load_model(Path(shutil.copy(checkpoint, tmp_path)))
    assert (alone.encoder_fingerprint, alone.data_fingerprint) == ("", "")


def test_weights_of_another_trial_of_the_same_search_are_refused(
    in_a_search: Path, tmp_path: Path, ended: Ended
) -> None:
    exported(in_a_search, "--output", tmp_path / "original")
    other = in_a_search.parents[1] / "00008" / in_a_search.name
    other.parent.mkdir()
    shutil.copy(in_a_search, other)
    code, stderr = ended(app, other, "--output", tmp_path / "out")
    assert code == 2
    assert "its trial is 7, but 8 is expected here" in stderr
    assert not (tmp_path / "out").exists()


def test_weights_of_another_model_or_of_other_data_are_refused(
    ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    run = Path(shutil.copytree(ended_training, tmp_path / "run"))
    checkpoint = run / "best_models" / "hybrid.safetensors"
    content = checkpoint.read_bytes()
    shutil.copy(run / "best_models" / "mlp_twin.safetensors", checkpoint)
    code, stderr = ended(app, checkpoint, "--output", tmp_path / "out")
    assert (code, "its model is mlp_twin, but hybrid is expected" in stderr) == (2, True)
    record = loads(content, "the checkpoint")
    maker = {**record["made_by"], "data_fingerprint": "of others"}
    checkpoint.write_bytes(dumps({**record, "made_by": maker}))
    code, stderr = ended(app, checkpoint, "--output", tmp_path / "out")
    assert (code, "its data_fingerprint is of others" in stderr) == (2, True)


def test_a_best_model_beside_a_damaged_record_is_refused(
    in_a_search: Path, tmp_path: Path, ended: Ended
) -> None:
    (tmp_path / "search" / "run.json").write_text("{")
    code, stderr = ended(app, in_a_search, "--output", tmp_path / "out")
    assert code == 2
    assert "run.json` cannot be read" in stderr


def test_an_incomplete_best_model_is_refused(
    ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    content = (ended_training / "best_models" / "hybrid.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    code, stderr = ended(app, tmp_path / "cut.safetensors", "--output", tmp_path / "out")
    assert code == 2
    assert "was cut off or altered" in stderr
