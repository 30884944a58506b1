from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest
import pytrec_eval
import torch
from ir_measures import nDCG
from typer.testing import CliRunner

from quantum_rerank.cli import evaluate
from quantum_rerank.cli import export as export_command
from quantum_rerank.cli.rerank import app
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.embeddings import TextEncoder, embedding_source
from quantum_rerank.embeddings.examples import ExampleTexts
from quantum_rerank.evaluation import NDCG
from quantum_rerank.evaluation.query_set import QuerySet
from quantum_rerank.evaluation.ranking import score_on
from quantum_rerank.evaluation.trec_runs import read_run
from quantum_rerank.export import ExportedModel, export_model
from quantum_rerank.export.trained_model import load_model
from quantum_rerank.reranker import Reranker
from quantum_rerank.similarity import build_head
from quantum_rerank.training.evaluation_data import load_roles

Ended = Callable[..., tuple[int, str]]


@pytest.fixture
def herbs(setting: Any, ended_training: Path) -> QuerySet:
    """Queries of a domain that was not trained on, with all its documents as candidates."""
    config = load_model(ended_training).config.data
    roles = load_roles(config, [setting.data("herbs")], embedding_source(setting.encoder))
    return roles["unseen_test"][0]


@pytest.fixture
def cosine_run(herbs: QuerySet, tmp_path: Path) -> Path:
    """The first retrieval: by cosine, its lines in no order."""
    lines = [
        f"{query} Q0 {herbs.document_ids[row]} 0 {score!r} cosine"
        for query, rows, scores in zip(
            herbs.query_ids, herbs.candidates, herbs.cosine.tolist(), strict=True
        )
        for row, score in zip(rows, scores, strict=True)
    ]
    np.random.default_rng(0).shuffle(lines)
    path = tmp_path / "cosine.run"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def reranked(*arguments: object) -> None:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("weight", "is_gated"), [(None, False), (1.0, False), (1.0, True)], ids=str
)
def test_pytrec_eval_scores_the_run_as_the_project_does(
    setting: Any,
    ended_training: Path,
    ended_gated_training: Path,
    herbs: QuerySet,
    cosine_run: Path,
    weight: float | None,
    is_gated: bool,
) -> None:
    bundle = ended_gated_training if is_gated else ended_training
    if weight is not None:  # validation may have fitted 0, at which nothing is reranked
        bundle = with_weight(bundle, weight, cosine_run.parent / "bundle")
    output = cosine_run.parent / "out.run"
    data = setting.data("herbs")
    reranked("--input", cosine_run, bundle, "--data", data, "--output", output)
    model = load_model(bundle)
    expected = score_on(model.head, model.fusion_weight, [herbs])
    run: dict[str, dict[str, float]] = {}
    for line in output.read_text().splitlines():
        query, _, document, _, score, _ = line.split()
        run.setdefault(query, {})[document] = float(score)
    evaluator = pytrec_eval.RelevanceEvaluator(herbs.qrels, {"ndcg_cut_10"})
    for query, values in evaluator.evaluate(run).items():
        score = expected.per_query[NDCG][f"{herbs.domain}/{query}"]
        assert values["ndcg_cut_10"] == pytest.approx(score, abs=1e-9)
    (mean,) = ir_measures.calc_aggregate(
        [nDCG @ 10], herbs.qrels, ir_measures.read_trec_run(str(output))
    ).values()
    assert mean == pytest.approx(expected.metrics[NDCG], abs=1e-9)


def with_weight(run: Path, weight: float, folder: Path) -> Path:
    """The model of a run as a bundle with another fusion weight, and a gate that is felt."""
    model = load_model(run)
    if model.head.gate:
        model.head.gate.high.fill_(0.9)
    example = ExampleTexts("q", np.eye(16, dtype=np.float32)[0], ("d",), np.eye(16)[:1])
    return export_model(
        folder,
        ExportedModel(
            head=model.head,
            config=model.config,
            fusion_weight=weight,
            encoder_fingerprint=model.encoder_fingerprint,
            data_fingerprint="",
            metrics={},
            examples=[example],
        ),
    )


