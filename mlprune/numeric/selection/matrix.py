"""Compiled selection over a whole matrix: find its lowest entries, for several counts at once.

Nothing is sorted, gathered or copied. The matrix is read a few times. A histogram over the leading bits of the keys
shows the bins that contain a count. Histograms of the next byte are made inside those bins only, until each such bin
has a single key. Entries of equal keys are ordered by their row-major position. Every pass splits the rows into chunks
and adds their histograms, so the result does not depend on the number of threads.
"""

from typing import NamedTuple

import numpy as np

from mlprune.numeric.selection.rows import CUT
from mlprune.numeric.sortable_bits import (
    Array,
    bits_of,
    check_finite,
    check_matrix,
    compiled,
    flip_of,
    key_of,
    key_range,
    row_chunks,
)
from mlprune.processes.parallel import parallel_map

_WEIGHTS_PER_CHUNK = 2**20
_DIGIT = 8
_DIGITS = 2**_DIGIT
_ROOT_BITS = 12
_MOST_DIGITS = 2
"""Most bytes below the leading bits: the root has 12 to 16 bits, so that whole bytes remain."""


class _Tree(NamedTuple):
    """Codes of bins: below CUT a level, otherwise CUT plus the number of the node with the bins inside."""

    least: np.uint32
    shift: np.uint32
    """The root's bins are (key - least) >> shift; a multiple of 8."""
    flip: np.uint32
    root: Array
    """[bins of the root] uint16."""
    nodes: Array
    """[nodes, 256] uint16."""


def select_in_matrix(scores: Array, counts: Array, *, highest: bool = False) -> Array:
    """Find, for every entry, the index of the first count that removes it from the matrix.

    Count c removes the c lowest (or highest) entries of the matrix. Of equal entries, the upper row, then the lower
    column is first. 0.0 and -0.0 are equal.

    Args:
        scores: [rows, d], float32, finite, any memory layout.
        counts: [n] integers from 0 to rows * d, ascending; n is 1 to 255.
        highest: remove the highest entries instead.
    Returns: [rows, d], uint8: index into the counts, n if none removes the entry.
    Raises:
        ShapeError: `scores` is not a float32 matrix.
        StatisticsError: a score is not finite.
    """
    check_matrix(scores)
    levels = np.empty(scores.shape, dtype=np.uint8)
    pieces = list(row_chunks(scores, _WEIGHTS_PER_CHUNK))
    if pieces:
        counts = np.array(counts, dtype=np.int64)
        tree, ranks = _grown_tree(scores, pieces, counts, flip_of(highest))

        def write_levels(piece: int) -> None:
            rows = pieces[piece]
            _write_levels(_flat_bits(scores[rows]), tree, ranks[piece], counts, levels[rows].reshape(-1))

        for _ in parallel_map(write_levels, range(len(pieces))):
            pass
    return levels


