"""The batches of a sequential sweep, divided among replicas that join, leave or are lost while it runs.

Every batch enters the model in the replica that runs the job. Its states move to another replica, and back, at the
border of two blocks. If a replica is lost, the others compute the states of its batches again.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from torch import Tensor

from mlprune.models.chain import Chain, Pending, advance_to
from mlprune.models.inference.visitor import Result
from mlprune.models.messages import ONLY_SQUARES, SweepStates, TokenBatch, WantedStatistics
from mlprune.models.replicated_chain import Member, Members, Task
from mlprune.models.shard import Shard

Key = TypeVar("Key", bound=Hashable)
Share = Callable[[Chain, Sequence[Hashable]], Result]
"""A function of a replica and the keys of batches whose states it has."""


def even_moves(held: Sequence[Mapping[Key, int]]) -> dict[tuple[int, int], list[Key]]:
    """Choose whole batches to move until no further move makes the larger of two replicas smaller.

    Args:
        held: of each replica, batch -> number of tokens.
    Returns: (from, to) -> batches; equal input gives equal moves, in the same order.
    """
    holders = {key: holder for holder, keys in enumerate(held) for key in keys}
    sizes = {key: size for keys in held for key, size in keys.items()}
    loads = [sum(keys.values()) for keys in held]
    while True:
        source, target = loads.index(max(loads)), loads.index(min(loads))
        gap = loads[source] - loads[target]
        fitting = [key for key, holder in holders.items() if holder == source and 0 < sizes[key] < gap]
        if not fitting:
            break
        key = min(fitting, key=lambda key: abs(2 * sizes[key] - gap))
        holders[key] = target
        loads[source] -= sizes[key]
        loads[target] += sizes[key]
    moves: dict[tuple[int, int], list[Key]] = {}
    for source, keys in enumerate(held):
        for key in keys:
            if holders[key] != source:
                moves.setdefault((source, holders[key]), []).append(key)
    return moves


class SharedSweep:
    """The states of a sweep's batches.

    Args:
        chain: the replica that chooses the masks, which also knows the other replicas.
        batches: key -> batch.
    """

    def __init__(self, chain: Chain, batches: Mapping[Hashable, TokenBatch]) -> None:
        self._chain = chain
        self._batches = batches
        self._members = Members(chain.others, [_make_dense])
        self._own: list[Hashable] = []
        """Batches whose states are in this replica."""
        self._lost: list[Hashable] = []
        """Batches whose states are in no replica."""

    def start(self) -> None:
        """Make the model dense, embed all batches and divide them among the replicas.

        Other replicas embed their batches again, because tokens are smaller than states.
        """
        _make_dense(self._chain)
        for key, batch in self._batches.items():
            self._chain.on_block(0, Shard.sweep_start, key, batch)
        self._own = list(self._batches)
        self._members.update(wait=True)
        for (_, target), keys in self._even_moves().items():
            member = self._members.joined[target - 1]
            batches = {key: self._batches[key] for key in keys}
            member.begin(partial(_run_share, share=partial(_restart_share, batches=batches, block=0), keys=keys))
            member.keys = list(keys)
            for key in keys:
                self._chain.on_block(0, Shard.sweep_release, key)
                self._own.remove(key)

    def change_replicas(self, block: int) -> None:
        """Let replicas join and leave before a block runs, and divide the batches evenly."""
        self._members.update()
        for member in self._members.leaving():
            self._move(list(member.keys), member, None, block=block)
            if member in self._members.joined:
                self._members.release(member)
        holders = self._holders
        for (source, target), keys in self._even_moves().items():
            self._move(keys, holders[source], holders[target], block=block)
        self._recover(block)

    def observe(self, block: int, *, with_products: bool, wanted: WantedStatistics = ONLY_SQUARES) -> None:
        """Observe all batches and collect the sums in the shard that prunes the block; see `Shard.sweep_observe`.

        If a replica is lost, the block is observed again.

        Args:
            with_products: products of one replica are not added to those of another one, whatever their order.
            wanted: nor are the further statistics; a job that wants some does not share its replica.
        """
        own = partial(_observe_share, block=block, with_products=with_products, wanted=wanted)
        while True:
            sums = self._on_shares(partial(_observe_and_take, block=block), own=own)
            if not self._lost:
                break
            self._recover(block)
        for of_replica in sums:
            self._chain.on_block(block, Shard.sweep_add_sums, of_replica)

    def apply_elsewhere(self, task: Task) -> None:
        """Let the other replicas, and those that join later, apply the masks of a block that was pruned in this one."""
        self._members.begin_everywhere(task)

    def advance(self, block: int) -> None:
        """Run a block with its current weights and move the states after it to the shard of the next block."""
        share = partial(_advance_share, block=block)
        self._on_shares(share, own=share)
        self._recover(block + 1)

    def clear(self) -> None:
        """Drop the states in this replica; the others drop theirs when they are given back."""
        self._chain.everywhere(Shard.sweep_clear)

    def _on_shares(
        self,
        share: Share[Result],
        *,
        own: Share[None],
        shares: Mapping[Member | None, Sequence[Hashable]] | None = None,
    ) -> list[Result]:
        """Call functions with the batches of each replica, at the same time.

        Args:
            share: for other replicas, if they have batches.
            own: for this replica.
            shares: keys of each replica, None for this one; by default all that it has.
        Returns: results of the other replicas that were not lost.
        """
        keys_of = shares or {None: self._own, **{member: member.keys for member in self._members.joined}}
        begun = [
            (member, member.replica.begin(partial(_run_share, share=share, keys=tuple(keys))))
            for member, keys in keys_of.items()
            if member is not None and keys
        ]
        own(self._chain, keys_of.get(None, ()))
        return [result for member, pending in begun for result in self._try_result(member, pending)]

    def _try_result(self, member: Member, pending: Pending[Result]) -> Sequence[Result]:
        """Return the result as the only element, or nothing if the replica was lost."""
        results = self._members.try_result(member, pending)
        if not results:
            self._lost += member.keys
            member.keys = []
        return results

    def _recover(self, block: int) -> None:
        """Compute states before a block again if their replica was lost, through the pruned blocks before it."""
        while self._lost:
            holders = self._holders
            loads = [self._n_tokens(self._keys_of(holder)) for holder in holders]
            shares: dict[Member | None, list[Hashable]] = {holder: [] for holder in holders}
            for key in self._lost:
                index = loads.index(min(loads))
                loads[index] += self._batches[key].n_computed
                shares[holders[index]].append(key)
                self._keys_of(holders[index]).append(key)
            batches, self._lost = {key: self._batches[key] for key in self._lost}, []
            share = partial(_restart_share, batches=batches, block=block)
            self._on_shares(share, own=share, shares=shares)

    @property
    def _holders(self) -> list[Member | None]:
        """This replica, as None, and the others."""
        return [None, *self._members.joined]

    def _even_moves(self) -> Mapping[tuple[int, int], list[Hashable]]:
        return even_moves(
            [{key: self._batches[key].n_computed for key in self._keys_of(holder)} for holder in self._holders]
        )

    def _keys_of(self, holder: Member | None) -> list[Hashable]:
        return self._own if holder is None else holder.keys

    def _n_tokens(self, keys: Sequence[Hashable]) -> int:
        return sum(self._batches[key].n_computed for key in keys)

    def _move(self, keys: Sequence[Hashable], source: Member | None, target: Member | None, *, block: int) -> None:
        """Move states before a block between replicas, one batch at a time, until the source is lost."""
        for key in keys:
            release = partial(_release_states, key=key, block=block)
            if source is None:
                states = [release(self._chain)]
            else:
                states = list(self._try_result(source, source.replica.begin(release)))
            if not states:
                break
            self._keys_of(source).remove(key)
            accept = partial(_accept_states, key=key, states=states[0], block=block)
            if target is None:
                accept(self._chain)
            else:
                target.begin(accept)
            self._keys_of(target).append(key)


def _make_dense(chain: Chain) -> None:
    chain.everywhere(Shard.set_keep_masks, None)
    chain.everywhere(Shard.sweep_clear)


def _run_share(chain: Chain, *, share: Share[Result], keys: Sequence[Hashable]) -> Result:
    return share(chain, keys)


def _observe_share(
    chain: Chain,
    keys: Sequence[Hashable],
    *,
    block: int,
    with_products: bool = False,
    wanted: WantedStatistics = ONLY_SQUARES,
) -> None:
    chain.on_block(block, Shard.sweep_observe, block, keys, with_products=with_products, wanted=wanted)


def _observe_and_take(chain: Chain, keys: Sequence[Hashable], *, block: int) -> Mapping[Hashable, Mapping[str, Tensor]]:
    _observe_share(chain, keys, block=block)
    return chain.on_block(block, Shard.sweep_take_sums)


def _advance_share(chain: Chain, keys: Sequence[Hashable], *, block: int) -> None:
    chain.on_block(block, Shard.sweep_advance, block, keys)
    advance_to(chain, block + 1, keys)


def _restart_share(
    chain: Chain, keys: Sequence[Hashable], *, batches: Mapping[Hashable, TokenBatch], block: int
) -> None:
    for key in keys:
        chain.on_block(0, Shard.sweep_start, key, batches[key])
    for earlier in range(block):
        _advance_share(chain, keys, block=earlier)


def _release_states(chain: Chain, *, key: Hashable, block: int) -> SweepStates:
    return chain.on_block(block, Shard.sweep_release, key)


def _accept_states(chain: Chain, *, key: Hashable, states: SweepStates, block: int) -> None:
    chain.on_block(block, Shard.sweep_accept, key, states)
