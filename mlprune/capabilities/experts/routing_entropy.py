"""Routing entropy: how evenly the tokens of each language use the experts of a block.

With the distribution p_t of the router for token t (`router_distribution.py`), E experts, and sums over the real tokens
of a language in a demonstration set:

    entropy_of_mean = H(mean over tokens of p_t) / ln E
    mean_entropy    = mean over tokens of H(p_t) / ln E
    entropy_of_use  = H(shares of the routed tokens that each expert gets) / ln E

with H(p) = - sum over experts of p ln p (arXiv:2605.17598, of which only the abstract was read). 1: all experts alike;
0: one expert. entropy_of_mean is at least mean_entropy, and small only if all tokens prefer the same experts; a small
mean_entropy says that the router is sure of each token. A block with one expert has 0.

Demonstrations are resampled for the intervals: 1,999 resamples of `cluster_resamples` (seed 0) and the BCa interval of
the entropies of the resampled sums; if all are equal, `boundary_interval`. Few tokens make the entropies of a mean and
of the use too low, by at most about (E - 1) / (2 n ln E) for n independent tokens (Miller 1955): compare sets of
similar sizes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import log

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import xlogy
from torch import Tensor

from mlprune.capabilities.capability import Planned
from mlprune.capabilities.experts.expert_statistics import role_batches
from mlprune.capabilities.experts.router_distribution import RouterVisitor, ScoringFunction
from mlprune.capabilities.experts.routing_sums import ROLES, SUMS
from mlprune.evaluation.inference.estimates import interval_columns
from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.chain import Chain, stream_tagged
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.bootstrap import (
    bca_interval,
    cluster_resamples,
    is_constant,
    leave_one_out_sums,
    resampled_sums,
)
from mlprune.numeric.statistics.cluster_score import boundary_interval
from mlprune.numeric.statistics.clusters import Interval
from mlprune.processes.job_parts import job_parts
from mlprune.steps.job import EMPTY_SET, ChainLoader, JobCost, SetSizes
from mlprune.steps.observe.dense_pass import COORDINATING_BYTES, DensePassJob, pass_jobs
from mlprune.store.store import Store

KIND = "routing_entropy"
"""Kind of the records, and table of their rows."""
_SIDES = ("source", "target")
"""Roles whose tokens have a language."""


@dataclass(frozen=True)
class Entropy:
    """An entropy over demonstrations, divided by that of equal shares."""

    value: float
    interval: Interval | None
    """95 %; None for a single demonstration."""


@dataclass
class RouterSums:
    """Sums of a set in one block."""

    n_routed: Tensor
    """[n, roles, experts] float64, tokens of each demonstration that are routed to each expert."""
    distributions: Tensor
    """[n, roles, experts + 1] float64; see `distribution_sums`."""
    scoring: ScoringFunction | None = None
    """None: the router is not known, and the distributions are 0."""


@dataclass(frozen=True)
class RoutingEntropyJob(DensePassJob):
    """Run a demonstration set through the dense model and observe its routers."""

    n_experts: int = 0
    """Experts of all blocks, for the cost."""

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One pass over the set. The sums of all its demonstrations are in memory until the end."""
        n_demonstrations = sets.get(self.demonstration_set_id, EMPTY_SET).n_demonstrations
        n_bytes = 8 * 2 * len(ROLES) * self.n_experts * n_demonstrations
        usual = super().cost(sizes, sets)
        return replace(usual, fixed_bytes=max(COORDINATING_BYTES, usual.fixed_bytes + n_bytes))

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Observe all batches and write the record.

        Raises:
            StatisticsError: a distribution, a gate weight or an output of an expert is not finite.
        """
        sums, n_tokens = self._observe(store, chain())
        described = store.require("demonstration_sets", self.demonstration_set_id).rows["demonstration_sets"][0]
        own: JsonObject = {
            "routing_entropy_id": self.identity.id,
            "base_model_id": self.model.base_model_id,
            "demonstration_set_id": self.demonstration_set_id,
        }
        rows: list[JsonObject] = []
        for role in _SIDES:
            tokens = n_tokens[:, ROLES.index(role)].numpy()
            has_tokens = tokens > 0
            if has_tokens.any():
                counts = cluster_resamples(int(has_tokens.sum()))
                of_role = {**own, "role": role, "language": described[f"{role}_language"]}
                of_role |= {"n_demonstrations": int(has_tokens.sum()), "n_tokens": int(tokens.sum())}
                rows += [
                    {**of_role, "block": block, **_columns(sums[block], role, tokens, counts=counts)}
                    for block in sorted(sums)
                ]
        store.write_record(self.identity.record(rows={KIND: rows}))

    def _observe(self, store: Store, model: Chain) -> tuple[dict[int, RouterSums], Tensor]:
        """Return the sums of the blocks with experts, and the numbers of tokens, [n, roles] int64."""
        artefact = store.require("demonstration_sets", self.demonstration_set_id).artefacts[0]
        table = store.read_table(artefact, ["token_ids", "sides"])
        model.everywhere(Shard.set_keep_masks, None)
        n, sums = len(table["token_ids"]), dict[int, RouterSums]()
        n_tokens = torch.zeros(n, len(ROLES), dtype=torch.int64)
        batches = role_batches(table["token_ids"], table["sides"], batch_tokens=self.batch_tokens)
        with job_parts("text", n) as done:
            for indices, batch in stream_tagged(model, RouterVisitor, batches):
                rows = list(indices)
                n_tokens[rows] = batch.n_tokens
                for block, of_block in batch.sums.items():
                    if block not in sums:
                        sums[block] = _no_sums(n, of_block.shape[0], batch.scoring.get(block))
                    sums[block].n_routed[rows] = of_block[..., SUMS.index("n_routed")].permute(1, 2, 0)
                    if block in batch.distributions:
                        sums[block].distributions[rows] = batch.distributions[block]
                done(len(indices))
        return sums, n_tokens


def _no_sums(n: int, n_experts: int, scoring: ScoringFunction | None) -> RouterSums:
    n_routed, distributions = (torch.zeros(n, len(ROLES), n_experts + more, dtype=torch.float64) for more in (0, 1))
    return RouterSums(n_routed, distributions, scoring)


def _columns(sums: RouterSums, role: str, n_tokens: Array, *, counts: NDArray[np.uint16]) -> JsonObject:
    """Return the columns of one block and role.

    Args:
        n_tokens: [n], tokens of the role in each demonstration; those without any are left out.
        counts: of the resamples of the others.
    """
    kept, place = n_tokens > 0, ROLES.index(role)
    n_routed, distributions = (one[:, place].numpy()[kept] for one in (sums.n_routed, sums.distributions))
    n_experts = n_routed.shape[1]
    of_tokens = np.stack([distributions[:, -1], n_tokens[kept] * (log(n_experts) or 1.0)], axis=1)
    is_known = sums.scoring is not None
    entropies = {
        "entropy_of_mean": estimated(distributions[:, :-1], relative_entropy, counts=counts) if is_known else None,
        "mean_entropy": estimated(of_tokens, _ratio, counts=counts) if is_known else None,
        "entropy_of_use": estimated(n_routed, relative_entropy, counts=counts),
    }
    columns: dict[str, JsonValue] = {"scoring": sums.scoring, "n_experts": n_experts}
    for name, entropy in entropies.items():
        interval = None if entropy is None else entropy.interval
        columns |= {name: None if entropy is None else entropy.value, **interval_columns(f"{name}_ci", interval)}
    return columns


def relative_entropy(weights: Array) -> Array:
    """Return the entropy of shares divided by that of equal shares, [..., experts] to [...], in [0, 1].

    Args:
        weights: at least 0, of which some are above 0; the shares are those of their sum.
    """
    n_experts = weights.shape[-1]
    shares = weights / weights.sum(axis=-1, keepdims=True)
    entropies = -xlogy(shares, shares).sum(axis=-1)
    return np.asarray(np.clip(entropies / (log(n_experts) or 1.0), 0.0, 1.0), dtype=np.float64)


def _ratio(sums: Array) -> Array:
    return np.asarray(np.clip(sums[..., 0] / sums[..., 1], 0.0, 1.0), dtype=np.float64)


def estimated(sums: Array, value: Callable[[Array], Array], *, counts: NDArray[np.uint16]) -> Entropy:
    """Return an entropy of sums over demonstrations, with its interval.

    Args:
        sums: [n, k], of each demonstration.
        value: the entropy of sums [..., k].
        counts: [R, n] of `cluster_resamples`.
    """
    entropy = float(value(sums.sum(axis=0)))
    if len(sums) < 2:
        return Entropy(entropy, None)
    resampled = value(resampled_sums(counts, sums))
    if is_constant(resampled):
        return Entropy(entropy, boundary_interval(entropy, np.ones(len(sums)), least=0.0, greatest=1.0))
    return Entropy(entropy, bca_interval(resampled, entropy, value(leave_one_out_sums(sums))))


def routing_entropy_jobs(planned: Planned) -> Iterator[RoutingEntropyJob]:
    """Yield one job per distinct set with a name in `analyses.routing_entropy`."""
    recipe, inputs = planned.recipe, planned.inputs
    n_experts = sum(one.n_experts for one in architecture_at(inputs.model.path).experts.values())
    names: Mapping[str, None] = dict.fromkeys(recipe.analyses.routing_entropy)
    for job in pass_jobs(RoutingEntropyJob, KIND, recipe, inputs, planned.sets.default, names=names):
        yield replace(job, n_experts=n_experts)
