from threading import Event, current_thread

import pytest

from mlprune.models.placement.block_cache import BlockCache


class Memory:
    """Fake memory that logs which parts are read and dropped."""

    def __init__(self, window):
        self.present, self.events, self.most = set(), [], 0
        self.broken = set()
        self.threads = set()
        self.cache = BlockCache(self.read, self.drop, window=window)

    def read(self, part):
        self.threads.add(current_thread().name.split("_")[0])
        self.present.add(part)
        self.most = max(self.most, len(self.present))
        if part in self.broken:
            raise OSError(f"part {part}")
        self.events.append(("load", part))

    def drop(self, part):
        self.present.discard(part)
        self.events.append(("drop", part))


def test_with_a_window_of_one_each_part_replaces_the_previous_and_nothing_is_read_ahead():
    memory = Memory(1)
    for part in range(3):
        memory.cache.load(part, next_part=part + 1)
        assert memory.present == {part}
    assert memory.most == 1
    assert memory.threads == {"MainThread"}
    memory.cache.clear()
    assert memory.present == set()


def test_with_a_window_of_two_the_next_part_is_read_once_in_the_background():
    memory = Memory(2)
    for part in range(4):
        memory.cache.load(part, next_part=part + 1 if part < 3 else None)
        assert memory.cache.has(part)
        assert memory.cache.has(part + 1) == (part < 3)
    memory.cache.wait()
    assert [event for event in memory.events if event[0] == "load"] == [("load", part) for part in range(4)]
    assert memory.most == 2
    assert memory.present == {3}
    assert memory.threads == {"MainThread", "reads-ahead"}


def test_a_part_in_memory_is_not_read_again():
    memory = Memory(2)
    for _ in range(3):
        memory.cache.load(5, next_part=6)
    memory.cache.wait()
    assert memory.events == [("load", 5), ("load", 6)]
    memory.cache.load(6)
    assert memory.events[2:] == [("drop", 5)]


def test_while_a_resident_part_runs_the_window_is_free_for_the_next_part():
    memory = Memory(1)
    memory.cache.load(None, next_part=4)
    memory.cache.wait()
    assert memory.present == {4}
    assert memory.threads == {"reads-ahead"}


def test_reading_ahead_continues_while_the_previous_part_runs():
    memory, may_end = Memory(2), Event()
    read = memory.read

    def slow(part):
        assert part == 0 or may_end.wait(300)
        read(part)

    memory.cache = BlockCache(slow, memory.drop, window=2)
    memory.cache.load(0, next_part=1)
    assert memory.present == {0}
    may_end.set()
    memory.cache.load(1)
    assert memory.present == {1}


@pytest.mark.parametrize("window", [1, 2])
def test_a_read_error_is_raised_when_the_part_is_loaded_and_leaves_no_partial_part(window):
    memory = Memory(window)
    memory.broken = {1}
    memory.cache.load(0, next_part=1)
    with pytest.raises(OSError, match="part 1"):
        memory.cache.load(1)
    assert 1 not in memory.present
    assert not memory.cache.has(1)
    memory.broken = set()
    memory.cache.load(1)
    assert memory.present == {1}
