"""Trainings from a shared warm-up compared with trainings that each do their own.

    python -m benchmarks.warm_up                     # 20 configurations, a quarter of an hour
    python -m benchmarks.warm_up --configurations 4 --epochs 2

Random configurations of a search space are trained twice: with a warm-up of their own, as
without `warmup.seed`, and with the warm-up that all trainings of the same model share. The
difference of the validation objectives is paired, with a 95 % interval (t distribution). `shared`
counts configurations whose warm-up another one had done before; `repeated` is the training of the
same configuration on a further seed, as the confirmation of a search does it, where every warm-up
is shared. Times are processor time on one core.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any

import optuna
import torch
import typer
from scipy.stats import t

from benchmarks.curves import SPACE
from benchmarks.measuring import AsJson, show, table
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.embeddings import source_of
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.trial_data import TrialData
from quantum_rerank.training.warm_up import WarmUpStore, warm_up_key
from tuning.space.file import load_space

_OWN: dict[str, Any] = {"warmup.seed": None, "warmup.dropout": None}
_SHARED: dict[str, Any] = {"warmup.seed": 0, "warmup.dropout": 0.1}
_PROCESSES = 2


@dataclass
class Memory:
    """Warm-ups in memory, see `WarmUpStore`."""

    run: str = ""
    content: dict[str, bytes] = field(default_factory=dict)

    def versions(self, key: str) -> Iterator[bytes]:
        """Yield the warm-up, if it was done before."""
        if key in self.content:
            yield self.content[key]

    def write(self, key: str, content: bytes) -> None:
        """Keep a warm-up."""
        self.content[key] = content


@dataclass(frozen=True)
class Pair:
    """Validation objectives and seconds of one configuration, trained in both ways.

    Attributes:
        key: Key of its shared warm-up.
        own: Objective with a warm-up of its own.
        shared: Objective with the shared warm-up.
        seconds: Processor time with a warm-up of its own.
        repeated: Processor time of a further seed, whose warm-up is done already.
    """

    key: str
    own: float
    shared: float
    seconds: float
    repeated: float


def compare(config: ExperimentConfig, data: TrialData) -> Pair:
    """Train a configuration in both ways, and on a further seed."""
    store = Memory()
    shared_config = override(config, _SHARED)
    own, seconds = _trained(override(config, _OWN), data, None)
    shared, _ = _trained(shared_config, data, store)
    further = override(shared_config, {"seed": config.seed + 1})
    _, repeated = _trained(further, data, store)
    return Pair(warm_up_key(shared_config), own, shared, seconds, repeated)


def _trained(
    config: ExperimentConfig, data: TrialData, store: WarmUpStore | None
) -> tuple[float, float]:
    """Return the objective and the processor time of a training."""
    began = time.process_time()
    *_, last = make_trainer(config, data, store).epochs()
    return last.metrics["objective"], time.process_time() - began


def _compare_one(config: ExperimentConfig) -> Pair:
    torch.set_num_threads(1)
    return compare(config, prepare(config.data, source_of(config.data)).trial)


def draw(space_file: Path, n: int, epochs: int) -> list[ExperimentConfig]:
    """Return random configurations of a space."""
    space = load_space(space_file, {})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=7))
    changes = {"training.max_epochs": epochs, "circuit.engine": "statevector"}
    return [
        override(space.config_for(space.suggest(study.ask()), number), changes)
        for number in range(n)
    ]


def interval(differences: list[float]) -> tuple[float, float, float]:
    """Return the mean of paired differences and its 95 % interval."""
    mean, n = fmean(differences), len(differences)
    half = t.ppf(0.975, n - 1) * stdev(differences) / math.sqrt(n)
    return mean, mean - half, mean + half


def main(
    space: Annotated[Path, typer.Option(help="Search space of the configurations.")] = SPACE,
    configurations: Annotated[int, typer.Option(min=2, help="Number of configurations.")] = 20,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Print the paired difference of the objectives, and the time that sharing saves."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    configs = draw(space, configurations, epochs)
    with ProcessPoolExecutor(_PROCESSES) as pool:
        pairs = list(pool.map(_compare_one, configs))
    mean, low, high = interval([pair.shared - pair.own for pair in pairs])
    n_shared = len(pairs) - len({pair.key for pair in pairs})
    seconds, repeated = sum(p.seconds for p in pairs), sum(p.repeated for p in pairs)
    rows = [
        ("own warm-up", f"{fmean(p.own for p in pairs):.4f}", f"{seconds:.0f}", "1.00"),
        ("shared", f"{fmean(p.shared for p in pairs):.4f}", "", ""),
        ("repeated", "", f"{repeated:.0f}", f"{repeated / seconds:.2f}"),
    ]
    title = (
        f"{configurations} configurations, {epochs} epochs\n"
        f"shared minus own {mean:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}; "
        f"{n_shared} of {len(pairs)} would find their warm-up done"
    )
    record = {"pairs": [asdict(p) for p in pairs], "difference": [mean, low, high]}
    show(record, [table(title, ("warm-up", "objective", "seconds", "ratio"), rows)], as_json)


if __name__ == "__main__":
    typer.run(main)
