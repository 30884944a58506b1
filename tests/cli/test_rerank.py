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

from quantum_rerank.cli import export_model as export_model_command
from quantum_rerank.cli import validate_training
from quantum_rerank.cli.rerank import app
from quantum_rerank.cli.trained_model import load_model
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.embeddings import TextEncoder, embedding_source
from quantum_rerank.embeddings.examples import ExampleTexts
from quantum_rerank.evaluation import NDCG
from quantum_rerank.evaluation.trec_runs import read_run
from quantum_rerank.export import export_model
from quantum_rerank.reranker import Reranker
from quantum_rerank.similarity import build_head
from quantum_rerank.training.data_manager import QuerySet
from quantum_rerank.training.ranking import score_on
from quantum_rerank.training.standings import load_roles

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
    reranked(cosine_run, "--bundle", bundle, "--data", data, "--output", output)
    model = load_model(bundle)
    expected = score_on(model.head, model.fusion_weight, [herbs])
    run: dict[str, dict[str, float]] = {}
    for line in output.read_text().splitlines():
        query, _, document, _, score, _ = line.split()
        run.setdefault(query, {})[document] = float(score)
    evaluator = pytrec_eval.RelevanceEvaluator(herbs.qrels, {"ndcg_cut_10"})
    for query, values in evaluator.evaluate(run).items():
        own = expected.per_query[NDCG][f"{herbs.domain}/{query}"]
        assert values["ndcg_cut_10"] == pytest.approx(own, abs=1e-9)
    (mean,) = ir_measures.calc_aggregate(
        [nDCG @ 10], herbs.qrels, ir_measures.read_trec_run(str(output))
    ).values()
    assert mean == pytest.approx(expected.metrics[NDCG], abs=1e-9)


def with_weight(run: Path, weight: float, folder: Path) -> Path:
    """The model of a run as a bundle with another fusion weight, and a gate that is felt."""
    model = load_model(run)
    if model.head.gate:
        model.head.gate.fall.fill_(1.0)
    example = ExampleTexts("q", np.eye(16, dtype=np.float32)[0], ("d",), np.eye(16)[:1])
    return export_model(
        folder, model.head, model.config, weight, model.encoder_fingerprint, "", {}, [example]
    )


def test_what_lies_below_the_top_keeps_its_order(
    setting: Any, ended_training: Path, cosine_run: Path, tmp_path: Path
) -> None:
    output, data = tmp_path / "out.run", setting.data("herbs")
    bundle = with_weight(ended_training, 1.0, tmp_path / "bundle")
    line = ("--bundle", bundle, "--data", data, "--output", output)
    reranked(cosine_run, *line, "--top", 5, "--tag", "mine")
    before, after = read_run(cosine_run), read_run(output)
    assert list(before) == list(after)
    for query, documents in before.items():
        assert after[query][5:] == documents[5:]
        assert sorted(after[query][:5]) == sorted(documents[:5])
    assert any(after[query] != documents for query, documents in before.items())
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
    line = ("--bundle", bundle, "--encoder", f"npy:{tmp_path / 'vectors'}")
    reranked(cosine_run, *line, "--data", setting.data("herbs"), "--output", tmp_path / "out.run")
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
    return export_model(folder, head, config, 0.5, encoder.fingerprint, "", {}, [example])


