"""From a finished run to a model: which trial was best, its weights, its bundle.

python -m tuning.best_trial runs/default --output runs/default-best
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantum_rerank.config import ExperimentConfig, flat
from quantum_rerank.console import pasted, run, say
from quantum_rerank.embeddings import EmbeddingSource
from quantum_rerank.errors import BundleError, OutputError
from quantum_rerank.evaluation import COSINE
from quantum_rerank.evaluation.measurements import SeedObjectives, TrainingSummary
from quantum_rerank.export import ExportedModel, export_model
from quantum_rerank.similarity import Head
from quantum_rerank.training.checkpoint import OF_THE_MACHINE
from quantum_rerank.training.models import untrained_head
from quantum_rerank.training.trial_data import PreparedData, TrialData
from quantum_rerank.training.validation import Validation, Validator
from tuning.records import CHECKPOINT, PEAK_RSS_MB, SECONDS
from tuning.run_options import TrustedStorage, TrustedStoragePath
from tuning.study.front import ranking_key
from tuning.study.history import CONTINUES, best_so_far, superseded_ancestors
from tuning.study.lineage import came_from, given
from tuning.study.run_folder import (
    SUMMARY,
    load_study,
    name_places,
    read_record,
    recorded_places,
    recorded_run,
    recorded_space,
    refuse_other_data,
)
from tuning.workers.trainable import made_by
from tuning.workers.trial_files import BEST_EPOCH, TrialFiles

if TYPE_CHECKING:
    import optuna

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class TrainedTrial:
    """A trial's best epoch, loaded, and how its training went."""

    number: int
    params: dict[str, Any]
    state: str
    config: ExperimentConfig
    head: Head
    validation: Validation
    epoch: int
    training_summary: TrainingSummary


