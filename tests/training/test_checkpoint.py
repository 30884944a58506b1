"""Tests that a training resumed from a checkpoint equals one that was never interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from quantum_rerank.config import ExperimentConfig
from quantum_rerank.errors import BundleError, DivergedError
from quantum_rerank.similarity import MODELS
from quantum_rerank.training import serialization
from quantum_rerank.training.checkpoint import checkpoint_bytes, restore, take_over
from quantum_rerank.training.hybrid_trainer import make_trainer
from quantum_rerank.training.trainer import Trainer
from quantum_rerank.training.trial_data import TrialData

Train = Callable[..., Trainer]

TRAININGS: dict[str, dict[str, Any]] = {
    "triplet": {"loss.name": "triplet", "circuit.engine": "lightning.qubit"},
    "infonce_candidates": {
        "loss.name": "infonce_candidates",
        "loss.score": "fused",
        "warmup.weight": 0.1,
        "training.max_batch_documents": 12,
        "circuit.engine": "statevector",
        "circuit.entangler": "zz_ring",
        "optimizer.name": "adamw",
        "optimizer.schedule": "cosine",
    },
    "float32": {"circuit.precision": "float32", "circuit.engine": "statevector"},
    "mlp_twin": {"model": "mlp_twin", "loss.name": "infonce", "optimizer.schedule": "step"},
    "gated": {
        "fusion.gate": "nearest",
        "training.ema_decay": 0.5,
        "optimizer.mlp_lr": 0.1,
    },
    "wrapped": {"circuit.angles": "wrapped", "circuit.start": "near_identity"},
    "averaging": {"training.ema_decay": 0.7, "optimizer.mlp_lr": 0.1},
    "sgd": {"optimizer.name": "sgd", "optimizer.circuit_schedule": "cosine"},
    "plateau": {
        "optimizer.schedule": "plateau",
        "optimizer.plateau_epochs": 1,
        "optimizer.circuit_schedule": "one_cycle",
        "optimizer.linear_warmup_epochs": 0.0,
    },
    "quantum_only": {"model": "quantum_only", "loss.name": "contrastive"},
    "hard": {
        "loss.name": "margin_ranking",
        "negatives.kind": "hard",
        "negatives.pool": 4,
        "negatives.refresh_epochs": 2,
    },
    "semi_hard": {
        "loss.score": "fused",
        "negatives.kind": "semi_hard",
        "negatives.pool": 3,
        "negatives.refresh_epochs": 3,
        "negatives.false_negative_margin": 0.0,
    },
    "listnet": {"loss.name": "listnet", "loss.spread_weight": 0.5, "loss.spread_target": 0.4},
    "views": {"loss.simcse_weight": 0.5, "loss.spread_weight": 0.5, "loss.spread_target": 0.4},
    "noise": {"training.embedding_noise": 0.3, "training.balance": 0.5},
    "difficulty": {"training.difficulty": 0.7, "loss.name": "infonce", "training.balance": 1.0},
}
TRAININGS |= {model: {"model": model} for model in MODELS if model not in TRAININGS}


@pytest.fixture
def trainer(trial_data: TrialData, small_config: Callable[..., ExperimentConfig]) -> Train:
    """Assemble a training of 4 epochs in which everything that draws or remembers is at work."""

    def build(overrides: Mapping[str, Any] | None = None) -> Trainer:
        settings = {
            "training.max_epochs": 4,
            "warmup.steps": 3,
            "mlp.dropout": 0.3,
            "optimizer.mlp_lr": 0.02,
            "optimizer.linear_warmup_epochs": 1.5,
        }
        return make_trainer(small_config(settings | dict(overrides or {})), trial_data)

    return build


def after(epochs: int, training: Trainer) -> Trainer:
    """The training with some of its epochs done."""
    for _, _ in zip(range(epochs), training.epochs(), strict=False):
        pass
    return training


def drawn_from(seed: int) -> None:
    """Leave torch's generator where another program would have left it."""
    torch.manual_seed(seed)
    torch.randn(7)


