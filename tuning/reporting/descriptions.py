"""Durations, trials and forecasts in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from quantum_rerank.config import flat
from quantum_rerank.plural import counted
from quantum_rerank.similarity import MODELS
from tuning.reporting.forecast import Forecast
from tuning.space import Space
from tuning.study.trials import parameters

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_MODEL, _LOSS = "model", "loss.name"
_QUBITS, _LAYERS = "circuit.n_qubits", "circuit.n_layers"


def duration(seconds: float) -> str:
    """Return seconds as h:mm:ss, or m:ss below an hour.

    >>> duration(59.6), duration(3725)
    ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def describe_config(config: Mapping[str, Any]) -> str:
    """Return a trial's configuration in words: model, loss, and the circuit if it has one.

    Args:
        config: Configuration by dotted keys; missing keys are left out.

    >>> circuit = {"circuit.n_qubits": 4, "circuit.n_layers": 3}
    >>> describe_config({"model": "hybrid", "loss.name": "triplet", **circuit})
    'hybrid, triplet, 4 qubits, 3 layers'
    >>> describe_config({"model": "mlp_twin", "loss.name": "triplet", **circuit})
    'mlp_twin, triplet'
    """
    words = [str(config[key]) for key in (_MODEL, _LOSS) if key in config]
    if _has_circuit(config.get(_MODEL)):
        units = {_QUBITS: "qubit", _LAYERS: "layer"}
        words += [counted(config[key], unit) for key, unit in units.items() if key in config]
    return ", ".join(words)


def describe_trial(trial: FrozenTrial, space: Space) -> str:
    """Return the configuration of a trial in words."""
    return describe_config({**flat(space.base), **parameters(trial)})


def _has_circuit(model: str | None) -> bool:
    return model is None or model not in MODELS or "state" in MODELS[model].components


def time_left(forecast: Forecast | None, seconds_left: float) -> str:
    """Return the time that a search still takes, in words.

    Args:
        forecast: Forecast; None before the first epoch.
        seconds_left: Seconds that the time budget leaves.

    >>> time_left(None, 7200.0), time_left(Forecast(100.0, 200.0, 2, by_budget=False), 7200.0)
    ('at most 2:00:00', 'about 1:40')
    """
    if forecast is None:
        return f"at most {duration(seconds_left)}"
    if forecast.by_budget:
        return f"{duration(forecast.seconds)}, when a budget ends it"
    return f"about {duration(forecast.seconds)}"
