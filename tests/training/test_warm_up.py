"""A shared warm-up gives the same training as one that was done alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.warm_up import Memory
from quantum_rerank.config import ExperimentConfig, override
from quantum_rerank.errors import FilesError
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.models import train_model
from quantum_rerank.training.serialization import dumps, loads
from quantum_rerank.training.trainer import Trainer
from quantum_rerank.training.trial_data import TrialData
from quantum_rerank.training.warm_up import warm_up_key

SHARED = {"warmup.seed": 0, "warmup.dropout": 0.1, "warmup.steps": 3, "mlp.dropout": 0.3}


@pytest.fixture
def config(small_config: Callable[..., ExperimentConfig]) -> ExperimentConfig:
    return small_config({**SHARED, "training.max_epochs": 2, "optimizer.mlp_lr": 0.05})


def trained(config: ExperimentConfig, data: TrialData, store: Memory | None) -> Trainer:
    trainer = make_trainer(config, data, store)
    for _ in trainer.epochs():
        pass
    return trainer


def same_state(left: Trainer, right: Trainer) -> bool:
    return dumps(left.state_dict()) == dumps(right.state_dict())


@pytest.mark.parametrize("model", ["hybrid", "hybrid_amplitude", "mlp_twin"])
def test_a_loaded_warm_up_gives_the_same_training_bit_for_bit(
    config: ExperimentConfig, trial_data: TrialData, model: str
) -> None:
    config, store = override(config, {"model": model}), Memory()
    alone = trained(config, trial_data, None)
    first, second = (trained(config, trial_data, store) for _ in range(2))
    assert len(store.content) == 1
    assert first.warm_up_saved is None
    assert second.warm_up_saved is not None
    assert same_state(alone, first)
    assert same_state(alone, second)


def test_trainings_with_other_settings_share_it_and_differ_after_it(
    config: ExperimentConfig, trial_data: TrialData
) -> None:
    store = Memory()
    first = trained(config, trial_data, store)
    for changed in (
        {"seed": config.seed + 1},
        {"optimizer.mlp_lr": 0.01},
        {"mlp.dropout": 0.0},
        {"loss.name": "infonce_candidates"},
        {"training.batch_size": 2},
        {"warmup.weight": 0.5},
    ):
        alone = trained(override(config, changed), trial_data, None)
        second = trained(override(config, changed), trial_data, store)
        assert second.warm_up_saved is not None, changed
        assert same_state(alone, second), changed
        assert not same_state(first, second), changed
    assert len(store.content) == 1


def test_other_models_and_warm_ups_do_not_share_it(config: ExperimentConfig) -> None:
    others: list[dict[str, Any]] = [
        {"warmup.steps": 4},
        {"warmup.seed": 1},
        {"warmup.dropout": 0.2},
        {"warmup.temperature": 0.1},
        {"mlp.hidden_layers": [5]},
        {"circuit.n_qubits": 3},
        {"model": "mlp_twin"},
        {"optimizer.gradient_clipping": 2.0},
        {"fusion.gate": "nearest"},
    ]
    keys = {warm_up_key(override(config, changed)) for changed in [{}, *others]}
    assert len(keys) == 1 + len(others)


def test_without_a_dropout_of_its_own_it_depends_on_that_of_the_mlp(
    config: ExperimentConfig,
) -> None:
    own = override(config, {"warmup.dropout": None})
    assert warm_up_key(own) != warm_up_key(override(own, {"mlp.dropout": 0.2}))


def test_a_warm_up_with_the_seed_of_the_training_is_not_shared(
    config: ExperimentConfig, trial_data: TrialData
) -> None:
    store = Memory()
    trained(override(config, {"warmup.seed": None}), trial_data, store)
    assert store.content == {}


def test_the_seed_of_the_warm_up_is_that_of_the_weights(
    config: ExperimentConfig, trial_data: TrialData
) -> None:
    weights = [
        make_trainer(override(config, {"seed": seed}), trial_data).model.head.state_dict()
        for seed in (1, 2)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_dropout_of_the_warm_up_ends_with_it(
    config: ExperimentConfig, trial_data: TrialData
) -> None:
    rates: list[float] = []
    trainer = make_trainer(config, trial_data)
    head = trainer.model.head
    represent = head.represent

    def watched(texts: torch.Tensor) -> Any:
        rates.extend(layer.p for layer in head.modules() if isinstance(layer, nn.Dropout))
        return represent(texts)

    head.represent = watched  # type: ignore[method-assign]
    next(iter(trainer.epochs()))
    assert rates[:3] == [0.1] * 3
    assert set(rates[3:]) == {0.3}


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def changed(**values: Any) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        record = loads(content, "it")
        record.pop("schema_version")
        return dumps({**record, **values})

    return change


def not_finite(content: bytes) -> bytes:
    head = loads(content, "it")["head"]
    return changed(head={name: tensor * float("nan") for name, tensor in head.items()})(content)


@pytest.mark.parametrize(
    "damage",
    [
        cut_off,
        not_finite,
        changed(run="of a stranger"),
        changed(key="of another model"),
        changed(head={}),
        changed(corpora={}),
        changed(torch_generator=torch.zeros(3)),
        changed(seconds="many"),
        changed(schema_version=1),
    ],
)
def test_a_warm_up_that_cannot_be_used_is_done_again(
    config: ExperimentConfig,
    trial_data: TrialData,
    damage: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Memory()
    alone = trained(config, trial_data, store)
    key, content = next(iter(store.content.items()))
    store.content[key] = damage(content)
    again = trained(config, trial_data, store)
    assert again.warm_up_saved is None
    assert same_state(alone, again)
    assert "A shared warm-up is done again: " in caplog.text


def test_a_full_disk_does_not_end_the_training(
    config: ExperimentConfig, trial_data: TrialData, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(Memory):
        def write(self, key: str, content: bytes) -> None:
            raise FilesError("no space left")

    assert same_state(trained(config, trial_data, None), trained(config, trial_data, Full()))
    assert "The warm-up is not shared: no space left" in caplog.text


def test_a_model_trained_on_other_seeds_shares_it(
    config: ExperimentConfig, trial_data: TrialData
) -> None:
    store = Memory()
    for seed in (1, 2):
        seeded = override(config, {"seed": seed})
        shared = train_model(seeded, "mlp_twin", trial_data, warm_ups=store)
        alone = train_model(seeded, "mlp_twin", trial_data)
        assert shared.history == alone.history
    assert len(store.content) == 1
