"""Recorded trainings of many configurations on several collections, for replays of searches.

    python -m benchmarks.recordings --beir FOLDER                       # all, some 30 core-hours
    python -m benchmarks.recordings --beir FOLDER --collection cran --near 4 --random 8

Every configuration is trained on every split of every collection: the start points of the space,
configurations near the tuned one (each number normal around it with a fifth of its range, each
choice kept with a probability of 0.7), and random ones. Splits differ in the division into train
and validation and in the seed; the test queries stay the same. A line is written for each
training as it ends, and what is recorded already is not trained again.

Of each training the file has the validation objective of every epoch, the test score of every
epoch that was the best so far, the processor time, and the NDCG@10 of each validation and test
query at the best epoch so far when the rungs and the end were reached.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import optuna
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.curves import SPACE
from benchmarks.warm_up import Memory
from experiments.plan import GPE_TOPICS
from quantum_rerank.config import DataConfig, ExperimentConfig, override
from quantum_rerank.embeddings import source_of
from quantum_rerank.errors import DivergedError, SaturatedError
from quantum_rerank.evaluation import NDCG
from quantum_rerank.evaluation.ranking import score_on
from quantum_rerank.training.data_manager import prepare
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.trainer import Trainer
from quantum_rerank.training.trial_data import PreparedData
from tuning.algorithms.prior import draw_near
from tuning.space import Params, Space
from tuning.space.file import load_space

FOLDER = Path(__file__).parent / "data" / "recordings"
COLLECTIONS = {
    "zaragoza": ("zaragoza:all",),
    "cran": ("beir:{beir}/cran",),
    "cisi": ("beir:{beir}/cisi",),
    "npl": ("beir:{beir}/npl",),
    "scifact": ("beir:{beir}/scifact",),
    "cosqa": ("beir:{beir}/cosqa",),
    "gpe": tuple(f"gpe:{topic}" for topic in GPE_TOPICS),
}
"""Collections that no prior was found on; the start points were tuned on ICD-10."""
RUNGS = (1, 4, 12)
N_SPLITS = 5
SHARED: dict[str, Any] = {"warmup.seed": 0, "warmup.dropout": 0.1}
_SPREAD, _KEPT = 0.2, 0.7
_SEED = 13  # of the drawn configurations
_TUNED = 1  # index of the start point that configurations are near to
_STEPS = 200  # of a score, as it is written


@dataclass(frozen=True)
class Recording:
    """The training of a configuration on a split.

    Attributes:
        number: Number of the configuration.
        split: Number of the split, from 1.
        source: `start`, `near` or `random`.
        params: Parameters of the space.
        objective: Validation objective of each epoch.
        test: Epoch -> NDCG@10 on the test queries, for each epoch that was the best so far.
        seconds: Processor time of the warm-up and of each epoch; the warm-up is 0 where an
            earlier split had done it.
        per_query: Epoch -> role -> NDCG@10 of each query at the best epoch so far.
        failure: Reason for which it failed; empty if it did not.
    """

    number: int
    split: int
    source: str
    params: Params
    objective: list[float]
    test: dict[int, float]
    seconds: list[float]
    per_query: dict[int, dict[str, list[float]]]
    failure: str = ""

    def line(self) -> str:
        """Return the recording as a line of a file."""
        short = {
            epoch: {role: _packed(scores) for role, scores in roles.items()}
            for epoch, roles in self.per_query.items()
        }
        return json.dumps({**asdict(self), "per_query": short}, separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> Recording:
        """Read a line of a file."""
        record = json.loads(line)
        record["test"] = {int(epoch): score for epoch, score in record["test"].items()}
        record["per_query"] = {
            int(epoch): {role: _unpacked(scores) for role, scores in roles.items()}
            for epoch, roles in record["per_query"].items()
        }
        return cls(**record)


def _packed(scores: Sequence[float]) -> str:
    rounded = np.round(np.array(scores) * _STEPS).astype(np.uint8)
    return base64.b85encode(rounded.tobytes()).decode()


def _unpacked(text: str) -> list[float]:
    values: NDArray[np.uint8] = np.frombuffer(base64.b85decode(text), np.uint8)
    return [float(value) for value in values / _STEPS]


def read_recordings(path: Path) -> list[Recording]:
    """Read the recordings of a collection; the last line may be cut off."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [Recording.from_line(line) for line in lines]


