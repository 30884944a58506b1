"""Kill a training repeatedly and check that it ends with the same weights.

    python -m tests.chaos.training --rounds 20

A training runs undisturbed. The same training is then killed with SIGKILL in every round (at
its start, within an epoch, between two epochs, while a checkpoint is written) and continued with
--resume. On one thread both must end the same bit for bit: the last weights, moments and
generators of every model, the best weights of every model, the exported weights and all metrics.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.measuring import AsJson, show, table
from quantum_rerank.atomic import PARTIAL
from quantum_rerank.errors import BundleError
from quantum_rerank.export.bundle import WEIGHTS
from quantum_rerank.training.checkpoint_file import CheckpointFile
from quantum_rerank.training.run_record import CHECKPOINTS, RUN_FILE
from quantum_rerank.training.run_results import BEST_MODELS, BUNDLE, METRICS_FILE
from quantum_rerank.training.serialization import loads
from tests.chaos.moments import changed_ns, let_run
from tests.integration.conftest import command, environment, write_domains
from tests.speed import slowness

MOMENTS = ("within an epoch", "between epochs", "writing", "start")
MODELS = ("quantum_only", "mlp_twin", "hybrid")  # in order of training; cosine has one epoch
EPOCHS, EPOCHS_A_ROUND = 24, 12  # of each model: the training must take longer than its kills
# Metrics that differ between any two trainings.
TIMES = ("wall_seconds", "seconds", "peak_memory_gb")
TIMED_TARGETS = ("time", "peak memory")


def main(
    rounds: Annotated[int, typer.Option(help="Number of kills.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the moments.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print the state after each round and compare both trainings."""
    slowness()  # measured before the kills, not between them
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        root = Path(name)
        config = write_training(root, EPOCHS + EPOCHS_A_ROUND * rounds)
        calm, killed = root / "calm", root / "killed"
        run_to_end(["--config", str(config), "--output", str(calm)])
        rows, broken = kill_rounds(config, killed, rounds, random.Random(seed))
        if not (killed / METRICS_FILE).exists():
            run_to_end(arguments(config, killed))
        compared = differences(calm, killed)
    columns = ("round", "killed while", "after s", "epochs on disk", "unfinished write")
    broken += [f"{name} differs" for name, same in compared.items() if not same]
    alike = [(name, "the same" if same else "DIFFERS") for name, same in compared.items()]
    tables = [
        table(f"{len(rows)} kills", columns, rows),
        table("Undisturbed and killed", ("content", "bit for bit"), alike),
    ]
    show({"rounds": len(rows), "same": compared, "broken": broken}, tables, as_json)
    for line in broken:
        Console(stderr=True).print(f"BROKEN: {line}", markup=False)
    raise typer.Exit(1 if broken else 0)


def write_training(root: Path, epochs: int) -> Path:
    """Write three small domains and a training that uses every random draw and every state."""
    write_domains(root)
    values = {
        "circuit": {"n_qubits": 3, "engine": "statevector"},
        "mlp": {"hidden_layers": [32], "dropout": 0.2},
        "fusion": {"gate": "nearest"},
        "warmup": {"steps": 20, "batch_size": 32},
        "loss": {"name": "infonce", "score": "fused", "negatives": 7},
        "negatives": {"kind": "hard", "refresh_epochs": 3},
        "optimizer": {"schedule": "plateau", "circuit_schedule": "cosine"},
        "training": {
            "batch_size": 8,
            "max_epochs": epochs,
            "early_stopping_patience": epochs,
            "ema_decay": 0.8,
            "difficulty": 0.5,
            "balance": 0.5,
            "embedding_noise": 0.1,
        },
        "data": {
            "seen": [f"beir:{root / 'seen'}"],
            "unseen_validation": [f"beir:{root / 'near'}"],
            "unseen_test": [f"beir:{root / 'far'}"],
            "encoder": f"npy:{root / 'vectors'}",
        },
    }
    path = root / "config.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")  # which is YAML
    return path


def arguments(config: Path, folder: Path) -> list[str]:
    """Return the options of a training that starts, or resumes if it can."""
    has_started = (folder / RUN_FILE).exists()
    return ["--output", str(folder), *(["--resume"] if has_started else ["--config", str(config)])]


