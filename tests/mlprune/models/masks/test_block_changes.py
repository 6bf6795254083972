"""Changes of a block, and reading those of the next block in the background."""

import threading

import pytest
import torch

from mlprune.models.masks.block_changes import BlockChanges, read_ahead


def test_changes_of_boolean_masks_are_packed() -> None:
    mask = torch.tensor([[True, False, True]])
    changes = BlockChanges.of({"fc1": mask})
    assert torch.equal(changes.masks["fc1"].unpack(), mask)
    assert not changes.weights


def test_the_next_block_is_read_while_one_is_used() -> None:
    begun = {block: threading.Event() for block in (4, 5, 6)}

    def read(block: int) -> BlockChanges:
        begun[block].set()
        return BlockChanges({}, {str(block): torch.ones(1)})

    used = []
    for block, changes in read_ahead(read, [4, 5, 6]):
        assert list(changes.weights) == [str(block)]
        assert block == 6 or begun[block + 1].wait(300)
        assert block != 4 or not begun[6].is_set()
        used.append(block)
    assert used == [4, 5, 6]


def test_no_blocks_are_read_of_none() -> None:
    assert list(read_ahead(lambda _: pytest.fail("nothing to read"), [])) == []


def test_an_error_of_reading_a_block_is_raised() -> None:
    def read(block: int) -> BlockChanges:
        if block == 1:
            raise OSError("gone")
        return BlockChanges({})

    changes = read_ahead(read, [0, 1, 2])
    with pytest.raises(OSError, match="gone"):
        list(changes)
