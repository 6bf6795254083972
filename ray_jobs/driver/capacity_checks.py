"""Whether a run fits: its pool on the machines it is to run on, and room in its store. Checked before it starts."""

import shutil

from mlprune.errors import BadInputError
from mlprune.plan.estimate import Needs
from mlprune.plan.node_capacity import Node
from mlprune.plan.pool import Pool
from mlprune.store.store import Store
from ray_jobs.workers.node_resources import local_ray_bytes, this_node


def pool_here(needs: Needs) -> Pool:
    """The pool of this process alone: one worker with one shard, whatever the recipe says about both.

    Raises:
        BadInputError: its memory does not do.
    """
    alone = needs.compute.model_copy(update={"replicas": 1, "shards": 1})
    return Needs(alone, needs.model, needs.sizes, needs.works).pool([this_node()])


def pool_of_local_ray(needs: Needs) -> Pool:
    """The pool of a Ray that is started on this machine.

    Raises:
        BadInputError: the machine does not have what the recipe asks for.
    """
    here = this_node()
    return needs.pool([Node(here.n_cpus, local_ray_bytes()[0], here.n_gpus, here.gpu_bytes)])


def require_room(needs: Needs, store: Store) -> None:
    """Refuse a run whose results its store's disk cannot take.

    Raises:
        BadInputError: there is too little room.
    """
    root = store.local_root
    if root is None:
        return
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free_gib = shutil.disk_usage(existing).free / 2**30
    if needs.disk_gib > free_gib:
        raise BadInputError(
            "the store's disk has too little room",
            store=store.uri,
            expected=f"{needs.disk_gib:.1f} GiB",
            got=f"{free_gib:.1f} GiB free",
        )


def pool_in_words(pool: Pool) -> str:
    """Who does the work, in one line."""
    shards = _n(pool.n_shards, "shard") + ("" if pool.n_shards == 1 else " each")
    gpus = f", {pool.n_gpus:g} GPU" if pool.n_gpus else ""
    memory = f"{pool.memory_bytes / 2**30:.2f} GiB"
    return f"{_n(pool.n_workers, 'replica')} of {shards}; an actor has {_n(pool.threads, 'thread')}, {memory}{gpus}"


def _n(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