def configurations(space: Space, n_near: int, n_random: int) -> list[tuple[str, Params]]:
    """Return source and parameters of the configurations, near and random ones in turns."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    *tuned, base = space.start_points()  # the base has the number 0 in the files
    start = [("start", point) for point in (base, *tuned)]
    sampler = _NearSampler(start[_TUNED][1])
    near = [("near", _drawn(space, sampler)) for _ in range(n_near)]
    uniform = optuna.samplers.RandomSampler(seed=_SEED)
    random = [("random", _drawn(space, uniform)) for _ in range(n_random)]
    places = [*np.linspace(0.0, 1.0, n_near), *np.linspace(0.0, 1.0, n_random)]
    order = np.argsort(places, kind="stable")
    rest = [*near, *random]
    return start + [rest[index] for index in order]


def _drawn(space: Space, sampler: optuna.samplers.BaseSampler) -> Params:
    return dict(space.suggest(optuna.create_study(sampler=sampler).ask()))


class _NearSampler(optuna.samplers.RandomSampler):
    """Sampler that draws near one point, and at random what the point leaves out."""

    def __init__(self, point: Params) -> None:
        super().__init__(seed=_SEED)
        self._point, self._near_rng = point, np.random.default_rng(_SEED)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: optuna.distributions.BaseDistribution,
    ) -> Any:
        if param_name in self._point:
            near = self._point[param_name]
            return draw_near(near, param_distribution, self._near_rng, _SPREAD, _KEPT)
        return super().sample_independent(study, trial, param_name, param_distribution)


@cache
def _prepared(sources: tuple[str, ...], split: int) -> PreparedData:
    data = DataConfig(
        seen=sources,
        unseen_validation=(),
        unseen_test=(),
        validation_seed=split,
        show_progress_bar=False,
    )
    return prepare(data, source_of(data))


def record(
    sources: tuple[str, ...], number: int, source: str, params: Params, splits: Sequence[int]
) -> list[Recording]:
    """Train a configuration on some splits of a collection."""
    torch.set_num_threads(1)
    space = load_space(SPACE, {})
    changes = {**SHARED, "circuit.engine": "statevector"}
    store, recordings = Memory(), []
    for split in splits:
        config = override(space.config_for(params, 0), {**changes, "seed": split})
        trained = _Trained(config, _prepared(sources, split), store)
        failure = trained.run()
        recordings.append(
            Recording(
                number=number,
                split=split,
                source=source,
                params={name: _short(value) for name, value in params.items()},
                objective=trained.objective,
                test=trained.test,
                seconds=trained.seconds,
                per_query=trained.per_query,
                failure=failure,
            )
        )
    return recordings


class _Trained:
    """A training that is followed epoch by epoch."""

    def __init__(self, config: ExperimentConfig, data: PreparedData, store: Memory) -> None:
        self._data = data
        self._trainer: Trainer = make_trainer(config, data.trial, store)
        self.objective: list[float] = []
        self.test: dict[int, float] = {}
        self.seconds: list[float] = []
        self.per_query: dict[int, dict[str, list[float]]] = {}

    def run(self) -> str:
        """Train, and return the reason of a failure."""
        try:
            for seconds, report in self._timed():
                self.objective.append(round(report.metrics["epoch_objective"], 5))
                self.seconds.append(round(seconds, 3))
                if report.improved:
                    self.test[report.epoch] = round(float(np.mean(self._scores("test"))), 5)
                if report.epoch in RUNGS or report.final:
                    self.per_query[report.epoch] = {
                        role: self._scores(role) for role in ("validation", "test")
                    }
        except (DivergedError, SaturatedError) as error:
            return str(error)
        return ""

    def _timed(self) -> Iterator[tuple[float, Any]]:
        """Yield each report with its processor time; the first with that of the warm-up."""
        epochs = self._trainer.epochs()
        while True:
            began = time.process_time()
            report = next(epochs, None)
            if report is None:
                return
            yield time.process_time() - began, report

    def _scores(self, role: str) -> list[float]:
        """Return the NDCG@10 of each query at the best epoch so far."""
        best = self._trainer.best
        assert best is not None
        head = self._trainer.model.head
        latest = {name: tensor.clone() for name, tensor in head.state_dict().items()}
        generator = torch.get_rng_state()
        head.load_state_dict(best.head)
        queries = self._data.test if role == "test" else self._data.trial.validation
        scores = score_on(head, best.validation.fusion_weight, queries).per_query[NDCG]
        head.load_state_dict(latest)
        torch.set_rng_state(generator)
        return list(scores.values())


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main(
    beir: Annotated[Path | None, typer.Option(help="Folder of the BEIR collections.")] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help="Only this collection. Repeatable.")
    ] = None,
    near: Annotated[int, typer.Option(help="Configurations near the tuned one.")] = 30,
    random: Annotated[int, typer.Option(help="Random configurations.")] = 60,
    processes: Annotated[int, typer.Option(help="Processes at once.")] = 2,
    into: Annotated[Path, typer.Option(help="Folder of the files.")] = FOLDER,
) -> None:
    """Record what is missing, configuration by configuration."""
    names = collection or list(COLLECTIONS)
    sources = {
        name: tuple(source.format(beir=beir) for source in COLLECTIONS[name]) for name in names
    }
    into.mkdir(parents=True, exist_ok=True)
    chosen = configurations(load_space(SPACE, {}), near, random)
    done = {
        name: {(one.number, one.split) for one in read_recordings(into / f"{name}.jsonl")}
        for name in names
    }
    console = Console(stderr=True, markup=False, highlight=False)
    with ProcessPoolExecutor(processes) as pool:
        waiting = {}
        for number, (source, params) in enumerate(chosen):
            for name, of_collection in sources.items():
                splits = [s for s in range(1, N_SPLITS + 1) if (number, s) not in done[name]]
                if splits:
                    future = pool.submit(record, of_collection, number, source, params, splits)
                    waiting[future] = name
        started = time.monotonic()
        for n_ended, future in enumerate(as_completed(waiting), start=1):
            name, recordings = waiting[future], future.result()
            with (into / f"{name}.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(one.line() + "\n" for one in recordings)
            left = (time.monotonic() - started) / n_ended * (len(waiting) - n_ended)
            console.print(
                f"{name} {recordings[0].number:>3} {recordings[0].source:<7} "
                f"{n_ended} of {len(waiting)}, about {left / 60:.0f} min left"
            )


if __name__ == "__main__":
    typer.run(main)