def same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_resumes_after_an_epoch_as_if_never_interrupted(
    trainer: Train, name: str
) -> None:
    whole = trainer(TRAININGS[name])
    written, reports = list[bytes](), []
    for report in whole.epochs():
        written.append(checkpoint_bytes(whole, {}))
        reports.append(report)
    assert len(reports) == 4
    for done in (1, 3):
        again = trainer(TRAININGS[name])
        drawn_from(123)
        restore(again, written[done - 1])
        assert list(again.epochs()) == reports[done:]
        assert same(again.model.state_dict(), whole.model.state_dict())
        assert again.best is not None
        assert whole.best is not None
        assert same(again.best.head, whole.best.head)
        assert (again.best.epoch, again.best.validation) == (
            whole.best.epoch,
            whole.best.validation,
        )
        # The moments of the optimizer, the schedule and the generators as well.
        assert checkpoint_bytes(again, {}) == written[-1]


def test_a_restored_training_serializes_to_the_same_bytes(trainer: Train) -> None:
    content = checkpoint_bytes(after(2, trainer()), {"cost": 1.5})
    again = trainer()
    drawn_from(123)
    record = restore(again, content)
    assert checkpoint_bytes(again, record) == content


def test_a_training_may_be_interrupted_after_each_of_its_epochs(trainer: Train) -> None:
    reports = list(trainer().epochs())
    content = checkpoint_bytes(trainer(), {})
    for expected in reports:
        training = trainer()
        drawn_from(123)
        restore(training, content)
        assert next(training.epochs()) == expected
        content = checkpoint_bytes(training, {})


def test_serialization_does_not_change_a_training(trainer: Train) -> None:
    training = trainer()
    watched = [(report, checkpoint_bytes(training, {}))[0] for report in training.epochs()]
    assert watched == list(trainer().epochs())


def test_the_same_bytes_restore_a_training_twice(trainer: Train) -> None:
    content = checkpoint_bytes(after(1, trainer()), {})
    restored = trainer()
    restore(restored, content)
    weights = {name: t.clone() for name, t in restored.model.state_dict().items()}
    after(2, restored)
    assert not same(restored.model.state_dict(), weights)
    restore(restored, content)
    assert same(restored.model.state_dict(), weights)


@pytest.mark.parametrize("done", [1, 2])
def test_early_stopping_remembers_how_long_it_has_waited(trainer: Train, done: int) -> None:
    impatient = {
        "training.max_epochs": 50,
        "training.early_stopping_patience": 2,
        "training.min_improvement": 1.0,  # of a metric that is at most 1
    }
    content = checkpoint_bytes(after(done, trainer(impatient)), {})
    again = trainer(impatient)
    restore(again, content)
    assert [report.epoch for report in again.epochs()] == [2, 3][done - 1 :]


@pytest.mark.parametrize(
    "ending",
    [
        {"training.max_epochs": 2},
        {"training.early_stopping_patience": 1, "training.min_improvement": 1.0},
    ],
)
def test_a_finished_training_has_no_more_epochs(trainer: Train, ending: dict[str, Any]) -> None:
    training = trainer(ending)
    *_, last = training.epochs()
    assert (last.epoch, last.final) == (2, True)
    assert list(training.epochs()) == []
    again = trainer(ending)
    restore(again, checkpoint_bytes(training, {}))
    assert list(again.epochs()) == []
    assert again.best is not None


def test_the_best_model_is_restored_even_if_later_epochs_were_worse(trainer: Train) -> None:
    training = trainer()
    best_epoch = max(report.epoch for report in training.epochs() if report.improved)
    again = trainer()
    restore(again, checkpoint_bytes(training, {}))
    assert training.best is not None
    assert again.best is not None
    assert best_epoch == training.best.epoch == again.best.epoch
    assert again.best.validation == training.best.validation
    assert same(again.best.head, training.best.head)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"seconds": 0.1 + 0.2, "peak": 2**60, "fingerprint": "ä", "nested": {"list": [1, None]}},
        {"$tensor": "0", "schema_version": -1},
    ],
)
def test_restore_returns_the_record(trainer: Train, record: dict[str, Any]) -> None:
    assert restore(trainer(), checkpoint_bytes(trainer(), record)) == record


def test_a_record_that_json_does_not_support_is_refused(trainer: Train) -> None:
    with pytest.raises(TypeError):
        checkpoint_bytes(trainer(), {"weights": torch.ones(2)})


def flipped(content: bytes, place: int) -> bytes:
    altered = bytearray(content)
    altered[place] ^= 1
    return bytes(altered)


