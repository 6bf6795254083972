"""Jobs of step `compare` on masks and on features: their overlaps. They run no model."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mlprune.json_values import JsonObject
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.masks.keep_masks import jaccard_removed
from mlprune.numeric.masks.overlaps import top_bottom_overlap
from mlprune.pruning.mask_files import read_keep_masks
from mlprune.steps.evaluate.protocol import profile_column
from mlprune.steps.job import ChainLoader, RecordJob, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.prune.stored_masks import require_masks
from mlprune.steps.small_job import SmallJob
from mlprune.store.store import Store
from mlprune.vocabulary import ProfileName

OVERLAP_SHARE = 0.3
"""Share of the features that counts as top and as bottom, as in the paper's figures."""
PUBLISHED_SHARE = 0.4
"""The share that the published script uses, whatever share is requested."""
MOST_OVERLAPS = 10_000
"""Default of the largest number of pairs of variants whose masks are compared."""


@dataclass(frozen=True)
class MaskOverlapJob(RecordJob):
    """Compute the Jaccard index of the removed weights of two variants, for each layer."""

    step: ClassVar[str] = "compare"
    variants: tuple[str, str]

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The variants."""
        return tuple(("variants", variant) for variant in self.variants)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Memory for the masks of one block of both variants."""
        return JobCost(self.step, thread_bytes=4 * sum(sizes.prunable))

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare the masks block by block."""
        both = [require_masks(store, variant) for variant in self.variants]
        rows: list[JsonObject] = []
        for block, files in enumerate(zip(*(stored.files for stored in both), strict=True)):
            first, second = (read_keep_masks(store.uri, artefact, levels) for artefact, levels in files)
            for layer in first:
                row: JsonObject = {
                    "variant_a": self.variants[0],
                    "variant_b": self.variants[1],
                    "block": block,
                    "layer": layer,
                }
                rows.append({**row, "jaccard": jaccard_removed(~first[layer], ~second[layer])})
        store.write_record(self.identity.record(rows={"mask_overlaps": rows}))


@dataclass(frozen=True)
class FeatureOverlapJob(SmallJob):
    """Compute the overlaps of the top features of one demonstration set and the bottom features of another."""

    step: ClassVar[str] = "compare"
    base_model_id: str
    sets: tuple[str, str]
    statistics: tuple[str, str]
    share: float = OVERLAP_SHARE
    """Share of the features that count as large, and as small."""
    profile: ProfileName = "corrected"

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The statistics of both sets."""
        return tuple(("statistics", statistics_id) for statistics_id in self.statistics)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare the magnitudes after every block."""
        first, second = (read_magnitudes(store, statistics_id) for statistics_id in self.statistics)
        rows: list[JsonObject] = []
        for (set_a, a), (set_b, b) in (
            ((self.sets[0], first), (self.sets[1], second)),
            ((self.sets[1], second), (self.sets[0], first)),
        ):
            for depth in range(len(a)):
                row: JsonObject = {"base_model_id": self.base_model_id, "set_a": set_a, "set_b": set_b, "depth": depth}
                value = top_bottom_overlap(a[depth], b[depth], self.share)
                rows.append({**row, "share": self.share, "value": value, **profile_column(self.profile)})
        store.write_record(self.identity.record(rows={"feature_overlaps": rows}))


def read_magnitudes(store: Store, statistics_id: str) -> NDArray[np.float64]:
    """Return the mean magnitudes of the features of a set, [n_blocks + 1, d], from its statistics."""
    record = store.require("statistics", statistics_id)
    artefact = next(file for file in record.artefacts if file.path.startswith("features/"))
    columns = store.read_table(artefact)
    n_depths = max(columns["depth"]) + 1
    return np.asarray(columns["magnitude"], dtype=np.float64).reshape(n_depths, -1)
