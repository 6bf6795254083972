"""Resource usage of a job: tokens that entered the model, bytes written and peak memory. Does not use Ray."""

import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Concatenate

from mlprune.models.chain import Arguments, Chain, ReplicaOffer
from mlprune.models.inference.visitor import Item, Operation, Result
from mlprune.models.messages import TokenBatch
from mlprune.models.shard import Shard
from mlprune.store.records import Record
from mlprune.store.store import Store

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"
"""Value written to `clear_refs` to reset the peak memory of a process (proc(5))."""


class CountingStore(Store):
    """A store that counts the bytes of the artefacts of the records that this process writes."""

    n_bytes = 0

    def write_record(self, record: Record) -> None:
        """See `Store.write_record`."""
        super().write_record(record)
        self.n_bytes += sum(artefact.n_bytes for artefact in record.artefacts)


class CountingChain:
    """A chain that counts the tokens sent into it, padding included."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.n_tokens = 0

    @property
    def n_blocks(self) -> int:
        """See `Chain.n_blocks`."""
        return self._chain.n_blocks

    @property
    def spans(self) -> tuple[range, ...]:
        """See `Chain.spans`."""
        return self._chain.spans

    def stream(self, operation: Operation[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Chain.stream`."""

        def counted() -> Iterator[Item]:
            for item in items:
                self.n_tokens += item.n_computed
                yield item

        return self._chain.stream(operation, counted())

    def on_block(
        self,
        block: int,
        method: Callable[Concatenate[Shard, Arguments], Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """See `Chain.on_block`; a batch of a sweep enters the model here."""
        self.n_tokens += sum(arg.n_computed for arg in args if isinstance(arg, TokenBatch))
        return self._chain.on_block(block, method, *args, **kwargs)

    def everywhere(
        self, method: Callable[Concatenate[Shard, Arguments], Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> list[Result]:
        """See `Chain.everywhere`."""
        return self._chain.everywhere(method, *args, **kwargs)

    @property
    def others(self) -> ReplicaOffer | None:
        """See `Chain.others`; every batch of a sweep enters the model in this replica."""
        return self._chain.others


class PeakMemory:
    """Peak resident memory of this process since this object was created.

    Linux can reset the peak of a process. On other systems, or if resetting is forbidden, the peak is measured since
    the process started, and `is_of_job` is False.
    """

    def __init__(self, clear_refs: Path = CLEAR_REFS, status: Path = STATUS) -> None:
        self._status = status
        try:
            clear_refs.write_text(RESET_PEAK, encoding="ascii")
            self.is_of_job = self._high_water() is not None
        except OSError:
            self.is_of_job = False

    def gib(self) -> float:
        """Return the peak so far."""
        n_bytes = self._high_water() if self.is_of_job else None
        return (peak_bytes() if n_bytes is None else n_bytes) / 2**30

    def _high_water(self) -> int | None:
        try:
            lines = self._status.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def peak_bytes() -> int:
    """Peak resident memory of this process since it started."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