def training(options: Sequence[str], output: Any) -> subprocess.Popen[bytes]:
    """Start the command."""
    line = command("quantum_rerank.cli.train", *options)
    return subprocess.Popen(line, stdout=output, stderr=subprocess.STDOUT, env=environment())


def run_to_end(options: Sequence[str]) -> None:
    """Run a training until its end; exit if it fails."""
    with tempfile.TemporaryFile() as output:
        code = training(options, output).wait()
        output.seek(0)
        if code:
            sys.exit(f"exit code {code}: {' '.join(options)}\n{output.read().decode()}")


def kill_rounds(
    config: Path, folder: Path, rounds: int, rng: random.Random
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Start or resume the training and kill it in every round, model by model."""
    rows: list[tuple[str, ...]] = []
    broken: list[str] = []
    previous: dict[str, int] = {}
    for number in range(rounds):
        moment, started = MOMENTS[number % len(MOMENTS)], time.monotonic()
        waited_for = MODELS[number * len(MODELS) // rounds :]
        process = training(arguments(config, folder), subprocess.DEVNULL)
        wait_for(moment, waited_for, folder / CHECKPOINTS, process, rng)
        after = time.monotonic() - started
        process.kill()
        if (code := process.wait()) != -signal.SIGKILL:
            if code:
                broken.append(f"round {number}: exit code {code}")
            break  # it has ended earlier
        now = dict(resumable_epochs(folder / CHECKPOINTS))
        lost = [model for model, epoch in previous.items() if now.get(model, -1) < epoch]
        broken += [
            f"round {number}: {model} went back from epoch {previous[model]}" for model in lost
        ]
        previous = now
        cut = " ".join(path.stem for path in (folder / CHECKPOINTS).glob(f"*{PARTIAL}"))
        shown = "  ".join(f"{model} {epoch}" for model, epoch in now.items())
        rows.append((str(number), moment, f"{after:.1f}", shown, cut))
        Console(stderr=True).print("  ".join(rows[-1]), markup=False, highlight=False)
    return rows, broken


def wait_for(
    moment: str,
    models: Sequence[str],
    folder: Path,
    process: subprocess.Popen[bytes],
    rng: random.Random,
) -> None:
    """Wait for a moment in the training of one of the models, or until it has ended."""
    called = time.time_ns()

    def written(ending: str) -> bool:
        return any(changed_ns(folder / f"{model}.safetensors{ending}") > called for model in models)

    ending, longest = {
        "start": (None, 3.0),
        "within an epoch": ("", 1.0),
        "between epochs": ("", 0.0),
        "writing": (PARTIAL, 0.0),
    }[moment]
    passes = rng.randrange(3) if moment == "writing" else 0  # writes before the kill
    while process.poll() is None and ending is not None:
        if written(ending):
            if not passes:
                break
            passes, called = passes - 1, time.time_ns()
        time.sleep(0.0005)
    let_run(process, rng.uniform(0.0, longest))


def resumable_epochs(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield each model with the epochs of its newest readable checkpoint."""
    for model in sorted({path.name.partition(".")[0] for path in folder.glob("*")}):
        for _, content in CheckpointFile(folder / f"{model}.safetensors").versions():
            try:
                yield model, int(loads(content, model)["state"]["epochs_done"])
            except BundleError:
                continue
            break


def differences(calm: Path, killed: Path) -> dict[str, bool]:
    """What there is of two trainings, and whether it is the same in both."""
    folders = (calm / CHECKPOINTS, calm / BEST_MODELS)
    files = [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]
    files.append(calm / BUNDLE / WEIGHTS)
    names = [path.relative_to(calm) for path in files]
    same = {str(name): (calm / name).read_bytes() == _bytes(killed / name) for name in names}
    return {**same, METRICS_FILE: _metrics(calm) == _metrics(killed)}


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _metrics(folder: Path) -> Mapping[str, Any]:
    record = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    shared = {key: value for key, value in record.items() if key not in TIMES}
    targets = [target for target in record["targets"] if target["name"] not in TIMED_TARGETS]
    return {**shared, "targets": targets}


if __name__ == "__main__":
    typer.run(main)
