from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.embeddings import ExampleTexts
from quantum_rerank.errors import BundleError, OutputError
from quantum_rerank.export import ExportedModel, export_model, read_bundle, write_bundle
from quantum_rerank.export.manifest import manifest_sha256
from quantum_rerank.similarity import MODELS, build_head, score

DIM = 6
WEIGHT = 0.4
METRICS = {"validation": {"val_ndcg@10": 0.5}, "test": {"ndcg@10": 0.25}}

Export = Callable[..., Path]
FullDisk = Callable[[int], AbstractContextManager[None]]


def unit_rows(n: int, seed: int) -> Any:
    rows = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


EXAMPLE = ExampleTexts("which tree", unit_rows(1, 0)[0], ("oak", "elm", "ash"), unit_rows(3, 1))


@pytest.fixture
def export(small_config: Callable[..., ExperimentConfig], tmp_path: Path) -> Export:
    """Export an untrained head of some model into `tmp_path / "bundle"`."""

    def write(model: str = "hybrid", **circuit: str) -> Path:
        named = {f"circuit.{key}": value for key, value in circuit.items()}
        config = small_config({"model": model, **named})
        torch.manual_seed(0)
        head = build_head(config, DIM)
        folder = tmp_path / "bundle"
        return export_model(
            folder,
            ExportedModel(
                head=head,
                config=config,
                fusion_weight=WEIGHT,
                encoder_fingerprint="npy:v",
                data_fingerprint="abc",
                metrics=METRICS,
                examples=[EXAMPLE],
            ),
        )

    return write


@pytest.fixture
def bundle(export: Export) -> Path:
    return export()


@pytest.mark.parametrize("high", [0.0, 1.0])
def test_a_bundle_keeps_its_gate(
    small_config: Callable[..., ExperimentConfig], tmp_path: Path, high: float
) -> None:
    config = small_config({"fusion.gate": "nearest"})
    torch.manual_seed(0)
    head = build_head(config, DIM).eval()
    ungated = score(head, WEIGHT, EXAMPLE.query_vector, EXAMPLE.document_vectors)
    assert head.gate is not None
    head.gate.queries = torch.from_numpy(unit_rows(4, 5))
    head.gate.high.fill_(high)
    folder = tmp_path / "bundle"
    export_model(
        folder,
        ExportedModel(
            head=head,
            config=config,
            fusion_weight=WEIGHT,
            encoder_fingerprint="npy:v",
            data_fingerprint="abc",
            metrics=METRICS,
            examples=[EXAMPLE],
        ),
    )
    (example,) = read_bundle(folder)[1].examples
    np.testing.assert_allclose(example_scores(folder), example.scores, atol=1e-12)
    assert np.allclose(example.scores, ungated, atol=1e-4) == (high == 0.0)
    assert "w decreases for queries that are far" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("queries", "problem"),
    [
        (torch.zeros(0, DIM), "the gate has no training queries"),
        (torch.ones(2, DIM - 1), "size mismatch for gate.queries"),
        (torch.full((2, DIM), torch.nan), r"`gate\.queries` has numbers that are not finite"),
    ],
)
def test_a_gate_that_cannot_be_used_is_refused(
    small_config: Callable[..., ExperimentConfig],
    tmp_path: Path,
    queries: torch.Tensor,
    problem: str,
) -> None:
    config = small_config({"fusion.gate": "nearest"})
    head = build_head(config, DIM)
    assert head.gate is not None
    head.gate.queries = torch.from_numpy(unit_rows(4, 5))
    head.gate.high.fill_(0.5)
    model = ExportedModel(head, config, WEIGHT, "npy:v", "abc", METRICS, [EXAMPLE])
    weights = {**head.state_dict(), "gate.queries": queries}
    folder = write_bundle(tmp_path / "bundle", weights, model.manifest())
    with pytest.raises(BundleError, match=f"does not fit its manifest: .*{problem}"):
        read_bundle(folder)


@pytest.mark.parametrize("start", ["full", "near_identity"])
@pytest.mark.parametrize("angles", ["bounded", "wrapped"])
def test_a_bundle_keeps_the_kind_of_its_angles(export: Export, start: str, angles: str) -> None:
    folder = export("hybrid", start=start, angles=angles)
    head, manifest = read_bundle(folder)
    assert (manifest.config.circuit.start, manifest.config.circuit.angles) == (start, angles)
    with torch.no_grad():
        for weight in head.parameters():  # so that every angle is beyond a tanh
            weight.add_(3.0)
    texts = torch.from_numpy(unit_rows(50, 2)).abs()
    predicted = head.predictor(texts)
    assert (predicted.abs().max() > 4.0) == (angles == "wrapped")


