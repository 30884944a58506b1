"""From a finished run to a model: which trial was best, its weights, its bundle.

python -m tuning.best_trial runs/default --output runs/default-best
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantum_rerank.console import pasted, run, say
from quantum_rerank.errors import BundleError, OutputError
from quantum_rerank.training.data_manager import TrialData
from quantum_rerank.training.targets import Seeds
from tuning.commands.options import TrustedStorage, TrustedStoragePath
from tuning.conclusion.export import cosine_objective, export_trial
from tuning.conclusion.trained_trial import TrainedTrial, load_trial
from tuning.study.lineage import came_from
from tuning.study.ranking import ranked_trials
from tuning.study.run_folder import (
    SUMMARY,
    load_study,
    name_places,
    read_record,
    refuse_other_data,
)

if TYPE_CHECKING:
    import optuna

app = typer.Typer(add_completion=False)


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


def _seeds(summary: Mapping[str, Any], trial: TrainedTrial, data: TrialData) -> Seeds | None:
    """What a trial's configuration came to on fresh seeds; None if it was not among the best."""
    for one in summary.get("confirmed", ()):
        if one["number"] == trial.number:
            return Seeds(tuple(one["values"]), cosine_objective(trial.config, data))
    return None


def _test_metrics(tested: list[dict[str, Any]], number: int) -> dict[str, dict[str, float]]:
    """What a trial scored on test queries; nothing if it was not among the best."""
    record = next((one for one in tested if one["number"] == number), {})
    return {role: record[role] for role in ("test", "unseen_test") if record.get(role)}


if __name__ == "__main__":
    run(app)
