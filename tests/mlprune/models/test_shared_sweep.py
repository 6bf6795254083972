"""Batches that move between replicas."""

import random

from mlprune.models.shared_sweep import even_moves


def loads_after(held: list[dict[str, int]], moves: dict[tuple[int, int], list[str]]) -> list[int]:
    loads = [sum(keys.values()) for keys in held]
    for (source, target), keys in moves.items():
        for key in keys:
            loads[source] -= held[source][key]
            loads[target] += held[source][key]
    return loads


def test_a_new_replica_gets_half_of_the_tokens() -> None:
    held: list[dict[str, int]] = [{"a": 5, "b": 4, "c": 3, "d": 3, "e": 3}, {}]
    moves = even_moves(held)
    assert set(moves) == {(0, 1)}
    assert loads_after(held, moves) == [9, 9]


def test_nothing_moves_between_replicas_that_are_even() -> None:
    assert even_moves([{"a": 4, "b": 4}, {"c": 8}, {"d": 7}]) == {}
    assert even_moves([{"a": 8}, {}]) == {}
    assert even_moves([{}]) == {}


def test_no_replica_keeps_more_than_its_fair_share_and_one_batch() -> None:
    draw = random.Random(5)
    for _ in range(50):
        n_replicas = draw.randint(2, 5)
        held: list[dict[str, int]] = [{} for _ in range(n_replicas)]
        for number in range(draw.randint(1, 20)):
            held[draw.randrange(n_replicas)][str(number)] = draw.randint(1, 9)
        loads = loads_after(held, even_moves(held))
        assert max(loads) <= sum(loads) / n_replicas + 9
        assert sum(loads) == sum(sum(keys.values()) for keys in held)
        assert even_moves(held) == even_moves([dict(keys) for keys in held])
