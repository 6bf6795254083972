"""Read what a dense pass block by block has stored of one set."""

from collections.abc import Mapping
from dataclasses import replace

from mlprune.methods import StatisticsName
from mlprune.numeric.activations.feature_sums import feature_moments
from mlprune.pruning.block_inputs import SetStatistics
from mlprune.pruning.feature_factors import demonstration_weights
from mlprune.pruning.spec import StatisticsSelection
from mlprune.steps.observe.block_pass.files import read_block_gradients, read_block_products, read_block_sums
from mlprune.steps.observe.block_pass.jobs import OBSERVED_KINDS
from mlprune.store.store import Store


def read_set_statistics(
    store: Store, records: Mapping[StatisticsName, str], block: int, *, selection: StatisticsSelection
) -> SetStatistics:
    """Return the statistics of one block of one set.

    Args:
        records: statistics -> id of the record.
        selection: chooses the demonstrations of sums of features; the others are stored for the whole set.
    Raises:
        DamagedArtefactError: a file is missing, differs from its record, or contains something else.
        StatisticsError: a record has no file of the block.
        StoreError: a record does not exist.
    """
    artefacts = {name: store.require(OBSERVED_KINDS[name], record_id).artefacts for name, record_id in records.items()}
    statistics = SetStatistics()
    if "sums" in artefacts:
        sums, n_tokens = read_block_sums(store, artefacts["sums"], block)
        weights = demonstration_weights(len(n_tokens), selection)
        moments = {name: feature_moments(of_input, n_tokens, weights) for name, of_input in sums.items()}
        statistics = replace(statistics, moments=moments)
    if "products" in artefacts:
        statistics = replace(statistics, products=read_block_products(store, artefacts["products"], block))
    if "gradients" in artefacts:
        statistics = replace(statistics, gradients=read_block_gradients(store, artefacts["gradients"], block))
    return statistics
