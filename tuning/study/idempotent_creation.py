"""Optuna's database storage, of which a trial is made once, though its making be tried again.

After a connection has broken, it is unknown whether a commit had arrived. Optuna tries up to
five times to make a trial, each time another one; `RetryingStorage` tries for longer.
"""

from __future__ import annotations

import copy
import json
import secrets
from typing import TYPE_CHECKING

from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel, TrialSystemAttributeModel
from optuna.trial import TrialState, create_trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from sqlalchemy.orm import Session

TOKEN = "token"  # system attribute of a trial: of all attempts to make it  # noqa: S105


class IdempotentCreation(RDBStorage):
    """A trial carries a token; one that is there already is not made again.

    Optuna makes a trial while it holds its study's row, so that no other process looks meanwhile.
    """

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        if template_trial is None:
            template_trial = create_trial(state=TrialState.RUNNING)
        if TOKEN not in template_trial.system_attrs:
            template_trial = with_token(template_trial)
        return super()._create_new_trial(study_id, template_trial)

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> TrialModel:
        assert template_trial is not None
        there = (
            session.query(TrialModel)
            .join(TrialSystemAttributeModel)
            .filter(TrialModel.study_id == study_id)
            .filter(TrialSystemAttributeModel.key == TOKEN)
            .filter(
                TrialSystemAttributeModel.value_json
                == json.dumps(template_trial.system_attrs[TOKEN])
            )
            .one_or_none()
        )
        if there is not None:
            return there
        return super()._get_prepared_new_trial(study_id, template_trial, session)


def with_token(template: FrozenTrial) -> FrozenTrial:
    """A trial to be made, with a token of its own."""
    marked = copy.copy(template)
    marked.system_attrs = {**template.system_attrs, TOKEN: secrets.token_hex(8)}
    return marked
