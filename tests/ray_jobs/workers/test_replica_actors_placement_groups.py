"""Reserving the resources of a replica, with a fake Ray."""

from dataclasses import replace

import pytest

from mlprune.plan.resources.node_capacity import Pool
from ray_jobs.workers import replica_actors
from ray_jobs.workers.replica_actors import ReplicaPlacement, format_needs
from tests.ray_jobs.workers.pools import ONE_SHARD, TWO_SHARDS

Labels = list[dict[str, str]] | None


class FakeGroup:
    """A placement group."""

    def __init__(self, bundles: list[dict[str, float]], *, strategy: str, name: str, labels: Labels) -> None:
        self.bundles, self.strategy, self.name, self.labels = bundles, strategy, name, labels


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[FakeGroup]:
    """The placement groups that exist."""
    made: list[FakeGroup] = []

    def make(bundles: list[dict[str, float]], *, strategy: str, name: str, bundle_label_selector: Labels) -> FakeGroup:
        made.append(FakeGroup(bundles, strategy=strategy, name=name, labels=bundle_label_selector))
        return made[-1]

    monkeypatch.setattr(replica_actors, "placement_group", make)
    monkeypatch.setattr(replica_actors, "remove_placement_group", made.remove)
    monkeypatch.setattr(replica_actors, "PlacementGroupSchedulingStrategy", lambda group, bundle: (group, bundle))
    return made


def test_a_replica_of_one_shard_is_one_actor_with_all_resources(groups: list[FakeGroup]) -> None:
    placement = ReplicaPlacement(ONE_SHARD, name="worker-0")
    assert placement.worker_options() == {"num_cpus": 1.0, "num_gpus": 0.0, "memory": 2**30}
    placement.release()
    assert groups == []


def test_worker_and_shards_have_a_bundle_each_of_one_group(groups: list[FakeGroup]) -> None:
    placement = ReplicaPlacement(replace(TWO_SHARDS, n_gpus=0.5), name="worker-0")
    (group,) = groups
    shard = {"CPU": 1.0, "GPU": 0.5, "memory": 2**30}
    assert (group.bundles, group.strategy) == ([{"memory": 2**29}, shard, shard], "PACK")
    worker = placement.worker_options()
    assert (worker["num_cpus"], worker["memory"], worker["scheduling_strategy"]) == (0, 2**29, (group, 0))
    strategies = [placement.shard_options(number)["scheduling_strategy"] for number in range(2)]
    assert strategies == [(group, 1), (group, 2)]
    placement.release()
    assert groups == []


def test_actors_run_only_on_nodes_with_the_labels_of_the_pool(groups: list[FakeGroup]) -> None:
    labels = {"ray.io/accelerator-type": "H100"}
    whole = ReplicaPlacement(replace(ONE_SHARD, node_labels=labels), name="worker-0")
    assert whole.worker_options()["label_selector"] == labels
    split = ReplicaPlacement(replace(TWO_SHARDS, node_labels=labels), name="worker-0")
    assert groups[0].labels == [labels] * 3
    assert "label_selector" not in split.shard_options(0), "Ray takes one of bundle and label"
    assert "ray.io/accelerator-type: H100" in format_needs(replace(TWO_SHARDS, node_labels=labels))


@pytest.mark.parametrize(
    ("pool", "text"),
    [
        (ONE_SHARD, "1 CPU, 1.00 GiB"),
        (replace(ONE_SHARD, n_gpus=0.5), "1 CPU, 0.5 GPU, 1.00 GiB"),
        (TWO_SHARDS, "2 x (1 CPU, 1.00 GiB) and 0.50 GiB for the worker"),
    ],
)
def test_the_needs_of_a_replica_have_cpus_gpus_and_memory(pool: Pool, text: str) -> None:
    assert format_needs(pool) == text
