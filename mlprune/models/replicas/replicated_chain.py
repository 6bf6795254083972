"""A chain of several replicas of a model, which share the items of one job.

The first replica belongs to the process that runs the job. The other replicas compute tasks that this process sends
them. Every batch is computed by one replica, as planned, and results are in the order of the batches. So the bits of a
result do not depend on the number of replicas.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Concatenate, Generic, Protocol, TypeVar, cast

from mlprune.models.chain import Arguments, Chain
from mlprune.models.inference.visitor import Item, Operation, Result
from mlprune.models.messages import TokenBatch
from mlprune.models.shard import Shard

GROUPS_AHEAD = 3
"""Groups of items that another replica computes or has computed before their results are needed."""

Key = TypeVar("Key", bound=Hashable)
Result_co = TypeVar("Result_co", covariant=True)


class Pending(Protocol[Result_co]):
    """The result of a task that another replica computes."""

    def is_done(self) -> bool:
        """Return whether the task has ended."""

    def result(self) -> Result_co:
        """Wait until the task has ended; return its result.

        Raises: the error of the task, or `TransientError` if the replica was lost.
        """


class Replica(Protocol):
    """A replica that computes tasks of a job which runs in another process."""

    def begin(self, task: Callable[[Chain], Result]) -> Pending[Result]:
        """Send a task, a picklable function of the replica's chain. Tasks run one by one, in the order sent."""


class ReplicatedChain:
    """Several replicas as one chain.

    Args:
        first: the replica of this process.
        others: the other replicas.
        group_size: number of items that a replica streams at a time, at least 1; None for all of its items, if its
            blocks are on disk or in several processes.
    """

    def __init__(self, first: Chain, others: Sequence[Replica], *, group_size: int | None) -> None:
        self._first = first
        self._others = tuple(others)
        self._group_size = group_size
        self.n_blocks = first.n_blocks
        self.spans = first.spans
        self._sweep: _Shares[Hashable] = _Shares(1 + len(self._others))
        self._unfinished: list[Pending[object]] = []

    def stream(self, operation: Operation[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Chain.stream`. All items are drawn before the first one runs, to divide them evenly."""
        drawn = list(items)
        groups = list(_groups(drawn, self._group_size or -(-len(drawn) // (1 + len(self._others)))))
        shares: _Shares[int] = _Shares(1 + len(self._others))
        owners = [shares.add(number, sum(item.n_computed for item in group)) for number, group in enumerate(groups)]
        begun: dict[int, Pending[list[Result]]] = {}
        results: dict[int, list[Result]] = {}
        own, *waiting = (iter(shares.keys_of(owner, range(len(groups)))) for owner in range(1 + len(self._others)))

        def send_ahead() -> None:
            for owner, (replica, numbers) in enumerate(zip(self._others, waiting, strict=True), start=1):
                n_ahead = sum(owners[number] == owner for number in begun)
                for number in islice(numbers, GROUPS_AHEAD - n_ahead):
                    begun[number] = replica.begin(partial(_stream_group, operation=operation, group=groups[number]))

        for number in range(len(groups)):
            while number not in results:
                send_ahead()
                is_there = number in begun and begun[number].is_done()
                mine = None if is_there else next(own, None)
                if mine is not None:
                    results[mine] = list(self._first.stream(operation, groups[mine]))
                else:
                    results[number] = begun.pop(number).result()
            yield from results.pop(number)

    def on_block(
        self,
        block: int,
        method: Callable[Concatenate[Shard, Arguments], Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """See `Chain.on_block`. A batch of a sweep goes to the replica with the fewest tokens; others to the first."""
        if method == Shard.sweep_start:
            key, batch = cast("tuple[Hashable, TokenBatch]", args)
            owner = self._sweep.add(key, batch.n_computed)
            if owner > 0:
                self._unfinished.append(self._others[owner - 1].begin(partial(_start_sweep, key=key, batch=batch)))
                return cast("Result", None)  # what `Shard.sweep_start` returns
        return self._first.on_block(block, method, *args, **kwargs)

    def everywhere(
        self, method: Callable[Concatenate[Shard, Arguments], Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> list[Result]:
        """See `Chain.everywhere`; results are those of the first replica."""
        begun = self._begin(partial(_call_everywhere, method=method, args=args, kwargs=kwargs))
        results = self._first.everywhere(method, *args, **kwargs)
        self._finish(begun)
        return results

    def on_shares(self, keys: Sequence[Hashable], task: Callable[[Chain, Sequence[Hashable]], Result]) -> list[Result]:
        """See `Chain.on_shares`."""
        begun = [
            replica.begin(partial(_run_share, task=task, keys=share))
            for index, replica in enumerate(self._others, start=1)
            if (share := self._sweep.keys_of(index, keys))
        ]
        own = self._sweep.keys_of(0, keys)
        results = [task(self._first, own)] if own else []
        return [*results, *self._finish(begun)]

    def on_others(self, task: Callable[[Chain], Result]) -> list[Result]:
        """See `Chain.on_others`."""
        return self._finish(self._begin(task))

    def _begin(self, task: Callable[[Chain], Result]) -> list[Pending[Result]]:
        return [replica.begin(task) for replica in self._others]

    def _finish(self, begun: Sequence[Pending[Result]]) -> list[Result]:
        """Wait for tasks, after those that were begun before without waiting, and return their results."""
        unfinished, self._unfinished = self._unfinished, []
        for pending in unfinished:
            pending.result()
        return [pending.result() for pending in begun]


class _Shares(Generic[Key]):
    """Division of items among replicas by their number of tokens."""

    def __init__(self, n_replicas: int) -> None:
        self._n_tokens = [0] * n_replicas
        self._owners: dict[Key, int] = {}

    def add(self, key: Key, n_tokens: int) -> int:
        """Give an item to the replica with the fewest tokens, the first one of several; return its number."""
        owner = self._n_tokens.index(min(self._n_tokens))
        self._n_tokens[owner] += n_tokens
        self._owners[key] = owner
        return owner

    def keys_of(self, owner: int, keys: Iterable[Key]) -> list[Key]:
        """Return those of the keys that belong to a replica, in their order."""
        return [key for key in keys if self._owners[key] == owner]


def _groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Divide items into consecutive groups."""
    remaining = iter(items)
    while group := list(islice(remaining, size)):
        yield group


# Tasks of other replicas: picklable functions of a chain


def _stream_group(chain: Chain, *, operation: Operation[Item, Result], group: Sequence[Item]) -> list[Result]:
    return list(chain.stream(operation, group))


def _run_share(
    chain: Chain, *, task: Callable[[Chain, Sequence[Hashable]], Result], keys: Sequence[Hashable]
) -> Result:
    return task(chain, keys)


def _start_sweep(chain: Chain, *, key: Hashable, batch: TokenBatch) -> None:
    chain.on_block(0, Shard.sweep_start, key, batch)


def _call_everywhere(
    chain: Chain,
    *,
    method: Callable[Concatenate[Shard, Arguments], object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> None:
    cast("Callable[..., object]", chain.everywhere)(method, *args, **kwargs)
