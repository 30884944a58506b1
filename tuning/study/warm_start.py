"""Results of earlier searches that a new search starts with.

A trial of an earlier run is comparable if it would be the same training in the new search: the
same objective and data, and the same effective configuration, key by key, after its values are
put into the new space. Every parameter that the space draws must have a value within the space.
Seeds may differ, as they do within a search, and engines, which agree to 1e-6. If no trial of a
run is comparable, its best configurations within the space are queued to be trained.

If the number of epochs differs, values up to the new budget's end count, and a trial with fewer
epochs counts as pruned there (unless early stopping had ended it). Not comparable are: trials
whose learning rate schedule depends on the number of epochs, pruned trials and latencies in a
search with a second objective, and clones of a population, which started from another trial's
weights.

Comparable trials are added to the study, from which samplers learn, and to the scheduler's rungs,
as in a resumed search. They count in no budget, and their weights stay in the earlier run, so they
cannot be exported. `cmaes` uses them as startup trials only, and `grid` tries all points anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial
from pydantic import Field, TypeAdapter, ValidationError

from quantum_rerank.atomic import write_json
from quantum_rerank.config import Plain, Section, flat
from quantum_rerank.errors import ConfigError, OutputError
from quantum_rerank.regular_files import read_regular, reason
from quantum_rerank.training.config import SAME, SCHEDULES
from tuning.space import Params, Space
from tuning.study import attributes
from tuning.study.attributes import PROPOSED_BY, WARM_START
from tuning.study.ranking import cost, ranking_key
from tuning.study.reading import read_study
from tuning.study.run_folder import read_record, recorded_encoder, recorded_places, recorded_space
from tuning.study.trials import best_so_far, curve, is_cut_short
from tuning.study.view import StudyView

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

TAKEN_OVER = "warm_start.json"

# Keys that may differ: what they change is the seed's luck, or looked at by itself.
_MAY_DIFFER = ("seed", "training.max_epochs", "circuit.engine", "circuit.threads")
# Keys of the data that its fingerprint does not hold already.
_OF_THE_DATA = ("data.encoder", "data.query_prompt", "data.document_prompt", "data.candidates")
_SCHEDULES = ("optimizer.schedule", "optimizer.circuit_schedule")
_KNOWN = "came in already"
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


@dataclass(frozen=True)
class EarlierRun:
    """Earlier search.

    Attributes:
        folder: Folder of the run.
        space: Space of the run.
        fingerprint: Fingerprint of its data.
        trials: Its trials, as they are now.
        encoder: Fingerprint of its encoder; empty if unknown.
    """

    folder: Path
    space: Space
    fingerprint: str
    trials: Sequence[FrozenTrial]
    encoder: str = ""


class Prior(Section):
    """Trial of an earlier run, as a trial of the new search.

    Attributes:
        key: Key of the trial, `RUN#NUMBER`.
        state: State in the new search.
        params: Parameters.
        values: Epoch -> best objective so far.
        cost: Second objective; None without one.
    """

    key: str
    state: Literal["complete", "pruned"]
    params: Params
    values: dict[int, float]
    cost: float | None = None


class Proposal(Section):
    """Configuration of an earlier run that the new search trains."""

    key: str
    params: Params


class TakenOver(Section):
    """Results that were taken over from one run.

    Attributes:
        run: Folder of the run.
        priors: Trials that are added to the study.
        proposals: Configurations that are queued.
        left_out: Reason -> number of trials that are not taken over.
    """

    run: str
    priors: list[Prior] = Field(default_factory=list)
    proposals: list[Proposal] = Field(default_factory=list)
    left_out: dict[str, int] = Field(default_factory=dict)

    def count(self, state: str) -> int:
        """Return the number of added trials in a state."""
        return sum(prior.state == state for prior in self.priors)

    def summary(self) -> dict[str, Any]:
        """Return the numbers for `summary.json`."""
        states = {state: self.count(state) for state in STATES}
        return {"run": self.run, **states, "proposed": len(self.proposals)} | {
            "left_out": self.left_out
        }


class LeftOut(Exception):
    """Reason for which a trial is not taken over, in a few words."""


def read_earlier(folder: Path) -> EarlierRun:
    """Read a run, which may be running.

    Args:
        folder: Folder of the run.

    Raises:
        OutputError: The folder holds no run, a damaged one, or one of another version.
    """
    record = read_record(folder)
    try:
        space = recorded_space(record)
    except ConfigError as error:
        raise OutputError(f"`{folder}` is of another version: {error}") from None
    _, trials = read_study(folder, recorded_places(folder))
    return EarlierRun(
        folder.resolve(), space, str(record["data_fingerprint"]), trials, recorded_encoder(record)
    )


def gather(
    space: Space, runs: Iterable[EarlierRun], fingerprint: str, encoder: str = ""
) -> list[TakenOver]:
    """Return the results of earlier runs that a search can use, each trial once.

    Args:
        space: Space of the search.
        runs: Earlier runs.
        fingerprint: Fingerprint of the search's data.
        encoder: Fingerprint of its encoder; empty if unknown.
    """
    seen: set[str] = set()
    gathered = []
    for run in runs:
        why_none = _why_no_value_compares(space, run, fingerprint, encoder)
        taken = _taken_over(space, run, why_none, seen)
        seen |= {prior.key for prior in taken.priors}
        seen |= {proposal.key for proposal in taken.proposals}
        gathered.append(taken)
    return gathered


def _taken_over(space: Space, run: EarlierRun, why_none: str, seen: set[str]) -> TakenOver:
    continued = StudyView(run.trials).superseded()
    priors, left_out = list[Prior](), Counter[str]()
    for trial in run.trials:
        if trial.number in continued:
            continue  # what it came to is part of the attempt that continues it
        try:
            _require_values(trial)
            if why_none:
                raise LeftOut(why_none)
            prior = as_prior(trial, run, space)
            if prior.key in seen:
                raise LeftOut(_KNOWN)
            priors.append(prior)
        except LeftOut as why:
            left_out[str(why)] += 1
    compares = priors or _KNOWN in left_out
    proposals = [] if compares else list(_proposals(space, run, seen))
    return TakenOver(
        run=str(run.folder), priors=priors, proposals=proposals, left_out=dict(left_out)
    )


def _why_no_value_compares(space: Space, run: EarlierRun, fingerprint: str, encoder: str) -> str:
    """Return the reason for which no value of a run is comparable; empty if there is none."""
    old, new = run.space.header.objective, space.header.objective
    if old != new:
        against = f" against {old.cost}" if old.cost else ""
        return f"objective is {old.mode} {old.metric}{against}"
    if new.cost == "latency":
        return "latency of another time and machine"
    if run.fingerprint != fingerprint:
        return "other data"
    return "other vectors" if run.encoder and encoder not in ("", run.encoder) else ""


def _spans_training(schedule: Plain) -> bool:
    """Return whether a schedule's rates depend on the number of epochs."""
    return schedule != SAME and SCHEDULES[str(schedule)].spans_training