@pytest.mark.parametrize(
    "damaged",
    [
        *(lambda content, n=n: content[:n] for n in (0, 7, 100, 9_000, -1)),
        *(lambda content, n=n: flipped(content, n) for n in (0, 7, -1)),
        *(lambda content, n=n: flipped(content, n * len(content) // 20) for n in range(1, 20)),
        lambda content: content + b"\0",
        lambda content: content[8:],
        lambda _: save({"json": torch.zeros(3)}),
    ],
)
def test_bytes_that_were_cut_off_or_altered_are_refused(
    trainer: Train, damaged: Callable[[bytes], bytes]
) -> None:
    content = checkpoint_bytes(after(1, trainer()), {})
    training = trainer()
    before = checkpoint_bytes(training, {})
    with pytest.raises(BundleError, match=r"cut off or altered: its SHA-256.*train again"):
        restore(training, damaged(content))
    assert checkpoint_bytes(training, {}) == before


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"circuit.n_qubits": 3}, r"`head\.[a-z0-9.]+` is \[8, 8\] in it, but \[12, 8\]"),
        ({"mlp.hidden_layers": [8, 8]}, r"`head\.predictor\.[a-z0-9.]+` is absent in it, but"),
        ({"model": "mlp_twin"}, r"`head\.layers\.[a-z0-9.]+` is absent in it, but \[8, 16\]"),
        ({"optimizer.mlp_lr": 0.03}, r"`initial_lr` of .* group 0 is 0\.02 in it, but 0\.03"),
        ({"optimizer.name": "adamw"}, r"`decoupled_weight_decay` of the optimizer's group 0"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(
    trainer: Train, other: dict[str, Any], named: str
) -> None:
    content = checkpoint_bytes(after(1, trainer()), {})
    training = trainer(other)
    before = checkpoint_bytes(training, {})
    with pytest.raises(BundleError, match=f"another configuration: .*{named}"):
        restore(training, content)
    assert checkpoint_bytes(training, {}) == before
    assert next(training.epochs()).epoch == 1


def test_a_change_of_any_byte_of_the_header_is_detected(trainer: Train) -> None:
    content = checkpoint_bytes(trainer({"model": "cosine"}), {})
    training = trainer({"model": "cosine"})
    end = 8 + int.from_bytes(content[:8], "little")
    for place in range(end):
        with pytest.raises(BundleError, match="cut off or altered"):
            restore(training, flipped(content, place))


def test_tensors_of_another_type_with_the_same_bytes_are_detected(trainer: Train) -> None:
    tensors = load(checkpoint_bytes(trainer(), {}))
    tensors["0"] = tensors["0"].view(torch.int32)
    with pytest.raises(BundleError, match="cut off or altered"):
        restore(trainer(), save(tensors))


def test_a_checkpoint_of_another_version_is_refused(
    trainer: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serialization, "SCHEMA_VERSION", 0)
    content = checkpoint_bytes(trainer(), {})
    monkeypatch.undo()
    with pytest.raises(BundleError, match="schema version 0, but this package reads 2"):
        restore(trainer(), content)


def test_a_checkpoint_with_fewer_parts_is_refused(
    trainer: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, whole = trainer(), trainer().state_dict()
    monkeypatch.setattr(
        training, "state_dict", lambda: {k: whole[k] for k in whole if k != "schedule"}
    )
    content = checkpoint_bytes(training, {})
    with pytest.raises(BundleError, match="another configuration: the list of its parts is"):
        restore(trainer(), content)
    with pytest.raises(BundleError, match="another model: the list of its parts is"):
        take_over(trainer(), content)


NAN, INFINITE = float("nan"), float("inf")
ALTERED: dict[str, tuple[str, Any, str]] = {
    "epochs": ("epochs_done", -1, "epochs_done"),
    "epochs as text": ("epochs_done", "2", "epochs_done"),
    "first loss": ("first_loss", [], "first_loss"),
    "waited": ("early_stopping/waited", 0.5, "waited"),
    "best value": ("early_stopping/best", NAN, "best"),
    "step": ("schedule/step", -3, "step"),
    "factor": ("schedule/schedules/0/factor", "1", "factor"),
    "best epoch": ("best/epoch", 3, "best epoch"),
    "fusion weight": ("best/validation/fusion_weight", "w", "could not convert"),
    "fusion weight out of range": ("best/validation/fusion_weight", 2.0, "not between 0 and 1"),
    "best weights": ("best/head", {}, "missing or unknown"),
    "no best": ("best", None, "no epoch is left"),
    "average": ("average/weights", {}, "missing or unknown"),
    "average's epochs": ("average/epochs", None, "epochs"),
    "losses": ("batches/difficulty/losses/0", torch.zeros(1, dtype=torch.float64), "losses"),
    "infinite losses": ("batches/difficulty/losses/0", INFINITE, "losses"),
    "mined": ("batches/negatives/drawn_from/0", torch.zeros(3, dtype=torch.bool), "drawn_from"),
    "mined numbers": ("batches/negatives/drawn_from", [torch.zeros(1)], "torch.float32"),
    "moments": ("optimizer/state/0/exp_avg", torch.zeros(1), "exp_avg"),
    "moments that are not finite": ("optimizer/state/0/exp_avg_sq", NAN, "exp_avg_sq"),
    "generator": ("torch_generator", torch.zeros(2), "RNG state"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_checkpoint_with_an_altered_value_is_refused(trainer: Train, name: str) -> None:
    settings = {
        "training.max_epochs": 2,
        "training.ema_decay": 0.5,
        "training.difficulty": 0.5,
        "negatives.kind": "hard",
        "optimizer.schedule": "plateau",
    }
    training = after(2, trainer(settings))
    place, value, message = ALTERED[name]
    *parents, last = place.split("/")
    state: Any = training.state_dict()
    content = state
    for parent in parents:
        content = content[int(parent) if isinstance(content, list) or parent == "0" else parent]
    key = int(last) if isinstance(content, list) else last
    if isinstance(value, float) and isinstance(content[key], Tensor):
        value = torch.full_like(content[key], value)
    content[key] = value
    altered = serialization.dumps({"record": "{}", "state": state})
    again = trainer(settings)
    before = checkpoint_bytes(again, {})
    with pytest.raises(BundleError, match=f"was altered: .*{message}"):
        restore(again, altered)
    assert checkpoint_bytes(again, {}) == before


def test_a_failed_epoch_is_neither_serialized_nor_continued(
    trainer: Train,
) -> None:
    training = trainer({"loss.name": "infonce", "loss.temperature": 1e-300})
    with pytest.raises(DivergedError):
        next(training.epochs())
    with pytest.raises(RuntimeError, match="interrupted there"):
        checkpoint_bytes(training, {})
    with pytest.raises(RuntimeError, match="interrupted there"):
        next(training.epochs())


def test_a_trainer_with_a_partly_loaded_state_refuses_to_train(
    trainer: Train,
) -> None:
    state = after(1, trainer()).state_dict()
    training = trainer()
    with pytest.raises(KeyError):
        training.load_state_dict({**state, "schedule": {}})
    with pytest.raises(RuntimeError, match="interrupted there"):
        next(training.epochs())


# A training that continues from another's.


def moments(training: Trainer) -> dict[str, Tensor]:
    """The optimizer's tensors, by parameter and name."""
    state = training.state_dict()["optimizer"]["state"]
    return {
        f"{index} {name}": value
        for index, initial in state.items()
        for name, value in initial.items()
    }


CHANGES: dict[str, dict[str, Any]] = {
    "rates": {"optimizer.mlp_lr": 0.003, "optimizer.circuit_lr": 0.02},
    "loss": {"loss.name": "infonce", "loss.temperature": 0.05, "loss.score": "fused"},
    "batches": {"training.batch_size": 3, "loss.negatives": 2, "negatives.kind": "hard"},
    "optimizer": {"optimizer.name": "adamw", "optimizer.weight_decay": 0.1},
    "schedule": {"optimizer.schedule": "cosine"},
    "dropout": {"mlp.dropout": 0.0, "seed": 11},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_training_takes_over_weights_and_moments_bit_for_bit(trainer: Train, name: str) -> None:
    donor = after(2, trainer())
    clone = trainer(CHANGES[name])
    take_over(clone, checkpoint_bytes(donor, {}))
    assert same(clone.model.state_dict(), donor.model.state_dict())
    assert same(moments(clone), moments(donor))
    reports = list(clone.epochs())
    assert [report.epoch for report in reports] == [3, 4]
    assert reports[0].improved  # what the donor had been at best is not the clone's
    assert not same(clone.model.state_dict(), donor.model.state_dict())


@pytest.mark.parametrize("decays", [(0.7, 0.5), (0.7, 0.0), (0.0, 0.7)])
def test_an_average_is_taken_over_if_both_trainings_have_one(
    trainer: Train, decays: tuple[float, float]
) -> None:
    donor, clone = (trainer({"training.ema_decay": decay}) for decay in decays)
    take_over(clone, checkpoint_bytes(after(2, donor), {}))
    donated, actual = (training.state_dict()["average"]["weights"] for training in (donor, clone))
    assert same(actual, donated if decays[1] else {})
    assert [report.epoch for report in clone.epochs()] == [3, 4]


def test_weights_taken_over_are_trained_with_the_new_configuration(
    trainer: Train,
) -> None:
    settings = {"optimizer.schedule": "cosine", "optimizer.mlp_lr": 0.003, "training.batch_size": 3}
    content = checkpoint_bytes(after(2, trainer()), {})
    clone, alone = trainer(settings), trainer(settings)
    initial = clone.state_dict()
    take_over(clone, content)
    for key in ("batches", "warm_up_batches", "early_stopping"):
        assert clone.state_dict()[key] == initial[key]
    # Its learning rates are those that it would have come to by itself.
    after(2, alone)
    expected = [group["lr"] for group in alone.state_dict()["optimizer"]["param_groups"]]
    actual = [group["lr"] for group in clone.state_dict()["optimizer"]["param_groups"]]
    assert actual == expected
    assert (
        next(clone.epochs()).metrics["learning_rate"]
        == next(alone.epochs()).metrics["learning_rate"]
    )


@pytest.mark.parametrize(("before", "after_it"), [("sgd", "adam"), ("adamw", "sgd")])
def test_moments_of_another_kind_of_optimizer_are_not_taken_over(
    trainer: Train, before: str, after_it: str
) -> None:
    donor = after(2, trainer({"optimizer.name": before}))
    clone = trainer({"optimizer.name": after_it})
    take_over(clone, checkpoint_bytes(donor, {}))
    assert same(clone.model.state_dict(), donor.model.state_dict())
    assert moments(clone) == {}
    assert [report.epoch for report in clone.epochs()] == [3, 4]


def test_a_training_that_early_stopping_ended_continues_with_more_patience(trainer: Train) -> None:
    hopeless = {"training.early_stopping_patience": 1, "training.min_improvement": 1.0}
    donor = trainer(hopeless)
    assert list(donor.epochs())[-1].epoch < 4
    clone = trainer({"training.early_stopping_patience": 10})
    take_over(clone, checkpoint_bytes(donor, {}))
    assert list(clone.epochs())[-1].epoch == 4


@pytest.mark.parametrize("resume", [take_over, restore])
@pytest.mark.parametrize("max_epochs", [2, 3])
def test_a_training_resumed_at_or_after_its_last_epoch_has_no_more_epochs(
    trainer: Train, resume: Callable[[Trainer, bytes], object], max_epochs: int
) -> None:
    training = trainer({"training.max_epochs": max_epochs})
    resume(training, checkpoint_bytes(after(3, trainer()), {}))
    assert list(training.epochs()) == []


def test_a_clone_resumes_from_its_own_checkpoint(trainer: Train) -> None:
    settings = {"optimizer.mlp_lr": 0.003, "mlp.dropout": 0.2}
    content = checkpoint_bytes(after(1, trainer()), {})
    whole, part, again = trainer(settings), trainer(settings), trainer(settings)
    for training in (whole, part):
        drawn_from(1)
        take_over(training, content)
    drawn_from(5)
    reports = list(whole.epochs())
    drawn_from(5)
    written = checkpoint_bytes(after(2, part), {})
    restore(again, written)
    assert list(again.epochs()) == reports[2:]


@pytest.mark.parametrize(
    "overrides", [{"circuit.n_layers": 3}, {"mlp.hidden_layers": [8, 8]}, {"model": "mlp_twin"}]
)
def test_a_model_of_another_shape_is_not_taken_over(
    trainer: Train, overrides: dict[str, Any]
) -> None:
    content = checkpoint_bytes(after(1, trainer()), {})
    other = trainer(overrides)
    before = checkpoint_bytes(other, {})
    with pytest.raises(BundleError, match="of another model"):
        take_over(other, content)
    assert checkpoint_bytes(other, {}) == before


def test_truncated_bytes_are_not_taken_over(trainer: Train) -> None:
    content = checkpoint_bytes(after(1, trainer()), {})
    with pytest.raises(BundleError, match="cut off or altered"):
        take_over(trainer(), content[:-3])