def _grown_tree(scores: Array, pieces: list[slice], counts: Array, flip: np.uint32) -> tuple[_Tree, Array]:
    """Refine the bins that contain a count, until each of them contains equal keys only.

    Returns: the tree, and for each piece and each such bin the rank of its first entry in the piece.
    """
    least, greatest = _bounds(scores, pieces, flip)
    n_digits = min(_MOST_DIGITS, -(-max(0, (greatest - least).bit_length() - _ROOT_BITS) // _DIGIT))
    left = n_digits * _DIGIT
    no_root, no_nodes = np.empty(0, np.uint16), np.empty((0, _DIGITS), np.uint16)
    tree = _Tree(np.uint32(least), np.uint32(left), flip, no_root, no_nodes)
    sizes = _histograms(scores, pieces, tree, (1, ((greatest - least) >> left) + 1))
    codes, starts = _codes(sizes, np.zeros(1, np.int64), counts, n_nodes=0)
    tree = tree._replace(root=codes[0])
    n_nodes = 0
    while left and len(starts):
        left -= _DIGIT
        n_nodes += len(starts)
        sizes = _histograms(scores, pieces, tree, (len(starts), _DIGITS))
        codes, starts = _codes(sizes, starts, counts, n_nodes=n_nodes)
        tree = tree._replace(nodes=np.concatenate([tree.nodes, codes]))
    here = sizes[:, codes >= CUT]
    return tree, starts + np.cumsum(here, axis=0, dtype=np.int64) - here


def _bounds(scores: Array, pieces: list[slice], flip: np.uint32) -> tuple[int, int]:
    """Return the lowest and highest key of the matrix, after a check that all scores are finite."""
    no_keys = np.empty(0, np.uint32)
    ranges = np.array(list(parallel_map(lambda rows: key_range(_flat_bits(scores[rows]), flip, no_keys), pieces)))
    check_finite(scores, np.uint32(ranges[:, 2].max()))
    return int(ranges[:, 0].min()), int(ranges[:, 1].max())


def _histograms(scores: Array, pieces: list[slice], tree: _Tree, shape: tuple[int, int]) -> Array:
    """Return the sizes of the bins inside each node of the deepest level of the tree, [pieces, nodes, bins] uint32."""

    def count(rows: slice) -> Array:
        sizes = np.zeros(shape, dtype=np.uint32)
        _count(_flat_bits(scores[rows]), tree, sizes)
        return sizes

    return np.stack(list(parallel_map(count, pieces)))


def _flat_bits(rows: Array) -> Array:
    return bits_of(rows).reshape(-1)


def _codes(piece_sizes: Array, starts: Array, counts: Array, *, n_nodes: int) -> tuple[Array, Array]:
    """Return the codes of the bins inside some nodes, whose first entries have the ranks `starts`.

    Returns: [nodes, bins] uint16, with CUT + `n_nodes` and the next codes for cut bins; and the rank of the first entry
        of each cut bin, [cut bins] int64.
    """
    sizes = piece_sizes.sum(0, dtype=np.int64)
    after = starts[:, None] + np.cumsum(sizes, axis=1)
    before = after - sizes
    codes = np.searchsorted(counts, before, side="right")
    is_cut = (sizes > 0) & (np.append(counts, np.iinfo(np.int64).max)[codes] < after)
    codes[is_cut] = CUT + n_nodes + np.arange(int(is_cut.sum()))
    return codes.astype(np.uint16), before[is_cut]


@compiled
def _code_of(key: np.uint64, tree: _Tree) -> tuple[np.uint32, np.uint32]:
    """Return the code of the finest bin of a key (relative to the lowest key), and the number of bits below it."""
    shift = tree.shift
    code = np.uint32(tree.root[key >> shift])
    while code >= CUT and code - CUT < len(tree.nodes):
        shift = np.uint32(shift - _DIGIT)
        code = np.uint32(tree.nodes[code - np.uint32(CUT), (key >> shift) & np.uint64(_DIGITS - 1)])
    return code, shift


@compiled
def _count(bits: Array, tree: _Tree, sizes: Array) -> None:
    """Count the entries in the bins of the root, or in the bins inside the nodes that are not refined yet."""
    n_known = np.uint32(CUT + len(tree.nodes))
    for i in range(bits.size):
        key = np.uint64(key_of(bits[i], tree.flip) - tree.least)
        if tree.root.size == 0:
            sizes[0, key >> tree.shift] += np.uint32(1)
            continue
        code, left = _code_of(key, tree)
        if code >= CUT:
            digit = (key >> (left - np.uint32(_DIGIT))) & np.uint64(_DIGITS - 1)
            sizes[np.uint32(code - n_known), digit] += np.uint32(1)


@compiled
def _write_levels(bits: Array, tree: _Tree, ranks: Array, counts: Array, levels: Array) -> None:
    """Write the levels. Equal keys on both sides of a count get theirs by rank, in row-major order."""
    n_known = np.uint32(CUT + len(tree.nodes))
    ranks = ranks.copy()
    for i in range(bits.size):
        code, _ = _code_of(np.uint64(key_of(bits[i], tree.flip) - tree.least), tree)
        if code >= CUT:
            tie = np.uint32(code - n_known)
            code = np.uint32(np.searchsorted(counts, ranks[tie], side="right"))
            ranks[tie] += 1
        levels[i] = np.uint8(code)