@pytest.mark.parametrize("amplitudes", ["complex", "real"])
def test_a_bundle_keeps_the_kind_of_its_amplitudes(export: Export, amplitudes: str) -> None:
    folder = export("hybrid_amplitude", amplitudes=amplitudes)
    head, manifest = read_bundle(folder)
    assert manifest.config.circuit.amplitudes == amplitudes
    states = head.represent(torch.from_numpy(unit_rows(50, 2)))
    assert bool(states.imag.any()) == (amplitudes == "complex")
    (example,) = manifest.examples
    np.testing.assert_allclose(example_scores(folder), example.scores, atol=1e-12)


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest as a text editor would, without mending its hash."""
    path = bundle / "manifest.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def example_scores(folder: Path) -> Any:
    head, manifest = read_bundle(folder)
    return score(head, manifest.fusion_weight, EXAMPLE.query_vector, EXAMPLE.document_vectors)


@pytest.mark.parametrize("model", MODELS)
def test_a_loaded_bundle_gives_the_same_scores(export: Export, model: str) -> None:
    folder = export(model)
    (example,) = read_bundle(folder)[1].examples
    assert (example.query, example.documents) == (EXAMPLE.query, EXAMPLE.documents)
    np.testing.assert_allclose(example_scores(folder), example.scores, atol=1e-12)


def test_a_bundle_records_its_origin(
    bundle: Path, small_config: Callable[..., ExperimentConfig]
) -> None:
    _, manifest = read_bundle(bundle)
    assert manifest.config == small_config()
    assert (manifest.embedding_dim, manifest.fusion_weight) == (DIM, WEIGHT)
    assert (manifest.encoder_fingerprint, manifest.data_fingerprint) == ("npy:v", "abc")
    assert manifest.metrics == METRICS
    assert {"python", "torch", "pennylane", "quantum-rerank"} <= manifest.versions.keys()


def test_the_card_contains_the_results_and_an_example(bundle: Path) -> None:
    card = (bundle / "README.md").read_text(encoding="utf-8")
    assert "| test | ndcg@10 | 0.2500 |" in card
    assert "Reranker.load(" in card
    assert "No quantum advantage is claimed" in card


def test_the_card_names_only_components_of_the_model(export: Export) -> None:
    card = (export("mlp_twin") / "README.md").read_text(encoding="utf-8")
    assert "MLP: [8]" in card
    assert "qubits" not in card


def cut_off(name: str) -> Callable[[Path], object]:
    def damage(bundle: Path) -> None:
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content[: len(content) // 2])

    return damage


def flip_a_bit(bundle: Path) -> None:
    content = bytearray((bundle / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (bundle / "model.safetensors").write_bytes(content)


def remove(name: str) -> Callable[[Path], object]:
    return lambda bundle: (bundle / name).unlink()


def set_value(key: str, value: object) -> Callable[[Path], object]:
    return lambda bundle: rewrite(bundle, lambda record: record.update({key: value}))


def add_to_card(bundle: Path) -> None:
    with (bundle / "README.md").open("a", encoding="utf-8") as card:
        card.write("Better than everything else.\n")


def prepend(text: str) -> Callable[[Path], object]:
    card = "README.md"
    return lambda bundle: (bundle / card).write_text(text + (bundle / card).read_text())


def with_crlf(bundle: Path) -> None:
    content = (bundle / "README.md").read_bytes()
    (bundle / "README.md").write_bytes(content.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize(
    "edit", [add_to_card, prepend("---\nlicense: mit\n---\n"), with_crlf, remove("README.md")]
)
@pytest.mark.parametrize("is_of_an_earlier_version", [False, True])
def test_a_bundle_whose_card_was_edited_loads(
    bundle: Path, edit: Callable[[Path], object], is_of_an_earlier_version: bool
) -> None:
    if is_of_an_earlier_version:  # which recorded a hash of the card
        card = hashlib.sha256((bundle / "README.md").read_bytes()).hexdigest()
        rewrite(bundle, signed(lambda record: record["files"].update({"README.md": card})))
    expected = example_scores(bundle)
    edit(bundle)
    np.testing.assert_array_equal(example_scores(bundle), expected)


def test_the_hashes_are_those_of_the_weights_alone(bundle: Path) -> None:
    record = json.loads((bundle / "manifest.json").read_text())
    assert record["files"].keys() == {"model.safetensors"}


def test_weights_are_converted_to_the_type_of_the_model(bundle: Path, tmp_path: Path) -> None:
    head, manifest = read_bundle(bundle)
    doubled = {name: tensor.double() for name, tensor in head.state_dict().items()}
    again, _ = read_bundle(write_bundle(tmp_path / "doubled", doubled, manifest))
    assert {tensor.dtype for tensor in again.state_dict().values()} == {torch.float32}


def write_manifest(text: str) -> Callable[[Path], object]:
    return lambda bundle: (bundle / "manifest.json").write_text(text)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param(
            remove("manifest.json"), "is not a bundle: it has no manifest.json", id="none"
        ),
        pytest.param(remove("model.safetensors"), "model.safetensors` is missing", id="no weights"),
        pytest.param(cut_off("model.safetensors"), "cut off or altered", id="cut-off weights"),
        pytest.param(cut_off("manifest.json"), "cannot be read", id="cut-off manifest"),
        pytest.param(flip_a_bit, "cut off or altered", id="altered weights"),
        pytest.param(set_value("fusion_weight", 0.9), "was altered", id="altered fusion weight"),
        pytest.param(set_value("metrics", {}), "was altered", id="altered metrics"),
        pytest.param(set_value("more", 1), "was altered", id="added key"),
        pytest.param(set_value("files", {}), "was altered", id="removed hashes"),
        pytest.param(set_value("files", []), "altered", id="hashes that are no mapping"),
        pytest.param(set_value("schema_version", 2), "schema version 2", id="newer version"),
        pytest.param(write_manifest("{}"), "schema version None", id="empty manifest"),
        pytest.param(write_manifest("[]"), "schema version None", id="manifest of another kind"),
    ],
)
def test_a_damaged_bundle_is_refused_with_a_message(
    bundle: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    damage(bundle)
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle)
    assert sentence in str(caught.value)
    assert str(bundle) in str(caught.value)


def signed(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    """A change of the manifest with its hash made to fit."""

    def both(record: dict[str, Any]) -> None:
        change(record)
        rest = {key: value for key, value in record.items() if key != "manifest_sha256"}
        text = json.dumps(rest, sort_keys=True)
        record["manifest_sha256"] = hashlib.sha256(text.encode()).hexdigest()

    return both


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda record: record.update(embedding_dim=DIM + 1), "does not fit its manifest"),
        (lambda record: record.update(embedding_dim="wide"), "damaged: `embedding_dim` is 'wide'"),
        (lambda record: record.update(fusion_weight=-5), "damaged: `fusion_weight` is -5"),
        (lambda record: record.update(metrics=[1]), r"damaged: `metrics` is \[1\]"),
        (lambda record: record.update(config=[]), r"damaged: The configuration is \[\], but must"),
        (lambda record: record["config"]["circuit"].update(n_qubits=60), "`circuit.n_qubits` is"),
        (lambda record: record["config"]["circuit"].update(n_qubits=3), "does not fit"),
        (lambda record: record.pop("examples"), "damaged: 'examples' is missing"),
        (lambda record: record["examples"].append("text"), r"damaged: `examples.\d+` is 'text'"),
    ],
)
def test_a_contradictory_manifest_with_a_valid_hash_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    rewrite(bundle, signed(change))
    with pytest.raises(BundleError, match=sentence) as refused:
        read_bundle(bundle)
    assert "\n" not in str(refused.value)


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere` does not exist"):
        read_bundle(tmp_path / "nowhere")


def content_of(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_existing_bundle_is_not_overwritten(export: Export) -> None:
    folder = export()
    content = content_of(folder)
    with pytest.raises(OutputError, match="exists already"):
        export("cosine")
    assert content_of(folder) == content


def test_an_existing_file_is_not_overwritten(export: Export, tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("something else")
    with pytest.raises(OutputError, match="exists already"):
        export()
    assert (tmp_path / "bundle").read_text() == "something else"


def test_an_empty_folder_is_used_and_no_temporary_folder_is_left(
    export: Export, tmp_path: Path
) -> None:
    (tmp_path / "bundle").mkdir()
    read_bundle(export())
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_cannot_be_written_is_reported(
    small_config: Callable[..., ExperimentConfig], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    config = small_config({"model": "cosine"})
    head = build_head(config, DIM)
    with pytest.raises(OutputError, match="cannot be written"):
        export_model(
            tmp_path / "file" / "bundle",
            ExportedModel(
                head=head,
                config=config,
                fusion_weight=WEIGHT,
                encoder_fingerprint="npy:v",
                data_fingerprint="abc",
                metrics=METRICS,
                examples=[EXAMPLE],
            ),
        )


def test_a_full_disk_is_reported_and_leaves_nothing(bundle: Path, full_disk: FullDisk) -> None:
    head, manifest = read_bundle(bundle)
    again = bundle.with_name("again")
    with full_disk(500), pytest.raises(OutputError, match="again` cannot be written: File too"):
        write_bundle(again, head.state_dict(), manifest)
    assert list(again.parent.iterdir()) == [bundle]


WITHOUT_THE_SEARCH = """
import sys
for name in ("ray", "optuna", "wandb"):
    sys.modules[name] = None