def _require_values(trial: FrozenTrial) -> None:
    """Raise LeftOut unless a trial is finished, has an epoch, and is not a clone."""
    if not trial.state.is_finished():
        raise LeftOut("not over")
    if trial.state == TrialState.FAIL:
        raise LeftOut("cut short" if is_cut_short(trial) else "failed")
    if not curve(trial):
        raise LeftOut("no epoch")
    if attributes.donor(trial):
        raise LeftOut("continues from another's weights")


def as_prior(trial: FrozenTrial, run: EarlierRun, space: Space) -> Prior:
    """Return a trial of an earlier run as a trial of another space.

    Args:
        trial: Trial of the earlier run.
        run: Earlier run.
        space: Space of the new search.

    Raises:
        LeftOut: It would be another training there.
    """
    params, ours = effective(trial, run, space)
    theirs = flat(run.space.config_for(trial.params, 0))
    differing = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    if differing := [key for key in differing if _matters(key)]:
        raise LeftOut(f"other {', '.join(f'`{key}`' for key in differing)}")
    epochs, had = space.header.budget.epochs, run.space.header.budget.epochs
    if epochs != had and any(_spans_training(ours[key]) for key in _SCHEDULES):
        raise LeftOut(f"learning rate that ends with epoch {had}")
    values = {e: v for e, v in best_so_far(trial).items() if e <= epochs}
    if not values:
        raise LeftOut("no epoch")
    # Stopped by nothing but its budget, which here is longer, it has not come to an end yet.
    ended_by_itself = trial.state == TrialState.COMPLETE and max(values) < had
    is_complete = max(values) == epochs or ended_by_itself
    state: Literal["complete", "pruned"] = "complete" if is_complete else "pruned"
    if space.header.objective.cost and (not is_complete or cost(trial) is None):
        raise LeftOut("no cost without its end")
    return Prior(key=_key(trial, run), state=state, params=params, values=values, cost=cost(trial))


