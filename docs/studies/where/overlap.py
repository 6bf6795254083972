"""Test whether languages lose where they do not share the large features of English, over the blocks of a store.

    python docs/studies/where/overlap.py STORE [SHARE]

The distance of a language from English before a block is the share of large features of the one that are small in the
other, mean of both directions; with the share 0.5, half of the features are large and half are small. The excess is the
language's loss minus that of English when this block alone is pruned. The statistic is Spearman's correlation over the
blocks (0 if a side is constant), mean over the languages. Permutations of the blocks, the same in all languages, give
its p-value (one-sided, above 0). Blocks are not independent draws: it describes this model only.
"""

import sys
from itertools import islice, permutations

import numpy as np
from numpy.typing import NDArray

from catalog.store import Catalog
from mlprune.store.store import Store

LOSSES = """
FROM sensitivity SELECT group_name AS language, block, loss
WHERE unit_kind = 'block' AND metric = 'perplexity' AND group_kind = 'language'
"""
DISTANCES = """
FROM feature_overlaps AS o JOIN demonstration_sets AS a ON a.demonstration_set_id = o.set_a
JOIN demonstration_sets AS b ON b.demonstration_set_id = o.set_b
SELECT if(a.source_language = 'en', b.source_language, a.source_language) AS language, depth AS block,
    avg(value) AS distance
WHERE share = $share AND a.samples = 24 AND b.samples = 24
    AND (a.source_language = 'en') <> (b.source_language = 'en')
GROUP BY ALL
"""
PERMUTATIONS = 100_000
Array = NDArray[np.float64]


def ranks(values: Array) -> Array:
    """Return average ranks along the last axis, centred and of length 1; equal values have zeros."""
    below = (values[..., None, :] < values[..., :, None]).sum(-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(-1)
    centred = below + (equal - 1) / 2 - (values.shape[-1] - 1) / 2
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-12))


def orders(n: int) -> Array:
    """Return permutations of n blocks: all of them if they are few, otherwise random ones with the identity first."""
    if n <= 7:
        return np.array(list(islice(permutations(range(n)), PERMUTATIONS)))
    generator = np.random.Generator(np.random.PCG64(0))
    drawn = generator.permuted(np.tile(np.arange(n), (PERMUTATIONS, 1)), axis=1)
    return np.vstack([np.arange(n), drawn])


def main(store: str, share: str = "0.5") -> None:
    """Print the correlation of each language, their mean and its p-value."""
    with Catalog.in_memory(Store(store)) as catalog:
        losses = {(row["language"], row["block"]): row["loss"] for row in catalog.query(LOSSES)}
        found = catalog.query(DISTANCES, {"share": float(share)})
    distances = {(row["language"], row["block"]): row["distance"] for row in found}
    languages = sorted({language for language, _ in losses} - {"en"})
    blocks = sorted({block for _, block in losses})
    distance = ranks(np.array([[distances[language, block] for block in blocks] for language in languages]))
    excess = ranks(np.array([[losses[name, block] - losses["en", block] for block in blocks] for name in languages]))
    correlations = (distance * excess).sum(-1)
    permuted = np.einsum("lb,lpb->p", distance, excess[:, orders(len(blocks))]) / len(languages)
    for language, correlation in zip(languages, correlations, strict=True):
        sys.stdout.write(f"{language} {correlation:+.3f}\n")
    p = np.mean(permuted >= permuted[0] - 1e-12)
    sys.stdout.write(f"mean {correlations.mean():+.3f}, p {p:.4f}, blocks {len(blocks)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
