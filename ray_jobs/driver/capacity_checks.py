"""Checks before a run starts: machines and disk suffice."""

import math
from dataclasses import replace

from mlprune.counted import bytes_text
from mlprune.errors import BadInputError
from mlprune.planning.resources.estimate import Needs
from mlprune.planning.resources.node_capacity import GIB, Node, Pool
from mlprune.recipe.models import ComputeConfig
from mlprune.store.store import Store
from ray_jobs.workers.node_resources import free_disk_bytes, local_node, local_ray_bytes


def in_process_pool(needs: Needs) -> Pool:
    """Plan the pool of this process: one worker with one shard, regardless of the recipe, and by default all GPUs.

    Raises:
        BadInputError: the model does not fit in its memory.
    """
    node = local_node()
    changes: dict[str, object] = {"replicas": 1, "shards": 1}
    if needs.compute.gpus_per_actor == "auto" and needs.model.device == "cuda" and node.n_gpus > 1:
        changes["gpus_per_actor"] = float(node.n_gpus)
    return replace(needs, compute=needs.compute.model_copy(update=changes)).pool([node])


def local_ray_pool(needs: Needs) -> Pool:
    """Plan the pool of a local Ray on this machine.

    Raises:
        BadInputError: the model does not fit on the machine, or the recipe needs more than the machine has.
    """
    return needs.pool([local_ray_node(needs.compute)])


def local_ray_node(compute: ComputeConfig) -> Node:
    """Measure this machine as the node of a local Ray with the object store of a recipe."""
    return replace(local_node(), memory_bytes=local_ray_bytes(object_store_gib(compute))[0])


def object_store_gib(compute: ComputeConfig) -> float | None:
    """Return the size of the object store that a recipe asks for; None for the default."""
    return None if compute.object_store_gib == "auto" else compute.object_store_gib


def require_room(needs: Needs, store: Store) -> None:
    """Check that the disk of a local store has room for the results.

    Raises:
        BadInputError: the disk has too little free space.
    """
    root = store.local_root
    if root is None:
        return
    needed, free = math.ceil(needs.disk_gib * GIB), free_disk_bytes(root)
    if needed > free:
        raise BadInputError(
            "not enough free space on the disk of the store",
            store=store.uri,
            expected=bytes_text(needed),
            got=f"{bytes_text(free)} free",
        )
