"""Mutations of the contents of a file, after which its hashes fit again."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from quantum_rerank.document_index import RECORD
from quantum_rerank.export.bundle import MANIFEST, WEIGHTS
from quantum_rerank.export.manifest import manifest_sha256
from quantum_rerank.training.serialization import dumps, loads
from tests.fuzz.odd_values import mutated_tree, odd_value

_SCHEMA = (
    "CREATE TRIGGER planted AFTER INSERT ON trials BEGIN DELETE FROM trial_values; END",
    "DROP TABLE trials; CREATE VIEW trials AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT "
    "x + 1 FROM c) SELECT x AS trial_id, x AS number, 1 AS study_id, 'COMPLETE' AS state, NULL AS "
    "datetime_start, NULL AS datetime_complete FROM c",
    "DROP TABLE trial_user_attributes",
    "DROP TABLE version_info",
    "UPDATE version_info SET schema_version = 999",
    "UPDATE alembic_version SET version_num = 'v0'",
    "INSERT INTO studies (study_name) VALUES ('another')",
    "DELETE FROM study_directions",
    "DELETE FROM studies",
    "UPDATE trials SET number = number + 5",
    "UPDATE trials SET state = 'WAITING'",
    "UPDATE trials SET state = 'RUNNING'",
    "CREATE VIRTUAL TABLE planted USING fts5(x)",
    "ALTER TABLE trials ADD COLUMN planted AS (zeroblob(100000000))",
)


def edit(path: Path, rng: random.Random) -> str:
    """Change the content of a file in a way that its format allows.

    Returns:
        The mutation in a few words; empty if the format is not known.
    """
    mutations: Mapping[str, Callable[[Path, random.Random], None]] = {
        ".json": _json,
        ".jsonl": _json_lines,
        ".db": _database,
        ".safetensors": _weights,
        ".npy": _array,
        ".yaml": _json,  # written as JSON, which is YAML
        ".csv": _cells,
        ".tsv": _cells,
    }
    if (mutation := mutations.get(path.suffix)) is None:
        return ""
    try:
        mutation(path, rng)
    except Exception:  # the value does not fit into the format
        return ""
    return f"{mutation.__name__.strip('_')} of {path.name}"


def _json(path: Path, rng: random.Random) -> None:
    tree = json.loads(path.read_text(encoding="utf-8"))
    for _ in range(rng.choice((1, 1, 1, 3))):
        tree = mutated_tree(tree, rng)
    if path.name == MANIFEST and isinstance(tree, dict):
        tree["manifest_sha256"] = manifest_sha256(tree)
    path.write_text(json.dumps(tree), encoding="utf-8")


def _json_lines(path: Path, rng: random.Random) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    if lines:
        at = rng.randrange(len(lines))
        lines[at] = json.dumps(mutated_tree(json.loads(lines[at]), rng))
    path.write_text("\n".join(lines), encoding="utf-8")


def _cells(path: Path, rng: random.Random) -> None:
    mark = "\t" if path.suffix == ".tsv" else ","
    rows = [line.split(mark) for line in path.read_text(encoding="utf-8").splitlines()]
    row = rng.choice(rows)
    row[rng.randrange(len(row))] = str(odd_value(rng)).encode(errors="replace").decode()[:5000]
    path.write_text("\n".join(mark.join(row) for row in rows), encoding="utf-8")


def _database(path: Path, rng: random.Random) -> None:
    with closing(sqlite3.connect(path)) as database:
        if rng.random() < 0.2:
            database.executescript(rng.choice(_SCHEMA))
        else:
            for _ in range(rng.choice((1, 1, 2, 4))):
                _cell(database, rng)
        database.commit()


def _cell(database: sqlite3.Connection, rng: random.Random) -> None:
    """Change a cell, as JSON where it is JSON, or remove or repeat a row."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    table = rng.choice([name for (name,) in database.execute(query)])
    rows = database.execute(f"SELECT rowid, * FROM {table}").fetchall()
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    if not rows:
        return
    row = rng.choice(rows)
    if rng.random() < 0.1:
        database.execute(f"DELETE FROM {table} WHERE rowid = ?", (row[0],))
        return
    at = rng.randrange(len(columns))
    database.execute("PRAGMA ignore_check_constraints = ON")
    database.execute(
        f"UPDATE OR IGNORE {table} SET {columns[at]} = ? WHERE rowid = ?",
        (_cell_value(columns[at], row[at + 1], rng), row[0]),
    )


