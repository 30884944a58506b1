"""The roles that queries have in a training."""

from __future__ import annotations

TRAIN = "train"
"""Queries that a model learns from."""
VALIDATION, UNSEEN_VALIDATION = "validation", "unseen_validation"
"""Queries that choose the epoch, the fusion weight and the best trial of a search."""
TEST, UNSEEN_TEST = "test", "unseen_test"
"""Held-out queries. `unseen` roles are of domains that the model was not trained on."""
ROLES = (TRAIN, VALIDATION, UNSEEN_VALIDATION, TEST, UNSEEN_TEST)