@pytest.mark.slow
def test_lines_of_json_come_back_in_the_order_of_the_reranker(
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
    given, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    reranked(given, "--bundle", text_bundle, "--output", output)
    found = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    for record, one in zip(records, found, strict=True):
        expected = Reranker.load(text_bundle).rank(record["query"], texts)
        assert [document["text"] for document in one["documents"]] == [e.document for e in expected]
        scores = [document["score"] for document in one["documents"]]
        assert scores == pytest.approx([e.score for e in expected], abs=1e-5)
    assert [texts[document["id"]] for document in found[0]["documents"]] == [
        document["text"] for document in found[0]["documents"]
    ]
    assert found[1]["also"] == {"kept": "ä"}


@pytest.mark.slow
def test_the_score_of_the_first_retrieval_is_kept_beside_the_new_one(
    text_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTUM_RERANK_CACHE", str(tmp_path / "cache"))
    documents = [{"text": "Acrophobia", "score": 12.5}, {"text": "Cholera"}, "Measles"]
    given, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given.write_text(json.dumps({"query": "fear", "documents": documents, "score": 3}))
    reranked(given, "--bundle", text_bundle, "--output", output)
    record = json.loads(output.read_text(encoding="utf-8"))
    found = {one["text"]: one for one in record["documents"]}
    assert found["Acrophobia"]["retrieval_score"] == 12.5
    assert found["Cholera"].keys() == found["Measles"].keys() == {"text", "score"}
    scores = [one["score"] for one in record["documents"]]
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
    line = [run, "--bundle", ended_training, "--data", data, "--output", tmp_path / "out.run"]
    result = CliRunner().invoke(app, [*map(str, line), *options], catch_exceptions=False)
    found = read_run(tmp_path / "out.run")
    assert len(found["oak-leaf"]) == n_left
    assert found["oak?bark"] == ["oak-leaf"]
    counted = "1 documents of the run left out, since they are the query itself"
    assert (counted in result.stderr) == (not options)


def test_a_query_for_which_nothing_was_found_comes_back_as_it_was(
    ended_training: Path, tmp_path: Path
) -> None:
    given, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given.write_text('{"query": "q", "documents": [], "n": 7}\n')
    reranked(given, "--bundle", ended_training, "--output", output)
    assert json.loads(output.read_text()) == {"query": "q", "documents": [], "n": 7}


def test_the_input_may_be_compressed(
    setting: Any, ended_training: Path, cosine_run: Path, tmp_path: Path
) -> None:
    lines, output = tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl"
    lines.write_bytes(gzip.compress(b'{"query": "q", "documents": [], "n": 7}\n'))
    reranked(lines, "--bundle", ended_training, "--output", output)
    assert json.loads(output.read_text())["n"] == 7
    packed = tmp_path / "cosine.run.gz"
    packed.write_bytes(gzip.compress(cosine_run.read_bytes()))
    line = ("--bundle", ended_training, "--data", setting.data("herbs"), "--output")
    reranked(cosine_run, *line, tmp_path / "plain.run")
    reranked(packed, *line, tmp_path / "packed.run")
    assert (tmp_path / "packed.run").read_text() == (tmp_path / "plain.run").read_text()


@pytest.mark.slow
def test_queries_for_which_nothing_was_found_stand_among_others(
    text_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTUM_RERANK_CACHE", str(tmp_path / "cache"))
    given, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    records = [{"query": "q", "documents": []}, {"query": "r", "documents": ["Cholera"]}]
    given.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    reranked(given, "--bundle", text_bundle, "--output", output)
    first, second = map(json.loads, output.read_text().splitlines())
    assert first == records[0]
    assert [document["text"] for document in second["documents"]] == ["Cholera"]


def test_the_result_can_go_to_standard_output(
    setting: Any, ended_training: Path, cosine_run: Path, tmp_path: Path
) -> None:
    line = [cosine_run, "--bundle", ended_training, "--data", setting.data("herbs")]
    reranked(*line, "--output", tmp_path / "out.run")
    result = CliRunner().invoke(app, list(map(str, [*line, "--output", "-"])))
    assert result.exit_code == 0
    assert result.stdout == (tmp_path / "out.run").read_text()


def test_a_link_stays_one_and_what_is_no_file_is_refused(
    setting: Any, ended_training: Path, cosine_run: Path, tmp_path: Path, ended: Ended
) -> None:
    (tmp_path / "real.run").touch()
    (tmp_path / "link.run").symlink_to("real.run")
    line = (cosine_run, "--bundle", ended_training, "--data", setting.data("herbs"), "--force")
    assert ended(app, *line, "--output", tmp_path / "link.run")[0] == 0
    assert (tmp_path / "link.run").is_symlink()
    assert "quantum-rerank" in (tmp_path / "real.run").read_text()
    os.mkfifo(tmp_path / "pipe")
    code, told = ended(app, *line, "--output", tmp_path / "pipe")
    assert code == 2
    assert "is no file. Name one, or `-` for standard output" in told


def test_a_file_is_not_written_over_unless_it_is_asked_for(
    setting: Any, ended_training: Path, cosine_run: Path, tmp_path: Path, ended: Ended
) -> None:
    output = tmp_path / "out.run"
    output.write_text("mine")
    data = setting.data("herbs")
    line = (cosine_run, "--bundle", ended_training, "--data", data, "--output", output)
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
        ("a.jsonl", '{"query": "q", "documents": ["d"]}', [], "computed elsewhere"),
    ],
)
def test_a_mistake_is_told_in_words_and_nothing_is_written(
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
    line = (tmp_path / name, "--bundle", ended_training, "--output", output, *more)
    code, told = ended(app, *line)
    assert code == 2
    assert message in told
    assert "Traceback" not in told
    assert not output.exists()


def test_lines_of_json_that_are_wrong_are_told_together(
    ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"query": "caf\xe9"}\n\n{"query": "q"}\n')
    line = (tmp_path / "a.jsonl", "--bundle", ended_training, "--output", tmp_path / "out")
    _, told = ended(app, *line)
    assert "line 1: the byte 0xe9 is not UTF-8" in told
    assert "line 3: needs `query`" in told


def test_texts_that_are_not_taken_as_they_are_are_counted(
    setting: Any, ended_training: Path, tmp_path: Path
) -> None:
    shutil.copytree(setting.root / "herbs", tmp_path / "herbs")
    corpus = tmp_path / "herbs" / "corpus.jsonl"
    blank = corpus.read_text().replace("The bark of the oak.", " ")
    corpus.write_text(blank.replace("The leaf of the oak.", "oak " * 30_000))
    (tmp_path / "a.run").write_text("oak?leaf Q0 oak-leaf 1 0.5 t\noak?leaf Q0 oak-bark 2 0.4 t")
    line = ["--bundle", ended_training, "--data", f"beir:{tmp_path / 'herbs'}"]
    line = [tmp_path / "a.run", *line, "--output", tmp_path / "out.run"]
    result = CliRunner().invoke(app, list(map(str, line)), catch_exceptions=False)
    assert "herbs: 1 documents without text kept" in result.stderr
    assert "herbs: 1 texts cut after 100,000 characters" in result.stderr
    assert "Reranked 1 queries" in result.stderr


@pytest.mark.parametrize("tag", ["", " ", "my run", "mine\n"])
def test_a_tag_that_is_no_column_is_refused_before_anything_is_read(
    ended_training: Path, tmp_path: Path, ended: Ended, tag: str
) -> None:
    output = tmp_path / "out.run"
    line = ("missing.run", "--bundle", ended_training, "--output", output, "--tag", tag)
    code, told = ended(app, *line)
    assert code == 2
    assert f"`--tag` is {tag!r}, but must be one word" in told


def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(
    ended_training: Path, tmp_path: Path, ended: Ended
) -> None:
    output = tmp_path / "nowhere" / "out.run"
    code, told = ended(app, "missing.run", "--bundle", ended_training, "--output", output)
    assert code == 2
    assert "is no folder to write `out.run` into" in told


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
    given, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given.write_text(json.dumps({"query": "the oak", "documents": texts}), encoding="utf-8")
    reranked(given, "--bundle", prompted_training, "--output", output, "--batch-size", 2)
    documents = json.loads(output.read_text())["documents"]
    found = {document["text"]: document["score"] for document in documents}
    scores = Reranker.load(prompted_training).scores("the oak", texts)
    assert [found[text] for text in texts] == pytest.approx(scores.tolist(), abs=1e-6)

    line = [prompted_training, "--json", "--device", "auto"]
    result = CliRunner().invoke(validate_training.app, list(map(str, line)))
    expected = json.loads((prompted_training / "metrics.json").read_text())["standings"]
    assert json.loads(result.stdout)["standings"] == expected

    line = [prompted_training, "--model", "mlp_twin", "--output", tmp_path / "again"]
    assert CliRunner().invoke(export_model_command.app, list(map(str, line))).exit_code == 0
    again = Reranker.load(tmp_path / "again").manifest.examples
    assert again == Reranker.load(prompted_training).manifest.examples


def test_texts_that_are_not_read_in_full_are_counted(
    prompted_training: Path, tmp_path: Path
) -> None:
    given, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    record = {"query": "an oak", "documents": ["oak " * 20, "elm"]}
    given.write_text(json.dumps(record), encoding="utf-8")
    line = [given, "--bundle", prompted_training, "--output", output]
    result = CliRunner().invoke(app, list(map(str, line)))
    assert f"{given}: 1 of 2 documents are longer than the 8 tokens" in result.stderr
    assert "Split long documents into passages" in result.stderr


@pytest.mark.parametrize("command", [app, validate_training.app])
def test_a_device_that_does_not_exist_is_refused(
    prompted_training: Path, tmp_path: Path, ended: Ended, command: Any
) -> None:
    given = tmp_path / "in.jsonl"
    given.write_text('{"query": "an oak", "documents": ["elm"]}')
    line: list[object] = [prompted_training, "--device", "cuda:99"]
    if command is app:
        line = [given, "--bundle", *line, "--output", tmp_path / "out.jsonl"]
    code, told = ended(command, *line)
    assert code == 2
    assert "The device `cuda:99` cannot be used here" in told
