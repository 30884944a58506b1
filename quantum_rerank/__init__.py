"""Hybrid quantum-classical rerankers: circuits, training, evaluation and export.

Nothing below this package knows of Ray, Optuna or Weights & Biases; the search
that drives it lives in `tuning`.
"""

__version__ = "0.2.0"
