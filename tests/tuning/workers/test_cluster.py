from __future__ import annotations

from pathlib import Path

import pytest
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial

from quantum_rerank.errors import ConfigError
from tuning.limits.concurrency import Node
from tuning.workers.cluster import (
    _pass_on_no_secrets,
    ray_cluster,
    share,
    silent_progress,
    this_machine,
)


def test_this_machine_has_cores_and_memory() -> None:
    machine = this_machine()
    assert machine.cpus >= 1
    assert machine.free_gib > 0


@pytest.mark.parametrize("address", ["localhost", "10.0.0.5", "10.0.0.5:"])
def test_an_address_without_a_port_is_refused(address: str) -> None:
    with (
        pytest.raises(ConfigError, match=f"`--address {address}` has no port"),
        ray_cluster(address),
    ):
        pass


def test_as_many_shares_as_trials_fit_a_machine_and_not_one_more() -> None:
    for trials in range(1, 65):
        (part,) = (round(value * 10_000) for value in share(trials).values())
        assert trials * part <= 10_000 < (trials + 1) * part


@pytest.mark.ray
def test_ray_places_as_many_trials_as_share_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray.util import placement_group

    monkeypatch.setattr("tuning.workers.cluster.this_machine", lambda: Node(8, 16.0))
    with ray_cluster(None):
        groups = [placement_group([{"CPU": 1, **share(5)}]) for _ in range(6)]
        *fitting, excess = groups
        ray.get([group.ready() for group in fitting])
        assert not excess.wait(0.5)
        assert ray.available_resources()["CPU"] == 3


def test_a_trial_that_was_stopped_before_its_worker_started_has_a_folder_s_name(
    tmp_path: Path,
) -> None:
    storage = StorageContext(str(tmp_path), experiment_dir_name="search")
    trial = Trial("trainable", storage=storage, stub=True)
    with pytest.raises(RuntimeError):
        _ = trial.path
    silent_progress().on_experiment_end([trial])
    assert Path(trial.path).parent == tmp_path / "search"  # Ray's list of results reads it


def test_a_trial_s_runtime_environment_which_ray_logs_has_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray.tune.execution.class_cache import _ActorClassCache

    class Trainable:
        pass

    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD")
    for name in names:
        monkeypatch.setenv(name, "a secret")
    _pass_on_no_secrets()
    options = _ActorClassCache().get(Trainable)._default_options
    assert "a secret" not in str(options["runtime_env"])
    assert options["runtime_env"]["env_vars"]["PL_DISABLE_FORK"] == "1"