def ranked_trials(trials: Sequence[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """Trials whose weights were kept, best first: the complete ones, then the others.

    A trial that was cut short is worth its best epoch, but ranks below every
    trial that had its whole budget. Where another continued it, that one counts,
    as soon as it has left weights itself.
    """
    with_weights = [trial for trial in trials if trial.user_attrs.get(CHECKPOINT)]
    continued = superseded_ancestors(trials, by=with_weights)
    kept = [trial for trial in with_weights if trial.number not in continued]

    return sorted(kept, key=ranking_key, reverse=True)


def load_trial(run_folder: Path, trial: optuna.trial.FrozenTrial) -> TrainedTrial:
    """Load the best epoch of a trial.

    A worker that was killed may have written an epoch that it could not report any more. The study
    does not know that one, and the version before it is loaded.

    Raises: BundleError if there are no weights, or they are damaged, or of another run, trial,
        configuration or epoch than the study has.
    """
    name = f"the file of trial {trial.number} in {run_folder}"
    files = TrialFiles(recorded_places(run_folder).root(run_folder))
    record, problems = read_record(run_folder), list[BundleError]()
    for content in files.versions(trial.number, BEST_EPOCH):
        try:
            return _loaded(content, trial, record, name)
        except BundleError as error:
            problems.append(error)
    if problems:
        raise problems[0]  # of the newest
    raise BundleError(
        f"There are no weights of trial {trial.number} in {run_folder}: "
        f"`{files.shown(trial.number, BEST_EPOCH)}` is gone. Put it back, or export another trial "
        "with --trial N."
    )


def _loaded(
    content: bytes, trial: optuna.trial.FrozenTrial, record: Mapping[str, Any], name: str
) -> TrainedTrial:
    from quantum_rerank.training.best_model import maker_of, read_best_model

    configuration = maker_of(content, name).get("configuration", -1)
    if CONTINUES not in trial.user_attrs:  # it is the first attempt itself
        configuration = trial.number
    maker = made_by(recorded_run(record), trial.number, configuration)
    head, validation, config, epoch = read_best_model(content, name, maker)
    expected = recorded_space(record).config_for(given(trial), configuration)
    if other := _different(config, expected):
        raise BundleError(
            f"{name} is of another configuration than the study has for the trial: {other}. "
            "Put back the trial's own file, or the study that belongs to it."
        )
    if epoch != (best := trial.user_attrs.get(CHECKPOINT)):
        raise BundleError(
            f"{name} is of epoch {epoch}, but the trial's best epoch is {best} in the study. "
            "Put back the trial's own file."
        )
    return TrainedTrial(
        number=trial.number,
        params=dict(trial.params),
        state=trial.state.name.lower(),
        config=config,
        head=head,
        validation=validation,
        epoch=epoch,
        training_summary=_training_summary(trial, config, epoch),
    )


def _different(config: ExperimentConfig, expected: ExperimentConfig) -> str:
    """The first key in which two configurations differ, in words; empty if they are the same."""
    there, here = flat(config), flat(expected)
    for key in sorted({*there, *here} - {*OF_THE_MACHINE}):
        if there.get(key) != here.get(key):
            return f"`{key}` is {there.get(key)} in the file, but {here.get(key)} in the study"
    return ""


def _training_summary(
    trial: optuna.trial.FrozenTrial, config: ExperimentConfig, best_epoch: int
) -> TrainingSummary:
    peak_mb = trial.user_attrs.get(PEAK_RSS_MB)
    return TrainingSummary(
        best_epoch=best_epoch,
        objectives=tuple(best_so_far(trial).values()),
        seconds=trial.user_attrs.get(SECONDS),
        peak_memory_gb=peak_mb and peak_mb * 2**20 / 1e9,
        patience=config.training.early_stopping_patience,
        min_improvement=config.training.min_improvement,
    )


def cosine_objective(config: ExperimentConfig, data: TrialData) -> float:
    """The validation objective of the cosine, which has nothing to train."""
    validate = Validator(
        data.validation_in_domain, data.validation_out_of_domain, config.training.objective
    )
    return validate(untrained_head(config, COSINE, data)).objective


def export_trial(
    output: Path,
    trial: TrainedTrial,
    prepared: PreparedData,
    source: EmbeddingSource,
    test: Mapping[str, Mapping[str, float]],
    seeds: SeedObjectives | None = None,
) -> Path:
    """Write a trial's bundle, with its validation metrics and what it scored on test.

    seeds: what its configuration came to on fresh seeds, if that is known.
    """
    model = ExportedModel(
        head=trial.head,
        config=trial.config,
        fusion_weight=trial.validation.fusion_weight,
        encoder_fingerprint=source.fingerprint,
        data_fingerprint=prepared.fingerprint,
        metrics={"validation": trial.validation.metrics, **test},
        examples=prepared.examples,
        training={**asdict(trial.training_summary), "seeds": asdict(seeds or SeedObjectives())},
    )
    return export_model(output, model)


@app.command()
def main(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a search.")],
    output: Annotated[Path, typer.Option(help="New folder for the bundle.")],
    trial: Annotated[
        int | None, typer.Option(help="Number of another trial than the best.")
    ] = None,
    storage: TrustedStorage = None,
    storage_path: TrustedStoragePath = None,
) -> None:
    """Export a trial of a finished search again, as a bundle that reranks by itself."""
    from quantum_rerank.embeddings import source_of
    from quantum_rerank.training.data_manager import prepare

    name_places(run_folder, storage, storage_path)
    known = load_study(run_folder).get_trials(deepcopy=False)
    trials = ranked_trials(known)
    summary = _summary(run_folder)
    tested = summary.get("tested", [])
    if trial is None and tested:
        trials = [one for one in trials if one.number == tested[0]["number"]]
    if trial is not None:
        trials = [one for one in trials if one.number == trial]
    if not trials:
        _refuse_trial_of_another_run(known, trial)
        wanted = "no trial" if trial is None else f"no trial {trial}"
        raise OutputError(f"`{run_folder}` has {wanted} with kept weights.")
    chosen = load_trial(run_folder, trials[0])
    source = source_of(chosen.config.data)
    prepared = prepare(chosen.config.data, source)
    refuse_other_data(read_record(run_folder), prepared, run_folder)
    test, seeds = _test_metrics(tested, chosen.number), _seeds(summary, chosen, prepared.trial)
    bundle = export_trial(output, chosen, prepared, source, test, seeds)
    say(f"Exported trial {chosen.number} (epoch {chosen.epoch}) to {bundle}.")


def _refuse_trial_of_another_run(
    known: Sequence[optuna.trial.FrozenTrial], number: int | None
) -> None:
    """Say where the weights of a trial are that came in from an earlier search."""
    origin = next((came_from(trial) for trial in known if trial.number == number), None)
    if origin is not None:
        run, there = origin
        command = pasted("python", "-m", "tuning.best_trial", run, "--trial", there)
        raise OutputError(
            f"Trial {number} came in from `{run}`, which has its weights: export it there, with "
            f"`{command} --output DIR`."
        )


def _summary(folder: Path) -> dict[str, Any]:
    """What a run came to, with the trials it tested, the winner first; {} if it did not end."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        return {**summary, "tested": list(summary["tested"])}
    except FileNotFoundError:
        return {}
    except (TypeError, ValueError, KeyError):
        raise BundleError(f"`{folder / SUMMARY}` was cut off.") from None


def _seeds(
    summary: Mapping[str, Any], trial: TrainedTrial, data: TrialData
) -> SeedObjectives | None:
    """What a trial's configuration came to on fresh seeds; None if it was not among the best."""
    for one in summary.get("confirmed", ()):
        if one["number"] == trial.number:
            return SeedObjectives(tuple(one["values"]), cosine_objective(trial.config, data))
    return None


def _test_metrics(tested: list[dict[str, Any]], number: int) -> dict[str, dict[str, float]]:
    """What a trial scored on test queries; nothing if it was not among the best."""
    record = next((one for one in tested if one["number"] == number), {})
    return {role: record[role] for role in ("test", "unseen_test") if record.get(role)}


if __name__ == "__main__":
    run(app)
