"""Pools of one replica, and the model that they run."""

from dataclasses import replace

from mlprune.planning.resources.node_capacity import Pool
from mlprune.steps.job import ModelRef

MODEL = ModelRef("model", "/model", "xglm", n_blocks=2, max_positions=64, dtype="float32")
ONE_SHARD = Pool(
    1,
    1,
    1.0,
    0.0,
    threads=1,
    model_threads=1,
    memory_bytes=2**30,
    working_bytes=2**20,
    coordinator_bytes=0,
    resident=(2,),
    n_blocks=2,
)
TWO_SHARDS = replace(ONE_SHARD, n_shards=2, coordinator_bytes=2**29, resident=(1, 1))