def _cell_value(column: str, value: Any, rng: random.Random) -> Any:
    if column.endswith("json") and rng.random() < 0.9:
        return json.dumps(mutated_tree(json.loads(value), rng))
    if column == "key" and rng.random() < 0.7:
        return rng.choice(("continues", "clones", "at_epoch", "replaces", "warm_start", "failure"))
    odd = mutated_tree(value, rng)
    if isinstance(odd, str):
        return odd.encode(errors="replace").decode()
    if odd is None or isinstance(odd, float):
        return odd
    return odd if isinstance(odd, int) and abs(odd) < 2**63 else str(odd)[:1000]


def _weights(path: Path, rng: random.Random) -> None:
    """Change a value or a tensor of a bundle, a best epoch or a checkpoint."""
    if path.name == WEIGHTS:
        tensors = load(path.read_bytes())
        name = rng.choice(sorted(tensors))
        path.write_bytes(save({**tensors, name: _tensor(tensors[name], rng)}))
        manifest = json.loads((path.parent / MANIFEST).read_text(encoding="utf-8"))
        manifest["files"][WEIGHTS] = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest["manifest_sha256"] = manifest_sha256(manifest)
        (path.parent / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        return
    path.write_bytes(dumps(_changed(loads(path.read_bytes(), path.name), rng)))


def _changed(tree: Any, rng: random.Random) -> Any:
    """Change a tensor or a value anywhere in a tree."""
    if isinstance(tree, Tensor):
        return _tensor(tree, rng)
    if isinstance(tree, dict) and tree and rng.random() < 0.95:
        key = rng.choice(list(tree))
        if key == "record":
            return {**tree, key: json.dumps(mutated_tree(json.loads(tree[key]), rng))}
        return {**tree, key: _changed(tree[key], rng)}
    return odd_value(rng)


def _tensor(tensor: Tensor, rng: random.Random) -> Tensor:
    kinds: list[Callable[[], Tensor]] = [
        lambda: torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else -tensor,
        lambda: tensor.double() * 1e300,
        lambda: tensor.float() * 1e30,
        tensor.flatten,
        lambda: tensor[None],
        lambda: tensor.flatten()[:1],
        lambda: tensor.to(torch.int64),
        lambda: torch.zeros(0),
        lambda: torch.zeros(2**22),
        tensor.half,
    ]
    return rng.choice(kinds)().contiguous()


def _array(path: Path, rng: random.Random) -> None:
    """Change the type, the shape or the values of an array; the record of an index then fits."""
    array = np.load(path, allow_pickle=False)
    kinds: list[Callable[[], Any]] = [
        lambda: array.astype(np.float16),
        lambda: array.astype(np.complex64),
        lambda: array.astype(bool),
        lambda: array.astype("U3"),
        lambda: np.full_like(array, np.nan if array.dtype.kind in "fc" else -1),
        lambda: array * (1e30 if array.dtype.kind in "fc" else 1000),
        lambda: array[:-1],
        lambda: array[:, :-1],
        lambda: array[:0],
        lambda: array[:, :0],
        array.ravel,
        lambda: array[None],
        lambda: np.asfortranarray(array),
        lambda: array * 0,
    ]
    with np.errstate(all="ignore"):
        np.save(path, rng.choice(kinds)())
    if (record := path.parent / RECORD).is_file():
        content = json.loads(record.read_text(encoding="utf-8"))
        saved = np.load(path, mmap_mode="r") if path.stat().st_size > 200 else np.load(path)
        facts = {"shape": list(saved.shape), "dtype": saved.dtype.name}
        content["files"][path.name] = facts | {"bytes": path.stat().st_size}
        if rng.random() < 0.5:
            content["n_documents"] = len(saved)
        record.write_text(json.dumps(content), encoding="utf-8")
