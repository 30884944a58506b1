"""What of a rerun needs no search; whole ones are in tests/integration."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial
from rich.console import Console

from quantum_rerank.errors import OutputError
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.trial_data import TrialData
from tests.tuning.reasons import recorded
from tuning.conclusion.rerun import load_rerun
from tuning.records import FAILURE, OBJECTIVE
from tuning.reporting.rerun_report import print_rerun
from tuning.space import Space
from tuning.study.attributes import WARM_START
from tuning.study.run_folder import load_study


def printed(folder: Path, number: int) -> tuple[bool, str]:
    """What a rerun returns, and what it prints."""
    console = Console(file=(file := StringIO()), width=200)
    return print_rerun(load_rerun(folder, number), console), file.getvalue()


@pytest.mark.parametrize(
    ("state", "attributes"),
    [
        (TrialState.WAITING, {}),
        (TrialState.RUNNING, {}),
        (TrialState.FAIL, {FAILURE: recorded("interrupted: Ctrl-C")}),
        (TrialState.FAIL, {FAILURE: recorded("worker lost: it was killed")}),
    ],
)
def test_a_trial_that_was_not_trained_is_not_trained_again(
    ended_run: Path, state: TrialState, attributes: Mapping[str, Any]
) -> None:
    load_study(ended_run).add_trial(create_trial(state=state, user_attrs=dict(attributes)))
    with pytest.raises(OutputError, match=r"Trial 4 .* has no epoch that could be compared with"):
        printed(ended_run, 4)


def test_a_trial_that_failed_before_its_first_epoch_is_trained_and_compared_with_nothing(
    ended_run: Path, tiny_space: Space, trial_data: TrialData
) -> None:
    params = {"loss.name": "infonce", "optimizer.mlp_lr": 0.01, "circuit.n_qubits": 3}
    failed = create_trial(
        state=TrialState.FAIL,
        user_attrs={FAILURE: recorded("nan: the loss became nan")},
        system_attrs={"fixed_params": params},
    )
    load_study(ended_run).add_trial(failed)
    same, text = printed(ended_run, 4)
    assert same
    config = tiny_space.config_for(params, 4)
    for report in make_trainer(config, trial_data).epochs():
        assert f"epoch {report.epoch:>3}  objective {report.metrics[OBJECTIVE]:.6f}" in text
    assert "The run had no epoch of it to compare with." in text


def test_epochs_that_came_out_otherwise_are_named(ended_run: Path) -> None:
    same, text = printed(ended_run, 1)  # the study's objectives are made up
    assert not same
    assert text.count("DIFFERS") == 3
    assert text.endswith("Not the same.\n")


def test_a_trial_of_an_earlier_run_is_trained_again_there(ended_run: Path) -> None:
    load_study(ended_run).add_trial(create_trial(value=0.9, user_attrs={WARM_START: "/runs/a#b#7"}))
    with pytest.raises(
        OutputError, match=r"`python -m tuning\.search --rerun '/runs/a#b' --trial 7`"
    ):
        printed(ended_run, 4)
