"""Chains of shard actors: load a model into actors, and start the actors of a command that runs no jobs."""

from mlprune.steps.job import WHOLE_MODEL, ModelRef
from ray_jobs.workers.ray_chain import RayChain, load_chain
from ray_jobs.workers.replica_actors import ReplicaPlacement, start_shards


def start_chain(store_uri: str, model: ModelRef, *, placement: ReplicaPlacement) -> RayChain:
    """Start the shard actors of one replica and load a model. They end when the chain is dropped.

    Args:
        store_uri: the store; every node must reach it under this name.
        placement: resources of the actors, which were reserved.
    """
    pool = placement.pool
    n_shards = min(pool.n_shards, model.n_blocks)
    shards = start_shards(placement, store_uri, model=model, n=n_shards)
    return load_chain(shards, model, pool, offload_level=WHOLE_MODEL)
