"""Report of a trial that is trained again, epoch by epoch."""

from __future__ import annotations

from rich.console import Console

from tuning.conclusion.rerun import Rerun
from tuning.study.trials import STATE_NAMES, curve, last_epoch


def print_rerun(rerun: Rerun, console: Console) -> bool:
    """Train a trial again and print each epoch beside the run's.

    Args:
        rerun: Trial to train again.
        console: Console to print to.

    Returns:
        Whether every epoch that the run has came out the same.
    """
    trial = rerun.trial
    state = STATE_NAMES[trial.state]
    console.print(f"Trial {trial.number}, {state} after {last_epoch(trial)}:")
    for donor in rerun.descent:
        text = f"after trial {donor.configuration} to epoch {donor.epoch}, trained again"
        console.print(text)
    is_same = True
    for epoch in rerun.epochs():
        recorded = "" if epoch.recorded is None else f"in the run {epoch.recorded:.6f}"
        if epoch.differs:
            is_same = False
            recorded += "  DIFFERS"
        console.print(f"epoch {epoch.epoch:>3}  objective {epoch.value:.6f}  {recorded}")
    if not curve(trial):
        console.print("The run had no epoch of it to compare with.")
    else:
        console.print("Every epoch that the run had is the same." if is_same else "Not the same.")
    return is_same
