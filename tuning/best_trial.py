"""Export of a trial of a finished run.

python -m tuning.best_trial runs/default --output runs/default-best
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantum_rerank.console import run, say
from tuning.commands.options import RunFolder, TrustedStorage, TrustedStoragePath
from tuning.conclusion.export import export_trial
from tuning.conclusion.finished_run import evidence_of, read_summary, select_trial
from tuning.conclusion.trained_trial import load_trial
from tuning.study.run_folder import name_places, read_record, refuse_other_data

app = typer.Typer(add_completion=False)


@app.command()
def main(
    run_folder: RunFolder,
    output: Annotated[Path, typer.Option(help="New folder for the bundle.")],
    trial: Annotated[
        int | None, typer.Option(help="Number of the trial. Default: the best.")
    ] = None,
    storage: TrustedStorage = None,
    storage_path: TrustedStoragePath = None,
) -> None:
    """Export a trial of a finished search as a bundle.

    Example:

        quantum-rerank export runs/default --output runs/trial-7 --trial 7
    """
    from quantum_rerank.embeddings import source_of
    from quantum_rerank.training.data_manager import prepare

    name_places(run_folder, storage, storage_path)
    summary = read_summary(run_folder)
    trained = load_trial(run_folder, select_trial(run_folder, summary, trial))
    source = source_of(trained.config.data)
    prepared = prepare(trained.config.data, source)
    refuse_other_data(read_record(run_folder), prepared, run_folder)
    evidence = evidence_of(summary, trained)
    bundle = export_trial(output, trained, prepared, source, evidence)
    say(f"Exported trial {trained.number} (epoch {trained.epoch}) to {bundle}.")


if __name__ == "__main__":
    run(app)
