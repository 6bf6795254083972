"""Chains of shard actors: load a model into actors, and start the actors of a command that runs no jobs."""

from collections.abc import Sequence

from ray.actor import ActorHandle

from mlprune.models.block_ranges import plan_spans
from mlprune.plan.pool import Pool
from mlprune.steps.job import WHOLE_MODEL, ModelRef
from ray_jobs.workers.placement_groups import ReplicaPlacement
from ray_jobs.workers.ray_chain import RayChain
from ray_jobs.workers.ray_failures import FailureClassifier
from ray_jobs.workers.replica_actors import start_shards


def start_chain(store_uri: str, model: ModelRef, pool: Pool, *, placement: ReplicaPlacement, name: str) -> RayChain:
    """Start the shard actors of one replica and load a model. They end when the chain is dropped.

    Args:
        store_uri: the store; every node must reach it under this name.
        placement: resources of the actors, which were reserved.
        name: beginning of the actors' names in Ray's dashboard.
    """
    n_shards = min(pool.n_shards, model.n_blocks)
    shards = start_shards(n_shards, store_uri, model, pool, placement=placement, name=name)
    return load_chain(shards, model, pool, offload_level=WHOLE_MODEL)


def load_chain(shards: Sequence[ActorHandle], model: ModelRef, pool: Pool, *, offload_level: int) -> RayChain:
    """Load a model into shard actors; those that it does not need become empty."""
    spans = plan_spans(model.n_blocks, min(len(shards), model.n_blocks))
    used, unused = shards[: len(spans)], shards[len(spans) :]
    loading = [
        shard.load.remote(model, span, offload_level=offload_level) for shard, span in zip(used, spans, strict=True)
    ]
    loading += [shard.unload.remote() for shard in unused]
    FailureClassifier().get(loading, who="a shard")
    return RayChain(used, spans, model.n_blocks, threads=pool.model_threads)
