"""Ray actors: a worker, and a shard of a model too large for one worker. Both forward to plain code in one line."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayActorError

from mlprune.errors import WorkerLostError
from mlprune.models.chain import Chain, local_chain, shard_of
from mlprune.models.device_map import plan_spans
from mlprune.models.shard import Shard
from mlprune.steps.jobs import Job, ModelRef
from mlprune.threads import use_threads
from ray_jobs.worker import Outcome, Worker, worker_name

IN_FLIGHT = 4
"""Batches that may be on their way along a chain at once."""


class ShardActor:
    """Some blocks of the base model."""

    def __init__(self, model: ModelRef, start: int, stop: int, *, threads: int) -> None:
        torch.set_num_threads(1)
        use_threads(threads)
        span = range(start, stop)
        self._shard = Shard(Path(model.path), span, n_blocks=model.n_blocks, dtype=model.dtype)

    def call(self, operation: str, *args: Any) -> Any:
        """Call a method of the shard."""
        return getattr(self._shard, operation)(*args)


class RayChain:
    """Shards in actors; what passes between them are object references, a bounded number of batches at a time."""

    def __init__(self, shards: Sequence[Any], spans: tuple[range, ...], n_blocks: int) -> None:
        self._shards = tuple(shards)
        self.spans = spans
        self.n_blocks = n_blocks

    def stream(self, operation: str, items: Iterable[Any]) -> Iterator[Any]:
        """See `mlprune.models.chain.Chain.stream`."""
        waiting: deque[Any] = deque()
        for item in items:
            travelling = item
            for shard in self._shards:
                travelling = shard.call.remote(operation, travelling)
            waiting.append(travelling)
            if len(waiting) == IN_FLIGHT:
                yield _fetched(waiting.popleft())
        while waiting:
            yield _fetched(waiting.popleft())

    def on_block(self, block: int, operation: str, *args: Any) -> Any:
        """See `mlprune.models.chain.Chain.on_block`."""
        return _fetched(self._shards[shard_of(self.spans, block)].call.remote(operation, *args))

    def everywhere(self, operation: str, *args: Any) -> list[Any]:
        """See `mlprune.models.chain.Chain.everywhere`."""
        return list(_fetched([shard.call.remote(operation, *args) for shard in self._shards]))


def _fetched(references: Any) -> Any:
    """What references stand for.

    Raises:
        WorkerLostError: the shard that was to make it died.
    """
    try:
        return ray.get(references)
    except RayActorError as err:
        raise WorkerLostError("a shard died", reason=str(err).partition("\n")[0]) from err


class WorkerActor:
    """A worker; its chain is in its own process, or in shard actors that it starts and owns."""

    def __init__(
        self, store_uri: str, model: ModelRef, *, number: int, n_shards: int, n_gpus: float, threads: int
    ) -> None:
        self._model = model
        self._n_shards = n_shards
        self._n_gpus = n_gpus
        self._threads = threads
        self._worker = Worker(store_uri, self._load, name=worker_name(number), threads=threads)

    def run(self, job: Job) -> Outcome:
        """Run a job."""
        return self._worker.run(job)

    def _load(self) -> Chain:
        if self._n_shards == 1:
            return local_chain(Path(self._model.path), dtype=self._model.dtype)
        spans = plan_spans(self._model.n_blocks, self._n_shards)
        options = actor_class(ShardActor).options(num_cpus=self._threads, num_gpus=self._n_gpus)
        shards = [options.remote(self._model, span.start, span.stop, threads=self._threads) for span in spans]
        return RayChain(shards, spans, self._model.n_blocks)


def actor_class(plain: type) -> Any:
    """A plain class as one whose instances are Ray actors."""
    return ray.remote(plain)
