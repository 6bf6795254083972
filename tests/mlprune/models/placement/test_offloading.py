"""Parts of a shard that are on disk."""

import torch

from mlprune.models.block_ranges import EMBEDDINGS
from mlprune.models.placement.offloading import OffloadedParts

HEAD = 4


class Placed:
    """Logs which parts are read and dropped."""

    def __init__(self, offloaded, *, window):
        self.offloaded, self.window = offloaded, window
        self.log, self.present = [], set()

    def read(self, part):
        self.log.append(("read", part))
        self.present.add(part)

    def drop(self, part):
        self.present.discard(part)


def parts_of(offloaded, *, window, blocks=range(4)):
    placed = Placed(offloaded, window=window)

    def restore(block):
        assert not torch.is_inference_mode_enabled()
        placed.log.append(("restore", block))

    return placed, OffloadedParts(placed, blocks, restore=restore)


def test_without_parts_on_disk_nothing_is_read():
    placed, parts = parts_of([], window=0)
    assert not parts
    assert parts.blocks == []
    assert parts.has(2)
    for part in (EMBEDDINGS, 0, HEAD):
        parts.load(part)
    parts.wait()
    parts.clear()
    assert placed.log == []


def test_a_block_is_restored_after_it_was_read_but_embeddings_and_head_are_not():
    placed, parts = parts_of([EMBEDDINGS, 2, 3, HEAD], window=1)
    assert parts
    assert parts.blocks == [2, 3]
    with torch.inference_mode():
        for part in (EMBEDDINGS, 2, 3, HEAD):
            parts.load(part)
            assert placed.present == {part}
    blocks = [("read", 2), ("restore", 2), ("read", 3), ("restore", 3)]
    assert placed.log == [("read", EMBEDDINGS), *blocks, ("read", HEAD)]
    parts.clear()
    assert placed.present == set()


def test_the_next_block_on_disk_is_read_while_a_resident_block_runs():
    placed, parts = parts_of([2, 3], window=1)
    parts.load(0)
    parts.wait()
    assert placed.present == {2}
    assert parts.has(0)
    assert parts.has(2)
    assert not parts.has(3)


def test_with_a_window_of_two_the_block_after_is_read_ahead():
    placed, parts = parts_of([1, 2, 3], window=2)
    parts.load(1)
    parts.wait()
    assert placed.present == {1, 2}
    parts.load(3)
    parts.wait()
    assert placed.present == {3}