def effective(
    trial: FrozenTrial, run: EarlierRun, space: Space
) -> tuple[Params, Mapping[str, Plain]]:
    """Return the parameters of a trial in another space, and all keys of its configuration there.

    Args:
        trial: Trial of the earlier run.
        run: Earlier run.
        space: Space of the new search.

    Raises:
        LeftOut: A parameter has no value within the space, or the values are not valid together.
    """
    answers = Answers(space, flat(run.space.config_for(trial.params, 0)))
    params = space.suggest(answers)
    try:
        return params, flat(space.config_for(params, 0))
    except ConfigError:
        raise LeftOut("values that do not go together here") from None


class Answers:
    """Stand-in for a trial with given values, which records the distributions.

    Args:
        space: Space that the values must be in.
        values: Parameter -> value.
    """

    def __init__(self, space: Space, values: Mapping[str, Any]) -> None:
        self._space, self._values = space, values
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._known(name, FloatDistribution(low, high, step=step, log=log)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return int(self._known(name, IntDistribution(low, high, step=step, log=log)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        value = self._known(name, CategoricalDistribution(choices))
        return next(choice for choice in choices if choice == value)

    def _known(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._values:
            raise LeftOut(f"no `{name}`")
        if not self._space.parameters[name].admits(self._values[name]):
            raise LeftOut(f"`{name}` outside of the space")
        self.distributions[name] = distribution
        return self._values[name]


def _proposals(space: Space, run: EarlierRun, seen: set[str]) -> Iterator[Proposal]:
    """Yield the best configurations of a run within a space, at most `top_k`."""
    over = (TrialState.COMPLETE, TrialState.PRUNED)
    ended = [t for t in run.trials if t.state in over and curve(t)]
    # Configurations that the search starts with anyway are not enqueued twice.
    points = space.start_points()
    for trial in sorted(ended, key=ranking_key, reverse=True):
        try:
            params, _ = effective(trial, run, space)
        except LeftOut:
            continue
        params = space.as_drawn(params)
        if params in points or _key(trial, run) in seen:
            continue
        if len(points) == len(space.header.start_from) + space.header.top_k:
            return
        points.append(params)
        yield Proposal(key=_key(trial, run), params=params)


def _key(trial: FrozenTrial, run: EarlierRun) -> str:
    """Return the key of a trial in the run that has trained it."""
    return str(trial.user_attrs.get(WARM_START, f"{run.folder}#{trial.number}"))


def _matters(key: str) -> bool:
    return key not in _MAY_DIFFER and (not key.startswith("data.") or key in _OF_THE_DATA)


def write_taken_over(taken: Sequence[TakenOver], folder: Path) -> None:
    """Write the results to the folder of a run, so that a killed session can be made up for.

    Args:
        taken: Results by run.
        folder: Folder of the new run.
    """
    content = [run.model_dump(mode="json") for run in taken]
    write_json(folder / TAKEN_OVER, content)


def read_taken_over(folder: Path) -> list[TakenOver]:
    """Return the results that were taken over; empty if the search has no earlier run."""
    try:
        text = read_regular(folder / TAKEN_OVER)
        return TypeAdapter(list[TakenOver]).validate_json(text)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"`{folder / TAKEN_OVER}` cannot be read: {reason(error)}.") from None
    except ValidationError:
        raise OutputError(f"`{folder / TAKEN_OVER}` is damaged.") from None


def add_missing(study: optuna.Study, space: Space, taken: Sequence[TakenOver]) -> None:
    """Add the trials to a study, and queue the proposals, each once.

    It can be called again after an interruption.

    Args:
        study: Study of the new search.
        space: Its space.
        taken: Results by run.
    """
    keys = (WARM_START, PROPOSED_BY)
    added = {trial.user_attrs.get(key) for trial in StudyView.of(study) for key in keys}
    for run in taken:
        for prior in run.priors:
            if prior.key not in added:
                study.add_trial(_as_trial(prior, space))
        for proposal in run.proposals:
            if proposal.key not in added:
                study.enqueue_trial(proposal.params, user_attrs={PROPOSED_BY: proposal.key})


def _as_trial(prior: Prior, space: Space) -> FrozenTrial:
    answers = Answers(space, prior.params)
    last, is_weighed = prior.values[max(prior.values)], prior.cost is not None
    beside = attributes.of_epoch_values(prior.values)
    return create_trial(
        state=STATES[prior.state],
        params=space.suggest(answers),
        distributions=answers.distributions,
        values=[last] if prior.cost is None else [last, prior.cost],
        intermediate_values={} if is_weighed else prior.values,
        user_attrs={WARM_START: prior.key} | (beside if is_weighed else {}),
    )
