from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from quantum_rerank.cli.evaluate import app
from quantum_rerank.export import read_bundle
from quantum_rerank.export.trained_model import encoder_for, load_model
from quantum_rerank.workflows.evaluate import evaluate_model

Ended = Callable[..., tuple[int, str]]


def validated(*arguments: object) -> dict[str, Any]:
    """What the command says as JSON."""
    line = [*map(str, arguments), "--json"]
    result = CliRunner().invoke(app, line, catch_exceptions=False)
    assert result.exit_code in (0, 3)
    record: dict[str, Any] = json.loads(result.output)
    return record


def metrics_of(run: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return record


@pytest.mark.parametrize("run", ["ended_training", "ended_gated_training"])
def test_a_bundle_has_the_target_results_recorded_by_its_training(
    request: pytest.FixtureRequest, run: str
) -> None:
    ended_training: Path = request.getfixturevalue(run)
    recorded = metrics_of(ended_training)
    evaluated = validated(ended_training / "bundle")
    assert evaluated["role_scores"] == recorded["role_scores"]
    assert evaluated["targets"] == recorded["targets"]
    assert evaluated == {**validated(ended_training), "path": evaluated["path"]}


def test_a_best_model_has_the_same_scores_without_the_history(ended_training: Path) -> None:
    evaluated = validated(ended_training / "best_models" / "hybrid.safetensors")
    assert evaluated["role_scores"] == metrics_of(ended_training)["role_scores"]
    outcomes = {target["name"]: target["outcome"] for target in evaluated["targets"]}
    assert {outcomes[name] for name in ("convergence", "time", "peak memory")} == {"not known"}


def test_a_collection_of_the_training_is_split_as_in_the_training(
    setting: Any, ended_training: Path
) -> None:
    evaluated = validated(ended_training, "--data", setting.data("trees"))
    whole = validated(ended_training)
    assert set(evaluated["queries"]) == {"train", "validation", "test"}
    for role, domains in evaluated["queries"].items():
        assert domains == whole["queries"][role]
        assert evaluated["role_scores"][role] == whole["role_scores"][role]


def test_a_moved_folder_is_recognised_as_the_one_trained_on(
    setting: Any, ended_training: Path, tmp_path: Path
) -> None:
    shutil.copytree(setting.root / "trees", tmp_path / "elsewhere" / "trees")
    evaluated = validated(ended_training, "--data", f"beir:{tmp_path / 'elsewhere' / 'trees'}")
    assert set(evaluated["queries"]) == {"train", "validation", "test"}


@pytest.fixture(scope="module")
def clicks(setting: Any) -> tuple[Path, Path]:
    """A table of 16 queries, and the folder of a training on it alone."""
    rows = ["query,document,label"]
    for number in range(16):
        rows += [f"what is plant {number},plant {number},1", f"what is plant {number},a stone,0"]
    folder: Path = setting.root / "logs"
    folder.mkdir()
    (folder / "clicks.csv").write_text("\n".join(rows), encoding="utf-8")
    rng = np.random.default_rng(0)
    for name, number in (("corpus", 17), ("queries", 16)):
        np.save(folder / f"{name}.npy", rng.normal(size=(number, 16)))
    seen = {"data.seen": [f"csv:{folder / 'clicks.csv'}"], "data.encoder": f"npy:{folder}"}
    unseen = {"data.unseen_validation": [], "data.unseen_test": []}
    return folder / "clicks.csv", setting.train(folder / "run", seen | unseen)


def test_a_table_of_the_training_is_recognised_for_every_spelling_of_its_path(
    clicks: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, run = clicks
    whole = validated(run)["queries"]
    monkeypatch.chdir(table.parent)
    for spelt in ("clicks.csv", "./clicks.csv", "../logs/clicks.csv", table):
        evaluated = validated(run, "--data", f"csv:{spelt}")["queries"]
        assert evaluated == {role: whole[role] for role in ("train", "validation", "test")}


def test_a_table_with_other_columns_is_read_by_the_names_of_the_option(
    clicks: tuple[Path, Path], ended: Ended, tmp_path: Path
) -> None:
    table, run = clicks
    other = tmp_path / "clicks.csv"
    header, _, rows = table.read_text(encoding="utf-8").partition("\n")
    assert header == "query,document,label"
    other.write_text(f"q;text;rel\n{rows.replace(',', ';')}", encoding="utf-8")
    code, message = ended(app, run, "--data", f"csv:{other}")
    assert code == 2
    assert "`--columns query=q,document=text,label=rel`" in message
    renamed = ("--columns", "query=q,document=text,label=rel")
    evaluated = validated(run, "--data", f"csv:{other}", *renamed)
    assert evaluated["queries"] == validated(run)["queries"]
    assert evaluated["skipped"] == {
        "csv:clicks": {"rows with semicolons between their columns": 32}
    }


def test_judgments_of_absent_texts_are_left_out_up_to_the_share_of_the_option(
    setting: Any, ended_training: Path, ended: Ended, tmp_path: Path
) -> None:
    shutil.copytree(setting.root / "herbs", tmp_path / "herbs")
    path = tmp_path / "herbs" / "qrels" / "test.tsv"
    query = path.read_text(encoding="utf-8").splitlines()[1].split("\t")[0]
    absent = "".join(f"\n{query}\tabsent-{n}\t1" for n in range(9))
    path.write_text(path.read_text(encoding="utf-8").rstrip() + absent, encoding="utf-8")
    code, message = ended(app, ended_training, "--data", f"beir:{tmp_path / 'herbs'}")
    assert code == 2
    assert "may be left out" in message
    share = ("--max-unmatched-judgments", "0.5")
    evaluated = validated(ended_training, "--data", f"beir:{tmp_path / 'herbs'}", *share)
    assert (
        evaluated["skipped"]["beir:herbs"]["judgments of an absent document counted as not found"]
        == 9
    )


def test_a_folder_of_the_training_is_recognised_from_within_and_through_a_link(
    setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(setting.root / "trees")
    run = setting.train(tmp_path / "run", {"data.seen": [f"beir:{tmp_path / 'link'}"]})
    monkeypatch.chdir(setting.root / "trees")
    for spec in ("beir:.", setting.data("trees"), f"beir:{tmp_path / 'link'}"):
        assert set(validated(run, "--data", spec)["queries"]) == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("domain", "role"), [("shrubs", "unseen_validation"), ("herbs", "unseen_test")]
)
def test_another_collection_is_an_unseen_domain(
    setting: Any, ended_training: Path, domain: str, role: str
) -> None:
    evaluated = validated(ended_training, "--data", setting.data(domain))
    assert evaluated["queries"] == {role: {f"beir:{domain}": 16}}
    outcomes = {target["name"]: target["outcome"] for target in evaluated["targets"]}
    assert outcomes["no loss on unseen domains"] != "not known"
    assert outcomes["overfitting gap"] == outcomes["cross-domain"] == "not known"


@pytest.mark.parametrize(("high", "is_far"), [(0.0, False), (50.0, True)])
def test_a_collection_of_far_queries_is_named(
    setting: Any, ended_gated_training: Path, high: float, is_far: bool
) -> None:
    model = load_model(ended_gated_training)
    assert model.head.gate is not None
    model.head.gate.high.fill_(high)
    encoder = encoder_for(model, None, "cpu", 32)
    evaluation = evaluate_model(model, [setting.data("herbs")], encoder)
    named = [note for note in evaluation.notes if "far from those of the training" in note]
    assert bool(named) is is_far
    assert (evaluation.record()["gate_shares"]["beir:herbs"] < 0.5) is is_far


def test_skipped_judgments_are_counted(setting: Any, ended_training: Path, tmp_path: Path) -> None:
    shutil.copytree(setting.root / "herbs", tmp_path / "herbs")
    qrels = tmp_path / "herbs" / "qrels" / "test.tsv"
    qrels.write_text(qrels.read_text() + "\noak?leaf\toak-leaf\t2\noak?leaf\telm-leaf\t-1")
    data = f"beir:{tmp_path / 'herbs'}"
    expected = {
        "judgments given twice, taken once": 1,
        "judgments below 0 taken as not relevant": 1,
    }
    assert validated(ended_training, "--data", data)["skipped"] == {"beir:herbs": expected}
    line = [str(ended_training), "--data", data]
    lines = CliRunner().invoke(app, line, catch_exceptions=False).output.splitlines()
    assert lines[:2] == [
        "beir:herbs: 1 judgment given twice, taken once (oak?leaf -> oak-leaf)",
        "beir:herbs: 1 judgment below 0 taken as not relevant",
    ]


def test_every_target_is_printed_with_its_outcome(ended_training: Path) -> None:
    result = CliRunner().invoke(app, [str(ended_training)], catch_exceptions=False)
    for target in validated(ended_training)["targets"]:
        assert target["name"] in result.output
        assert target["outcome"] in result.output


def test_the_exit_code_is_three_if_a_target_failed(
    setting: Any, ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    run = setting.train(tmp_path / "cosine", {"model": "cosine"})
    bundle = run / "bundle"
    herbs = ("--data", setting.data("herbs"))
    # The cosine gains nothing, and so loses nothing: on an unseen domain alone nothing fails.
    assert ended(app, bundle, *herbs)[0] == 0
    assert ended(app, bundle, *herbs, "--strict")[0] == 3
    assert ended(app, bundle)[0] == 3  # no improvement on held-out queries


def test_other_data_than_those_trained_on_are_refused(
    setting: Any, tmp_path: Path, ended: Ended
) -> None:
    shutil.copytree(setting.root / "trees", tmp_path / "trees")
    run = setting.train(tmp_path / "run", {"data.seen": [f"beir:{tmp_path / 'trees'}"]})
    qrels = tmp_path / "trees" / "qrels" / "test.tsv"
    qrels.write_text(qrels.read_text().replace("\t2", "\t3", 1))
    code, message = ended(app, run)
    assert code == 2
    assert "not those it was trained on" in message


def test_a_table_with_new_rows_is_refused_if_it_is_named_too(
    clicks: tuple[Path, Path], tmp_path: Path, ended: Ended
) -> None:
    table, run = clicks
    grown = tmp_path / table.name
    grown.write_text(table.read_text() + "\nwhat is ivy,ivy,1")
    code, message = ended(app, run, "--data", f"csv:{grown}")
    assert code == 2
    assert "not those it was trained on" in message


def test_a_collection_of_the_training_is_verified_with_all_others_of_its_fingerprint(
    setting: Any, tmp_path: Path, ended: Ended
) -> None:
    for domain in ("trees", "herbs"):
        shutil.copytree(setting.root / domain, tmp_path / domain)
    here = {"data.unseen_test": [f"beir:{tmp_path / 'herbs'}"]}
    run = setting.train(tmp_path / "run", here)
    (tmp_path / "herbs").rename(tmp_path / "moved")
    code, message = ended(app, run, "--data", setting.data("trees"))
    assert code == 2
    assert "does not exist" in message
    assert "Name those that were moved with --data too" in message
    again = ("--data", setting.data("trees"), "--data", setting.data("herbs"))
    assert set(validated(run, *again)["queries"]) == {"train", "validation", "test", "unseen_test"}


def test_other_vectors_of_the_collections_trained_on_are_refused(
    setting: Any, changed_vectors: Path, ended: Ended
) -> None:
    for model in (changed_vectors, changed_vectors / "best_models" / "hybrid.safetensors"):
        code, message = ended(app, model)
        assert code == 2
        assert "Restore the vectors that it was trained on." in message
    # The same ones are known by their content, wherever they lie; of other texts any may be.
    assert validated(changed_vectors, "--encoder", setting.encoder)["queries"]
    assert validated(changed_vectors, "--data", setting.data("shrubs"))["queries"]


def test_vectors_of_another_width_are_refused(
    setting: Any, ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    for name, rows in (("corpus", 24), ("queries", 16)):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).normal(size=(rows, 24)))
    code, message = ended(
        app, ended_training, "--data", setting.data("herbs"), "--encoder", f"npy:{tmp_path}"
    )
    assert code == 2
    assert "vectors of 24 numbers, but the model was trained on 16" in message


def test_another_encoder_is_refused_before_anything_is_embedded(
    setting: Any, ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    code, message = ended(
        app, ended_training, "--data", setting.data("herbs"), "--encoder", tmp_path
    )
    assert code == 2
    theirs = read_bundle(ended_training / "bundle")[1].encoder_fingerprint
    assert f"but the model was trained with `{theirs}` (`{setting.encoder}`)" in message


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nowhere", "nowhere` does not exist"),
        ("run/metrics.json", "was cut off or altered"),
        ("trees", "holds no model"),
    ],
)
def test_a_path_without_a_model_is_refused(
    setting: Any, ended_training: Path, what: str, message: str, ended: Ended
) -> None:
    assert ended_training == setting.root / "run"
    code, stderr = ended(app, setting.root / what)
    assert code == 2
    assert message in stderr


def test_a_collection_named_twice_is_refused(
    setting: Any, ended_training: Path, ended: Ended
) -> None:
    herbs = ("--data", setting.data("herbs"))
    code, message = ended(app, ended_training, *herbs, *herbs)
    assert code == 2
    assert "named twice" in message


def test_candidates_with_few_relevant_documents_give_a_warning(
    setting: Any, tmp_path: Path
) -> None:
    shutil.copytree(setting.root / "vectors", tmp_path / "vectors")
    for name in ("corpus", "queries"):  # the relevant documents are the farthest
        path = tmp_path / "vectors" / "beir-herbs" / f"{name}.npy"
        np.save(path, np.load(path) * (-1.0 if name == "queries" else 1.0))
    changes = {"data.candidates": 12, "data.encoder": f"npy:{tmp_path / 'vectors'}"}
    run = setting.train(tmp_path / "run", changes)
    result = CliRunner().invoke(app, [str(run)], catch_exceptions=False)
    (warning,) = (line for line in result.output.splitlines() if line.startswith("Warning: "))
    assert warning.startswith("Warning: beir:herbs: on average only ")
    assert validated(run)["warnings"] == [warning]
