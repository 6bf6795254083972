"""Random draws of a search: generators keyed by what they are for, and points that were not drawn before."""

import hashlib
from bisect import insort
from collections.abc import Iterable, Iterator

import numpy as np

from mlprune.search.space import Point, Space


def generator_for(seed: int, purpose: str, number: int) -> np.random.Generator:
    """Return the generator of one draw: PCG64 seeded with the first 16 bytes of the SHA-256 of "seed:purpose:number".

    Args:
        seed: of the search.
        purpose: name of the kind of draw.
        number: number of the trial, or of the first trial of the batch, for which the draw is.
    """
    key = hashlib.sha256(f"{seed}:{purpose}:{number}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(key[:16], "little")))


def draw_below(generator: np.random.Generator, n: int) -> int:
    """Draw an integer of any size from 0 to n - 1. Its probabilities differ from 1 / n by less than 2**-64 / n."""
    n_bytes = (n.bit_length() + 7) // 8 + 8
    return int.from_bytes(generator.bytes(n_bytes), "little") % n


def draw_new_points(space: Space, asked: Iterable[Point], *, seed: int, first: int, purpose: str) -> Iterator[Point]:
    """Yield points in random order that were not asked, until the space is finished.

    Each draw is uniform over the points that are left. The point with number n is drawn with the generator of
    (seed, purpose, n), so it does not depend on how trials are cut into batches.

    Args:
        asked: points to leave out.
        first: number of the trial that gets the first point.
    """
    taken = sorted({space.rank(point) for point in asked})
    number = first
    while len(taken) < space.n_points:
        rank = draw_below(generator_for(seed, purpose, number), space.n_points - len(taken))
        for lower in taken:
            if lower > rank:
                break
            rank += 1
        insort(taken, rank)
        yield space.at(rank)
        number += 1
