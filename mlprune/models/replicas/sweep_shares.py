"""One block of a sequential sweep whose batches are divided among replicas."""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial

from torch import Tensor

from mlprune.models.chain import Chain, advance_to
from mlprune.models.shard import Shard


def observe_block(chain: Chain, keys: Sequence[Hashable], *, block: int, with_products: bool) -> None:
    """Observe all batches and collect the sums in the shard that prunes the block; see `Shard.sweep_observe`.

    Args:
        with_products: products of one replica are not added to those of another one, whatever their order.
    """
    chain.on_shares(keys, partial(_observe_share, block=block, with_products=with_products))
    for sums in chain.on_others(partial(_take_sums, block=block)):
        chain.on_block(block, Shard.sweep_add_sums, sums)


def advance_block(chain: Chain, keys: Sequence[Hashable], *, block: int) -> None:
    """Run a block with its current weights and move the states after it to the shard of the next block."""
    chain.on_shares(keys, partial(_advance_share, block=block))


def _observe_share(chain: Chain, keys: Sequence[Hashable], *, block: int, with_products: bool) -> None:
    chain.on_block(block, Shard.sweep_observe, block, keys, with_products=with_products)


def _take_sums(chain: Chain, *, block: int) -> Mapping[Hashable, Mapping[str, Tensor]]:
    return chain.on_block(block, Shard.sweep_take_sums)


def _advance_share(chain: Chain, keys: Sequence[Hashable], *, block: int) -> None:
    chain.on_block(block, Shard.sweep_advance, block, keys)
    advance_to(chain, block + 1, keys)