import numpy as np
from quantum_rerank.reranker import Reranker
reranker = Reranker.load(sys.argv[1])
query, documents = np.load(sys.argv[2] + "/q.npy"), np.load(sys.argv[2] + "/d.npy")
np.save(sys.argv[2] + "/scores.npy", reranker.scores_of_embeddings(query, documents))
"""


@pytest.mark.slow
def test_a_bundle_works_where_ray_optuna_and_wandb_are_not_installed(
    bundle: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "q.npy", EXAMPLE.query_vector)
    np.save(tmp_path / "d.npy", EXAMPLE.document_vectors)
    command = [sys.executable, "-c", WITHOUT_THE_SEARCH, str(bundle), str(tmp_path)]
    subprocess.run(command, check=True)
    scores = np.load(tmp_path / "scores.npy")
    np.testing.assert_allclose(scores, example_scores(bundle), atol=1e-12)


def test_the_card_contains_the_prompts(
    small_config: Callable[..., ExperimentConfig], tmp_path: Path
) -> None:
    config = small_config({"data.query_prompt": "query:\n"})
    head = build_head(config, DIM)
    export_model(
        tmp_path / "bundle",
        ExportedModel(
            head=head,
            config=config,
            fusion_weight=WEIGHT,
            encoder_fingerprint="e",
            data_fingerprint="abc",
            metrics=METRICS,
            examples=[EXAMPLE],
        ),
    )
    card = (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert 'Text before each query: `"query:\\n"`.' in card
    assert "Text before each document" not in card


def rehashed(bundle: Path, **values: Any) -> None:
    """Change a manifest as somebody does who knows its hashes."""
    record = json.loads((bundle / "manifest.json").read_text()) | values
    record["files"]["model.safetensors"] = hashlib.sha256(
        (bundle / "model.safetensors").read_bytes()
    ).hexdigest()
    record["manifest_sha256"] = manifest_sha256(record)
    (bundle / "manifest.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    "values",
    [
        {"embedding_dim": -1},
        {"embedding_dim": 0},
        {"embedding_dim": float("inf")},
        {"embedding_dim": 2_000_000_000},
        {"embedding_dim": "6"},
        {"fusion_weight": float("nan")},
        {"fusion_weight": 1.5},
        {"fusion_weight": -5},
        {"metrics": [1]},
        {"examples": [{"query": 1, "documents": 5, "scores": None}]},
        {"versions": "x"},
        {"training": "x"},
    ],
)
def test_values_out_of_range_are_refused_though_the_hashes_fit(
    bundle: Path, values: dict[str, Any]
) -> None:
    rehashed(bundle, **values)
    with pytest.raises(BundleError, match="is damaged"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("section", "settings"),
    [("mlp", {"hidden_layers": [8192] * 6}), ("linear", {"rank": 8192})],
)
def test_a_model_that_is_larger_than_its_file_is_not_built(
    export: Export, section: str, settings: dict[str, Any]
) -> None:
    bundle = export("hybrid" if section == "mlp" else "low_rank_bilinear")
    config = json.loads((bundle / "manifest.json").read_text())["config"]
    config[section] |= settings
    rehashed(bundle, config=config, embedding_dim=6 if section == "mlp" else 4096)
    with pytest.raises(BundleError, match=r"weights (for|are declared)"):
        read_bundle(bundle)


def test_weights_that_are_not_finite_are_refused(bundle: Path) -> None:
    tensors = load((bundle / "model.safetensors").read_bytes())
    tensors = {name: torch.full_like(tensor, float("nan")) for name, tensor in tensors.items()}
    (bundle / "model.safetensors").write_bytes(save(tensors))
    rehashed(bundle)
    with pytest.raises(BundleError, match="not finite"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", ["manifest.json", "model.safetensors"])
def test_links_and_fifos_in_a_bundle_are_refused(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    (bundle / name).symlink_to("/dev/zero")
    with pytest.raises(BundleError, match="it is a link"):
        read_bundle(bundle)
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    with pytest.raises(BundleError, match="not a regular file"):
        read_bundle(bundle)