def test_documents_below_the_top_keep_their_order(
    setting: Any, ended_training: Path, cosine_run: Path, tmp_path: Path
) -> None:
    output, data = tmp_path / "out.run", setting.data("herbs")
    bundle = with_weight(ended_training, 1.0, tmp_path / "bundle")
    line = (bundle, "--data", data, "--output", output)
    reranked("--input", cosine_run, *line, "--top", 5, "--tag", "mine")
    previous, after = read_run(cosine_run), read_run(output)
    assert list(previous) == list(after)
    for query, documents in previous.items():
        assert after[query][5:] == documents[5:]
        assert sorted(after[query][:5]) == sorted(documents[:5])
    assert any(after[query] != documents for query, documents in previous.items())
    lines = [line.split() for line in output.read_text().splitlines()]
    assert [int(line[3]) for line in lines[:24]] == [*range(1, 25)]
    assert {line[5] for line in lines} == {"mine"}


def test_equal_documents_keep_the_order_of_the_first_retrieval(
    setting: Any, ended_training: Path, cosine_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(setting.root / "vectors", tmp_path / "vectors")
    path = tmp_path / "vectors/beir-herbs/corpus.npy"
    vectors = np.load(path)
    np.save(path, np.repeat(vectors[:1], len(vectors), axis=0))
    bundle = with_weight(ended_training, 0.5, tmp_path / "bundle")
    line = (bundle, "--encoder", f"npy:{tmp_path / 'vectors'}")
    reranked(
        "--input",
        cosine_run,
        *line,
        "--data",
        setting.data("herbs"),
        "--output",
        tmp_path / "out.run",
    )
    assert read_run(tmp_path / "out.run") == read_run(cosine_run)


@pytest.fixture
def text_bundle(tmp_path: Path, small_config: Callable[..., ExperimentConfig]) -> Path:
    """An untrained model over the encoder that comes with the package."""
    torch.manual_seed(0)
    config = override(small_config(), {"data.encoder": "minilm"})
    encoder = TextEncoder("minilm")
    vectors = encoder.encode(["a query", "a document"])
    head = build_head(config, vectors.shape[1])
    example = ExampleTexts("a query", vectors[0], ("a document",), vectors[1:])
    folder = tmp_path / "text-bundle"
    return export_model(
        folder,
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


@pytest.mark.slow
def test_documents_of_jsonl_are_written_in_the_order_of_the_reranker(
    text_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTUM_RERANK_CACHE", str(tmp_path / "cache"))
    texts = ["Acrophobia", "Arachnophobia", "Cholera"]
    records: Sequence[dict[str, Any]] = [
        {
            "query": "fear of spiders",
            "documents": [{"id": n, "text": t} for n, t in enumerate(texts)],
        },
        {"query": "an infection", "documents": texts, "also": {"kept": "ä"}},
    ]
    requests, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    requests.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    reranked("--input", requests, text_bundle, "--output", output)
    results = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    for record, line in zip(records, results, strict=True):
        expected = Reranker.load(text_bundle).rank(record["query"], texts)
        reranked_texts = [document["text"] for document in line["documents"]]
        assert reranked_texts == [entry.document for entry in expected]
        scores = [document["score"] for document in line["documents"]]
        assert scores == pytest.approx([e.score for e in expected], abs=1e-5)
    assert [texts[document["id"]] for document in results[0]["documents"]] == [
        document["text"] for document in results[0]["documents"]
    ]
    assert results[1]["also"] == {"kept": "ä"}


@pytest.mark.slow
def test_the_score_of_the_first_retrieval_is_kept_beside_the_new_one(
    text_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTUM_RERANK_CACHE", str(tmp_path / "cache"))
    documents = [{"text": "Acrophobia", "score": 12.5}, {"text": "Cholera"}, "Measles"]
    requests, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    requests.write_text(json.dumps({"query": "fear", "documents": documents, "score": 3}))
    reranked("--input", requests, text_bundle, "--output", output)
    record = json.loads(output.read_text(encoding="utf-8"))
    results = {document["text"]: document for document in record["documents"]}
    assert results["Acrophobia"]["retrieval_score"] == 12.5
    assert results["Cholera"].keys() == results["Measles"].keys() == {"text", "score"}
    scores = [document["score"] for document in record["documents"]]
    assert scores == sorted(scores, reverse=True)
    assert max(scores) <= 1.0
    assert record["score"] == 3  # of the query, not of a document


def own_document_run(setting: Any, tmp_path: Path) -> tuple[Path, str]:
    """A run over questions in which a query, `oak-leaf`, is a document too, of the same text."""
    shutil.copytree(setting.root / "herbs", tmp_path / "herbs")
    path = tmp_path / "herbs" / "queries.jsonl"
    text = path.read_text().replace("oak?leaf", "oak-leaf")
    path.write_text(text.replace("what is oak-leaf like", "The leaf of the oak."))
    qrels = tmp_path / "herbs" / "qrels" / "test.tsv"
    rows = qrels.read_text().replace("oak?leaf\toak-leaf\t2\n", "")
    qrels.write_text(rows.replace("oak?leaf", "oak-leaf"))
    run = tmp_path / "own.run"
    lines = [("oak-leaf", "oak-leaf"), ("oak-leaf", "oak-root"), ("oak?bark", "oak-leaf")]
    run.write_text("\n".join(f"{query} Q0 {document} 1 0.5 t" for query, document in lines))
    return run, f"beir:{tmp_path / 'herbs'}"


@pytest.mark.parametrize(
    ("options", "n_left"), [([], 1), (["--ignore-identical", "none"], 2)], ids=["auto", "none"]
)
def test_a_document_that_is_the_query_itself_is_left_out_of_a_run_and_counted(
    setting: Any, ended_training: Path, tmp_path: Path, options: list[str], n_left: int
) -> None:
    run, data = own_document_run(setting, tmp_path)
    line = ["--input", run, ended_training, "--data", data, "--output", tmp_path / "out.run"]
    result = CliRunner().invoke(app, [*map(str, line), *options], catch_exceptions=False)
    results = read_run(tmp_path / "out.run")
    assert len(results["oak-leaf"]) == n_left
    assert results["oak?bark"] == ["oak-leaf"]
    counted = "1 document of the run left out as the query itself"
    assert (counted in result.stderr) == (not options)


def test_a_query_without_documents_is_written_unchanged(
    ended_training: Path, tmp_path: Path
) -> None:
    requests, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    requests.write_text('{"query": "q", "documents": [], "n": 7}\n')
    reranked("--input", requests, ended_training, "--output", output)
    assert json.loads(output.read_text()) == {"query": "q", "documents": [], "n": 7}


def test_the_input_may_be_compressed(
    setting: Any, ended_training: Path, cosine_run: Path, tmp_path: Path
) -> None:
    lines, output = tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl"
    lines.write_bytes(gzip.compress(b'{"query": "q", "documents": [], "n": 7}\n'))
    reranked("--input", lines, ended_training, "--output", output)
    assert json.loads(output.read_text())["n"] == 7
    packed = tmp_path / "cosine.run.gz"
    packed.write_bytes(gzip.compress(cosine_run.read_bytes()))
    line = (ended_training, "--data", setting.data("herbs"), "--output")
    reranked("--input", cosine_run, *line, tmp_path / "plain.run")
    reranked("--input", packed, *line, tmp_path / "packed.run")
    assert (tmp_path / "packed.run").read_text() == (tmp_path / "plain.run").read_text()


@pytest.mark.slow
def test_queries_without_documents_keep_their_place_among_others(
    text_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTUM_RERANK_CACHE", str(tmp_path / "cache"))
    requests, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    records = [{"query": "q", "documents": []}, {"query": "r", "documents": ["Cholera"]}]
    requests.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    reranked("--input", requests, text_bundle, "--output", output)
    first, second = map(json.loads, output.read_text().splitlines())
    assert first == records[0]
    assert [document["text"] for document in second["documents"]] == ["Cholera"]


def test_the_result_can_go_to_standard_output(
    setting: Any, ended_training: Path, cosine_run: Path, tmp_path: Path
) -> None:
    line = ["--input", cosine_run, ended_training, "--data", setting.data("herbs")]
    reranked(*line, "--output", tmp_path / "out.run")
    result = CliRunner().invoke(app, list(map(str, [*line, "--output", "-"])))
    assert result.exit_code == 0
    assert result.stdout == (tmp_path / "out.run").read_text()


def test_a_link_stays_a_link_and_a_pipe_is_refused(
    setting: Any, ended_training: Path, cosine_run: Path, tmp_path: Path, ended: Ended
) -> None:
    (tmp_path / "real.run").touch()
    (tmp_path / "link.run").symlink_to("real.run")
    line = ("--input", cosine_run, ended_training, "--data", setting.data("herbs"), "--force")
    assert ended(app, *line, "--output", tmp_path / "link.run")[0] == 0
    assert (tmp_path / "link.run").is_symlink()
    assert "quantum-rerank" in (tmp_path / "real.run").read_text()
    os.mkfifo(tmp_path / "pipe")
    code, stderr = ended(app, *line, "--output", tmp_path / "pipe")
    assert code == 2
    assert "is no file. Name one, or `-` for standard output" in stderr


def test_a_file_is_overwritten_only_with_force(
    setting: Any, ended_training: Path, cosine_run: Path, tmp_path: Path, ended: Ended
) -> None:
    output = tmp_path / "out.run"
    output.write_text("mine")
    data = setting.data("herbs")
    line = ("--input", cosine_run, ended_training, "--data", data, "--output", output)
    code, message = ended(app, *line)
    assert (code, output.read_text()) == (2, "mine")
    assert "pass --force" in message
    assert ended(app, *line, "--force")[0] == 0
    assert "quantum-rerank" in output.read_text()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"cosine.run", "out.run"}  # nothing unfinished is left


@pytest.mark.parametrize(
    ("name", "content", "more", "message"),
    [
        ("a.run", "oak?leaf Q0 oak-leaf 1 0.5 t", [], "Name their collection"),
        ("a.run", "oak?leaf Q0 oak-leaf 1 0.5 t", ["--data", "beir:nowhere"], "nowhere"),
        ("a.run", "oak?leaf Q0 palm-leaf 1 0.5 t", ["HERBS"], "1 of 1 documents are not in"),
        ("a.run", "oak?palm Q0 oak-leaf 1 0.5 t", ["HERBS"], "1 of 1 queries are not in"),
        ("a.run", "oak?leaf oak-leaf 0.5", ["HERBS"], "line 1: 3 columns"),
        ("a.jsonl", '{"query": "q"}', [], "line 1: needs `query`"),
        ("a.jsonl", '{"query": "q", "documents": "text"}', [], "line 1: needs `query`"),
        ("a.jsonl", '{"query": " ", "documents": ["d"]}', [], "line 1: the query has no text"),
        ("a.jsonl", "not json", [], "line 1: needs `query`"),
        ("a.jsonl", "[" * 100_000, [], "line 1: needs `query`"),
        ("a.jsonl", '{"query": "\\ud83c", "documents": ["d"]}', [], "line 1: it has half a"),
        ("a.jsonl", '{"query": "q", "documents": ["d"], "n": "\\ud83c"}', [], "has half a"),
        (
            "a.jsonl",
            '{"query": "q", "documents": [{"text": "d", "score": 1, "retrieval_score": 2}]}',
            [],
            "line 1: a document has both `score` and `retrieval_score`",
        ),
        ("a.jsonl", "", [], "is empty"),
        ("a.jsonl", '{"query": "q", "documents": ["d"]}', [], "precomputed vectors"),
    ],
)
def test_invalid_input_gives_a_message_and_no_file(
    setting: Any,
    ended_training: Path,
    tmp_path: Path,
    ended: Ended,
    name: str,
    content: str,
    more: list[str],
    message: str,
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    more = ["--data", setting.data("herbs")] if more == ["HERBS"] else more
    output = tmp_path / "out"
    line = ("--input", tmp_path / name, ended_training, "--output", output, *more)
    code, stderr = ended(app, *line)
    assert code == 2
    assert message in stderr
    assert "Traceback" not in stderr
    assert not output.exists()


def test_all_invalid_lines_of_jsonl_are_reported_at_once(
    ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"query": "caf\xe9"}\n\n{"query": "q"}\n')
    line = ("--input", tmp_path / "a.jsonl", ended_training, "--output", tmp_path / "out")
    _, stderr = ended(app, *line)
    assert "line 1: the byte 0xe9 is not UTF-8" in stderr
    assert "line 3: needs `query`" in stderr


def test_skipped_and_cut_texts_are_counted(
    setting: Any, ended_training: Path, tmp_path: Path
) -> None:
    shutil.copytree(setting.root / "herbs", tmp_path / "herbs")
    corpus = tmp_path / "herbs" / "corpus.jsonl"
    blank = corpus.read_text().replace("The bark of the oak.", " ")
    corpus.write_text(blank.replace("The leaf of the oak.", "oak " * 30_000))
    (tmp_path / "a.run").write_text("oak?leaf Q0 oak-leaf 1 0.5 t\noak?leaf Q0 oak-bark 2 0.4 t")
    line = [ended_training, "--data", f"beir:{tmp_path / 'herbs'}"]
    line = ["--input", tmp_path / "a.run", *line, "--output", tmp_path / "out.run"]
    result = CliRunner().invoke(app, list(map(str, line)), catch_exceptions=False)
    assert "herbs: 1 document without text kept" in result.stderr
    assert "herbs: 1 text cut after 100,000 characters" in result.stderr
    assert "Reranked 1 query" in result.stderr


@pytest.mark.parametrize("tag", ["", " ", "my run", "mine\n"])
def test_a_tag_of_several_words_is_refused_before_the_input_is_read(
    ended_training: Path, tmp_path: Path, ended: Ended, tag: str
) -> None:
    output = tmp_path / "out.run"
    line = ("--input", "missing.run", ended_training, "--output", output, "--tag", tag)
    code, stderr = ended(app, *line)
    assert code == 2
    assert f"`--tag` is {tag!r}, but must be one word" in stderr


def test_an_output_without_a_folder_is_refused_before_the_input_is_read(
    ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    output = tmp_path / "nowhere" / "out.run"
    code, stderr = ended(app, "--input", "missing.run", ended_training, "--output", output)
    assert code == 2
    assert "is no folder to write `out.run` into" in stderr


# Prompts, and what the encoder does not read.


@pytest.fixture
def prompted_training(setting: Any, words_encoder: str, tmp_path: Path) -> Path:
    """The folder of a training whose queries and documents have prompts."""
    prompts = {"data.query_prompt": "query: ", "data.document_prompt": "passage: "}
    settings = {"data.encoder": words_encoder, "model": "mlp_twin", **prompts}
    run: Path = setting.train(tmp_path / "prompted", settings)
    return run


def test_every_command_uses_the_prompts_of_the_training(
    setting: Any, prompted_training: Path, tmp_path: Path
) -> None:
    texts = [f"The {part} of the oak." for part in ("leaf", "bark", "root")]
    requests, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    requests.write_text(json.dumps({"query": "the oak", "documents": texts}), encoding="utf-8")
    reranked("--input", requests, prompted_training, "--output", output, "--batch-size", 2)
    documents = json.loads(output.read_text())["documents"]
    results = {document["text"]: document["score"] for document in documents}
    scores = Reranker.load(prompted_training).scores("the oak", texts)
    assert [results[text] for text in texts] == pytest.approx(scores.tolist(), abs=1e-6)

    line = [prompted_training, "--json", "--device", "auto"]
    result = CliRunner().invoke(evaluate.app, list(map(str, line)))
    expected = json.loads((prompted_training / "metrics.json").read_text())["role_scores"]
    assert json.loads(result.stdout)["role_scores"] == expected

    line = [prompted_training, "--model", "mlp_twin", "--output", tmp_path / "again"]
    assert CliRunner().invoke(export_command.app, list(map(str, line))).exit_code == 0
    again = Reranker.load(tmp_path / "again").manifest.examples
    assert again == Reranker.load(prompted_training).manifest.examples


def test_texts_that_are_not_read_in_full_are_counted(
    prompted_training: Path, tmp_path: Path
) -> None:
    requests, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    record = {"query": "an oak", "documents": ["oak " * 20, "elm"]}
    requests.write_text(json.dumps(record), encoding="utf-8")
    line = ["--input", requests, prompted_training, "--output", output]
    result = CliRunner().invoke(app, list(map(str, line)))
    assert f"{requests}: 1 of 2 documents is longer than the 8 tokens" in result.stderr
    assert "Split long documents into passages" in result.stderr


@pytest.mark.parametrize("command", [app, evaluate.app])
def test_a_device_that_does_not_exist_is_refused(
    prompted_training: Path, tmp_path: Path, ended: Ended, command: Any
) -> None:
    requests = tmp_path / "in.jsonl"
    requests.write_text('{"query": "an oak", "documents": ["elm"]}')
    line: list[object] = [prompted_training, "--device", "cuda:99"]
    if command is app:
        line = ["--input", requests, *line, "--output", tmp_path / "out.jsonl"]
    code, stderr = ended(command, *line)
    assert code == 2
    assert "The device `cuda:99` cannot be used here" in stderr
