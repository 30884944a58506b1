"""The search around the trainer: the only package that knows Ray, Optuna and W&B."""
