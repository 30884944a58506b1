"""Searches replayed over recorded trainings, judged by the test score of what they deliver.

    python -m benchmarks.replay                       # all recorded collections, some minutes
    python -m benchmarks.replay --seeds 40 --workers 16

The trainings are those of `data/recordings` (see recordings.py). A proposal is trained as the
recorded configuration that is nearest to it, on one of the recorded divisions, in simulated time
(see simulation.py). All ways have the start points and the rungs of data/space.yaml:

- `tuned`: the tuned configuration alone, without a search.
- `random`: random proposals, ASHA, and the best validation objective.
- `plain`: OptunaSearch and ASHAScheduler as in Ray's documentation, and the best last report.
- `tpe`, `gp` (minutes more), `prior`: OptunaSearcher with this sampler, ASHA by StopByRule, then
  the conclusion of a search: the best three trials, the tuned start point among them, race over
  the other divisions, and a trial replaces the tuned one only if it is distinguishable.
- `wrong`: as `prior`, with the configuration that was worst on validation as its guess.
- `cqr`: ASHA with conformalised quantile regression of Syne Tune, and the best validation
  objective; it takes a second for a proposal.
- `priorband`: PriorBand of NePS, whose prior is the tuned configuration, in the same way. Both need
  an environment of their own: `--priorband PYTHON` with
  `pip install neural-pipeline-search==0.17`, and `--cqr PYTHON` with
  `pip install "syne-tune[extra]==0.16" "numpy<3" xgboost`.
- `early`: as `tpe`, ended early as by `budget.early_end`.
- `all`: as `tpe`, but all three trials are trained on all divisions, and no warm-up is shared.

The delivered model is that of the search, on the division of the search. `test` is its mean NDCG@10
on test queries; `below` the share of searches that deliver a model that is worse on test than
`tuned` on the same division. `core s` is processor time: warm-ups, epochs and, for the ways with a
conclusion, its trainings and two baselines. Ways with shared warm-ups compute each once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Annotated, Any

import numpy as np
import optuna
import typer
from rich.progress import track
from scipy.stats import t as student

from benchmarks.anchors import Anchor, AnchorScheduler, AnchorSearcher, run_asked
from benchmarks.curves import SPACE
from benchmarks.measuring import AsJson, show, table
from benchmarks.recordings import FOLDER, N_SPLITS, SHARED, Recording, read_recordings
from benchmarks.searcher import plain
from benchmarks.simulation import Ended, Training, simulate
from quantum_rerank.config import override
from quantum_rerank.training.warm_up import warm_up_key
from tuning.algorithms.ray_scheduler import StopByRule
from tuning.algorithms.ray_searcher import OptunaSearcher, TrialPolicy
from tuning.algorithms.rules import make_rule
from tuning.conclusion.race import LEAST_SPREAD, error_of_mean, is_hopeless
from tuning.limits.early_end import expected_gain, least_proposals
from tuning.records import Listener
from tuning.space import CategoricalParameter, Params, Space
from tuning.space.file import load_space
from tuning.space.header import Guess
from tuning.study.resuming import enqueue_missing
from tuning.study.view import StudyView

TUNED = 1  # number of the start point that is the tuned configuration
WAYS = ("tuned", "random", "plain", "all", "tpe", "early", "prior", "wrong")
_SHARING = ("tpe", "early", "gp", "prior", "wrong")  # with shared warm-ups and a race
_CONCLUDED = (*_SHARING, "all")
_SAMPLERS = {"wrong": "prior", "all": "tpe", "early": "tpe"}
_N_BASELINES = 2
_RATIO = 1 / 3  # validation queries for each training query: 0.2 and 0.6 of all


@dataclass(frozen=True)
class Delivered:
    """The model that a search delivers.

    Attributes:
        number: Number of the recorded configuration.
        test: Mean NDCG@10 on the test queries.
        core_seconds: Processor time of everything.
    """

    number: int
    test: float
    core_seconds: float


class Recorded:
    """The recordings of a collection as trainings.

    Args:
        space: Space of the configurations.
        recordings: Recordings of all splits.
    """

    def __init__(self, space: Space, recordings: Sequence[Recording]) -> None:
        self._space = space
        by_number: dict[int, dict[int, Recording]] = {}
        for one in recordings:
            by_number.setdefault(one.number, {})[one.split] = one
        whole = {n: of for n, of in by_number.items() if len(of) == N_SPLITS and _ran(of)}
        self.numbers = sorted(whole)
        self._by_number = whole
        self._params = {n: next(iter(of.values())).params for n, of in whole.items()}
        self._nearest: dict[str, int] = {}

    def __getitem__(self, key: tuple[int, int]) -> Recording:
        number, split = key
        return self._by_number[number][split]

    @cached_property
    def warm_ups(self) -> dict[int, tuple[str, float]]:
        """Number of a configuration -> key and seconds of its warm-up."""
        return {number: self._warm_up(number) for number in self.numbers}

    def _warm_up(self, number: int) -> tuple[str, float]:
        config = override(self._space.config_for(self._params[number], 0), SHARED)
        seconds = max(of.seconds[0] - _epoch_seconds(of) for of in self._by_number[number].values())
        return warm_up_key(config), max(seconds, 0.0)

    def nearest(self, params: Params) -> int:
        """Return the number of the configuration that is nearest to parameters."""
        key = repr(sorted(params.items()))
        if key not in self._nearest:
            self._nearest[key] = min(self.numbers, key=lambda n: self._distance(params, n))
        return self._nearest[key]

    @cached_property
    def worst(self) -> Params:
        """Parameters of the configuration with the lowest validation objective."""
        return self._params[min(self.numbers, key=self._objective)]

    def _objective(self, number: int) -> float:
        return fmean(max(one.objective) for one in self._by_number[number].values())

    def _distance(self, params: Params, number: int) -> float:
        """Return the sum of the distances of all parameters (Gower, Biometrics 27, 1971)."""
        other = self._params[number]
        return sum(
            _distance(self._space, name, params.get(name), other.get(name))
            for name in self._space.parameters
        )


def _ran(of_splits: Mapping[int, Recording]) -> bool:
    return all(one.objective for one in of_splits.values())


def _epoch_seconds(one: Recording) -> float:
    return median(one.seconds[1:] or one.seconds)


def _distance(space: Space, name: str, left: Any, right: Any) -> float:
    """Return the distance of two values of a parameter, from 0 to 1; None is inactive."""
    if left is None or right is None:
        return float(left is not right)
    parameter = space.parameters[name]
    if isinstance(parameter, CategoricalParameter):
        return float(left != right)
    scale = np.log if getattr(parameter, "log", False) else float
    return float(abs(scale(left) - scale(right)) / (scale(parameter.high) - scale(parameter.low)))


class Replay:
    """One search over the recordings of a collection.

    Args:
        recorded: The recordings.
        split: Division of the search.
        shares: Whether warm-ups are shared, and the best trials race.
    """

    def __init__(self, recorded: Recorded, split: int, *, shares: bool) -> None:
        self._recorded, self._split, self._shares = recorded, split, shares
        self._warm: set[str] = set()

    def train(self, params: Params) -> Training:
        """Return the training of a proposal."""
        number = self._recorded.nearest(params)
        return Training(self._best_so_far(number), self.seconds(number, self._split))

    def seconds(self, number: int, split: int) -> list[float]:
        """Return the seconds of each epoch, the first with the warm-up unless it is shared."""
        one = self._recorded[number, split]
        key, warm_up = self._recorded.warm_ups[number]
        first = _epoch_seconds(one)
        if not self._shares or key not in self._warm:
            first += warm_up
        self._warm.add(key)
        return [first, *one.seconds[1:]]

    def _best_so_far(self, number: int) -> list[float]:
        objective = self._recorded[number, self._split].objective
        return [float(value) for value in np.maximum.accumulate(objective)]

    def delivered(self, number: int, epochs: int, core_seconds: float) -> Delivered:
        """Return the model of a training after some epochs."""
        test = self._recorded[number, self._split].test
        return Delivered(number, test[max(e for e in test if e <= epochs)], core_seconds)

    def conclude(self, ended: Sequence[Ended]) -> Delivered:
        """Return the model that the conclusion of a search delivers."""
        spent = sum(end.seconds for end in ended)
        best = self._best_of_each(ended)
        finalists = list(best)[:3]
        if TUNED in best and TUNED not in finalists:
            finalists[-1] = TUNED
        objectives, seconds = self._race(finalists, best)
        spent += seconds
        order = sorted(finalists, key=lambda n: (-len(objectives[n]), -fmean(objectives[n])))
        winner = self._selected(order, objectives, best)
        spent += _N_BASELINES * sum(self.seconds(winner, self._split))
        return self.delivered(winner, best[winner].epochs, spent)

    def until_early_end(self, ended: Sequence[Ended], space: Space) -> list[Ended]:
        """Return the trials before the early end of a search, all of them where it has none."""
        n_start = len(space.start_points())
        for n in range(n_start + 1, len(ended)):
            done = ended[:n]
            values = [end.objective for end in done if end.number >= n_start]
            if len(values) >= least_proposals(space.header.sampler) and (
                expected_gain(values, len(ended) - n) < self._error_of_leader(done)
            ):
                self._warm = {self._warm_up_key(end) for end in done}
                return list(done)
        return list(ended)

    def _warm_up_key(self, ended: Ended) -> str:
        return self._recorded.warm_ups[self._recorded.nearest(ended.params)][0]

    def _error_of_leader(self, ended: Sequence[Ended]) -> float:
        """Return the standard error between the best trial and the tuned one, or the second."""
        best = self._best_of_each(ended)
        leader, second = list(best)[:2]
        other = TUNED if TUNED in best and leader != TUNED else second
        return self._query_error(leader, other, best)

    def _best_of_each(self, ended: Sequence[Ended]) -> dict[int, Ended]:
        """Return number of a configuration -> its best trial, the best first."""
        best: dict[int, Ended] = {}
        for end in sorted(ended, key=lambda end: (-end.objective, end.number)):
            best.setdefault(self._recorded.nearest(end.params), end)
        return best

    def _race(
        self, finalists: Sequence[int], best: Mapping[int, Ended]
    ) -> tuple[dict[int, list[float]], float]:
        """Return the objectives of the finalists over the other divisions, and the seconds."""
        others = [split for split in range(1, N_SPLITS + 1) if split != self._split]
        objectives: dict[int, list[float]] = {number: [] for number in finalists}
        racing, spent = list(finalists), 0.0
        for n_done, split in enumerate(others, start=1):
            for number in racing:
                objectives[number].append(max(self._recorded[number, split].objective))
                spent += sum(self.seconds(number, split))
            if n_done < 2 or not self._shares:
                continue
            leader = max(racing, key=lambda number: fmean(objectives[number]))
            out = [n for n in racing if self._is_out(n, leader, objectives, best, len(others))]
            racing = [number for number in racing if number not in out]
            if len(racing) < 2:
                break
        return objectives, spent

    def _is_out(
        self,
        number: int,
        leader: int,
        objectives: Mapping[int, Sequence[float]],
        best: Mapping[int, Ended],
        n_all: int,
    ) -> bool:
        """Return whether a finalist can no longer win, see `Race.still_in`."""
        least = LEAST_SPREAD
        if number == TUNED != leader:
            least = self._query_error(number, leader, best)
        behind = _paired(objectives[leader], objectives[number])
        if fmean(behind) > 2.0 * error_of_mean(behind, _RATIO, least):
            return True
        if number == TUNED or TUNED not in objectives:
            return False
        ahead = _paired(objectives[number], objectives[TUNED])
        return is_hopeless(ahead, n_all, _RATIO, self._query_error(number, TUNED, best))

    def _query_error(self, left: int, right: int, best: Mapping[int, Ended]) -> float:
        ours, theirs = (self._per_query(number, best[number].epochs) for number in (left, right))
        return stdev(_paired(ours, theirs)) / math.sqrt(len(ours))

    def _selected(
        self,
        order: Sequence[int],
        objectives: Mapping[int, Sequence[float]],
        best: Mapping[int, Ended],
    ) -> int:
        """Return the leader, or the tuned start point if it is not distinguishable from it."""
        others = [number for number in order if number != TUNED]
        if TUNED not in order or not others:
            return order[0]
        leader = others[0]
        differences = _paired(objectives[leader], objectives[TUNED])
        error = error_of_mean(differences, _RATIO, self._query_error(leader, TUNED, best))
        return leader if fmean(differences) > error else TUNED

    def _per_query(self, number: int, epochs: int) -> list[float]:
        recorded = self._recorded[number, self._split].per_query
        return recorded[max(e for e in recorded if e <= epochs)]["validation"]


def _paired(left: Sequence[float], right: Sequence[float]) -> list[float]:
    return [ours - theirs for ours, theirs in zip(left, right, strict=False)]


@dataclass(frozen=True)
class Setting:
    """Settings that all searches of a table share.

    Attributes:
        space: Space of the searches.
        workers: Workers of a search.
        anchors: Name of another library's searcher -> interpreter of its environment.
    """

    space: Space
    workers: int
    anchors: Mapping[str, Path]


def run_way(way: str, setting: Setting, recorded: Recorded, split: int, seed: int) -> Delivered:
    """Replay one search, and return what it delivers."""
    space, workers = setting.space, setting.workers
    replay = Replay(recorded, split, shares=way in _SHARING)
    if way == "tuned":
        seconds = replay.seconds(TUNED, split)
        return replay.delivered(TUNED, len(seconds), sum(seconds))
    n_trials = space.header.budget.trials
    if way in setting.anchors:
        with Anchor(way, setting.anchors[way], space, seed) as anchor:
            if way == "priorband":
                ended = run_asked(anchor, replay.train, n_trials, workers)
            else:
                searcher = AnchorSearcher(anchor)
                pair: tuple[Any, Any] = searcher, AnchorScheduler(anchor, searcher.numbers)
                ended = simulate(*pair, replay.train, n_trials, workers)
    elif way == "plain":
        pair = plain(space, seed, space.start_points())
        ended = simulate(*pair, replay.train, n_trials, workers, ahead=1)
    else:
        guesses = recorded.worst if way == "wrong" else {}
        pair = _ours(space, seed, _SAMPLERS.get(way, way), guesses)
        ended = simulate(*pair, replay.train, n_trials, workers)
    if way == "early":
        ended = replay.until_early_end(ended, space)
    if way in _CONCLUDED:
        return replay.conclude(ended)
    best = max(ended, key=lambda end: (end.objective, -end.number))
    spent = sum(end.seconds for end in ended)
    return replay.delivered(recorded.nearest(best.params), best.epochs, spent)


def _ours(space: Space, seed: int, sampler: str, guesses: Params) -> tuple[Any, Any]:
    """Return searcher and scheduler as in `session.run_trials`, with the start points queued."""
    from tuning.algorithms.samplers import make_sampler

    config = space.header.sampler.model_copy(update={"name": sampler, "seed": seed})
    prior = {name: Guess(center=value) for name, value in guesses.items()}
    header = space.header.model_copy(update={"sampler": config, "prior": prior})
    space = replace(space, header=header)
    study = optuna.create_study(direction="maximize", sampler=make_sampler(space, 0))
    enqueue_missing(study, space)
    n_trials = space.header.budget.trials
    searcher = OptunaSearcher(space, study, n_trials, Listener(), lambda: None, TrialPolicy())
    return searcher, StopByRule(make_rule(space, lambda: StudyView([])))


Results = dict[str, dict[tuple[str, int, int], Delivered]]
"""Way -> collection, split and seed -> what was delivered."""


def replays(
    setting: Setting, collections: Mapping[str, Recorded], ways: Sequence[str], seeds: int
) -> Results:
    """Replay every way on every collection and division."""
    keys = [
        (name, split, seed)
        for name in collections
        for split in range(1, N_SPLITS + 1)
        for seed in range(seeds)
    ]
    results: Results = {way: {} for way in ways}
    for name, split, seed in track(keys, description="replaying", transient=True):
        for way in ways:
            results[way][name, split, seed] = run_way(way, setting, collections[name], split, seed)
    return results


def _mean(of: Mapping[Any, Delivered], value: Callable[[Delivered], float]) -> float:
    return fmean(map(value, of.values()))


def _row(way: str, results: Results) -> tuple[str, ...]:
    """Return a row of the table over all collections."""
    ours, tuned, plain = results[way], results["tuned"], results["plain"]
    below = fmean(ours[key].test < tuned[key].test - 1e-9 for key in ours)
    return (
        way,
        f"{_mean(ours, lambda one: one.test):.4f}",
        _difference(ours, tuned),
        f"{below:.0%}",
        _difference(ours, plain),
        f"{_mean(ours, lambda one: one.core_seconds):.0f}",
    )


def _difference(
    ours: Mapping[tuple[str, int, int], Delivered], others: Mapping[Any, Delivered]
) -> str:
    """Return the mean difference on test, with its 95 % interval over collections and splits."""
    units: dict[tuple[str, int], list[float]] = {}
    for key, delivered in ours.items():
        units.setdefault(key[:2], []).append(delivered.test - others[key].test)
    means = [fmean(values) for values in units.values()]
    error = stdev(means) / math.sqrt(len(means)) if len(means) > 1 else math.inf
    half = float(student.ppf(0.975, max(len(means) - 1, 1))) * error
    return f"{fmean(means):+.4f} ± {half:.4f}"


def main(
    recordings: Annotated[Path, typer.Option(help="Folder of the recordings.")] = FOLDER,
    way: Annotated[list[str] | None, typer.Option(help="Only this way. Repeatable.")] = None,
    seeds: Annotated[int, typer.Option(help="Searches for each division.")] = 10,
    workers: Annotated[int, typer.Option(help="Workers of a search.")] = 2,
    trials: Annotated[int, typer.Option(help="Trials of a search.")] = 24,
    cqr: Annotated[Path | None, typer.Option(help="Interpreter with Syne Tune.")] = None,
    priorband: Annotated[Path | None, typer.Option(help="Interpreter with NePS.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print what each way delivers, and what it costs."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # GP draws conditional parameters at random
    space = load_space(SPACE, {"trials": trials})
    files = sorted(recordings.glob("*.jsonl"))
    collections = {file.stem: Recorded(space, read_recordings(file)) for file in files}
    anchors = {name: path for name, path in (("cqr", cqr), ("priorband", priorband)) if path}
    ways = list(dict.fromkeys(["tuned", "plain", *(way or (*WAYS, *anchors))]))
    results = replays(Setting(space, workers, anchors), collections, ways, seeds)
    counts = ", ".join(f"{name} {len(one.numbers)}" for name, one in collections.items())
    columns = ("way", "test", "minus tuned", "below", "minus plain", "core s")
    title = f"{seeds} searches of {trials} trials for each of {N_SPLITS} divisions, "
    title += f"{workers} workers\n"
    title += f"recorded configurations: {counts}"
    rows = [_row(name, results) for name in ways]
    by_collection = [
        (name, *(f"{_of(results[w], name):.4f}" for w in ways)) for name in collections
    ]
    tables = [table(title, columns, rows), table("test", ("collection", *ways), by_collection)]
    record = {"rows": [dict(zip(columns, row, strict=True)) for row in rows]}
    show(record, tables, as_json)


def _of(of: Mapping[tuple[str, int, int], Delivered], name: str) -> float:
    return fmean(delivered.test for key, delivered in of.items() if key[0] == name)


if __name__ == "__main__":
    typer.run(main)
