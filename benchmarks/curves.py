"""Learning curves of real trainings, read from the folders of searches and stored in a file.

    python -m benchmarks.curves RUN --into benchmarks/data/curves.json

Only trials that were not stopped are used: they reached the last epoch, or early stopping ended
them. A trial that was resumed after a lost worker is one curve, with the number of its first
attempt. The time of an epoch is measured separately, in processor time, one configuration after
another, because trials of a search share the machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.embeddings import embedding_source
from quantum_rerank.machine import machine
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.hybrid_trainer import make_trainer
from tuning.space import Space
from tuning.space.file import load_space
from tuning.study.run_folder import load_study, read_record
from tuning.study.view import StudyView

SPACE = Path(__file__).parent / "data" / "space.yaml"
CURVES = Path(__file__).parent / "data" / "curves.json"
_STEPS = 40  # of the warm-up, for the measurement

Prices = Callable[[dict[str, Any]], tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """The training of one configuration.

    Attributes:
        seed: The seed of the search that suggested the configuration.
        number: The number of the trial in the search.
        params: The suggested parameters.
        objective: The best validation objective so far after each epoch.
        seconds: The processor time of each epoch. The first includes the warm-up.
    """

    seed: int
    number: int
    params: dict[str, Any]
    objective: list[float]
    seconds: list[float]


def curves_of(folder: Path, prices: Prices, states: Sequence[str] = ("COMPLETE",)) -> list[Curve]:
    """Return the curves of the trials of a search, ordered by number.

    Args:
        folder: The folder of the search.
        prices: Parameters -> seconds of the warm-up and of each epoch.
        states: The states of the trials to return.
    """
    seed = read_record(folder)["space"]["sampler"]["seed"]
    trials = load_study(folder).get_trials(deepcopy=False)
    curves = []
    for trial in trials:
        if trial.state.name not in states:
            continue
        reports = sorted(trial.intermediate_values.items())
        values = [round(value, 5) for _, value in reports]
        params = {name: _short(value) for name, value in trial.params.items()}
        warm_up, epoch = prices(params)
        seconds = [round(warm_up + epoch, 2), *[round(epoch, 2)] * (len(values) - 1)]
        first = StudyView(trials).attempts(trial.number)[-1]
        curves.append(Curve(seed, first, params, values, seconds))
    return sorted(curves, key=lambda curve: curve.number)


class Measured:
    """The measured times of configurations: two epochs after a short warm-up. Cached."""

    def __init__(self, space: Space) -> None:
        self._space = space
        source = embedding_source(space.base.data.encoder)
        self._data = prepare(space.base.data, source).trial
        self._cache: dict[str, tuple[float, float]] = {}
        self._train(space.base)  # compiles, so that no measurement does

    def __call__(self, params: dict[str, Any]) -> tuple[float, float]:
        key = json.dumps(params, sort_keys=True)
        if key not in self._cache:
            self._cache[key] = self._train(self._space.config_for(params, 0))
        return self._cache[key]

    def _train(self, config: ExperimentConfig) -> tuple[float, float]:
        short = override(config, {"warmup.steps": _STEPS, "circuit.engine": "statevector"})
        epochs = make_trainer(short, self._data).epochs()
        began = time.process_time()
        next(epochs)
        second = time.process_time()
        next(epochs)
        epoch = time.process_time() - second
        warm_up = max(second - began - epoch, 0.0) * config.warmup.steps / _STEPS
        return warm_up, epoch


def read_curves(path: Path = CURVES) -> list[Curve]:
    """Read the curves of a file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return [Curve(**curve) for curve in content["curves"]]


def write_curves(path: Path, curves: Sequence[Curve]) -> None:
    """Write curves, one a line, below a description."""
    made = "python -m benchmarks.curves; see README.md beside this file"
    head = json.dumps({"made_by": made, "machine": machine()})[:-1]
    lines = (json.dumps(asdict(curve), separators=(",", ":")) for curve in curves)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{head}, "curves": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of searches without a scheduler.")],
    space: Annotated[Path, typer.Option(help="Search space of the searches.")] = SPACE,
    into: Annotated[Path, typer.Option(help="File of the curves.")] = CURVES,
) -> None:
    """Add the curves of some searches to a file."""
    by_trial = {(c.seed, c.number): c for c in (read_curves(into) if into.exists() else [])}
    torch.set_num_threads(1)
    prices = Measured(load_space(space, {}))
    for run in runs:
        by_trial |= {(curve.seed, curve.number): curve for curve in curves_of(run, prices)}
    write_curves(into, [by_trial[key] for key in sorted(by_trial)])
    print(f"{into}: {len(by_trial)} curves, {into.stat().st_size / 1000:.0f} kB.")


if __name__ == "__main__":
    typer.run(main)
