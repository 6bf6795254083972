"""Retention rules: which files of masks are kept, and why, and in which order the others are retired."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mlprune.store.retention.mask_files import MaskFiles, Remaking

DAY_S = 24 * 3600.0
REMAKING_TEXTS: Mapping[Remaking, str] = {
    Remaking.FROM_STATISTICS: "made again from stored statistics",
    Remaking.WITH_THE_MODEL: "made again by running the model",
}


@dataclass(frozen=True)
class Ranking:
    """What is known of variants besides their files."""

    reasons: Mapping[str, str]
    """Variant -> why its files are kept, such as `rank 3 of 40 by accuracy on dev: xnli`."""
    ranks: Mapping[str, int]
    """Variant -> its best rank by the metric, from 1; variants that are not ranked are missing."""


@dataclass(frozen=True)
class RetentionRules:
    """What the user asks for."""

    keep_days: float = 0.0
    """Files written in the last days are kept."""
    quota_bytes: int | None = None
    """Most bytes of the whole store: files are retired until it is met; None to retire everything that is not kept."""
    requires_rank: bool = False
    """Whether variants without a rank are kept, because they cannot be compared."""


@dataclass(frozen=True)
class Decision:
    """What happens to the files of one ordering."""

    masks: MaskFiles
    is_retired: bool
    reason: str
    rank: int | None = None
    """Best rank of its variants."""


def decide(
    masks: Iterable[MaskFiles], ranking: Ranking, rules: RetentionRules, *, store_bytes: int = 0
) -> list[Decision]:
    """Decide for every ordering, in the order in which files are retired, then those that are kept.

    First go files that are made again from stored statistics, then those of sweeps. Among equals, the lowest rank goes
    first, then the oldest file.

    Args:
        store_bytes: size of the store, for a quota.
    """
    decisions = [_decide(one, ranking, rules) for one in masks]
    decisions.sort(key=lambda one: (not one.is_retired, one.masks.remaking, -(one.rank or 0), -one.masks.age_s))
    if rules.quota_bytes is None:
        return decisions
    remaining = store_bytes
    limited = []
    for decision in decisions:
        if decision.is_retired and remaining <= rules.quota_bytes:
            decision = replace(decision, is_retired=False, reason="the quota is met without it")  # noqa: PLW2901
        remaining -= decision.masks.n_bytes if decision.is_retired else 0
        limited.append(decision)
    return limited


def _decide(masks: MaskFiles, ranking: Ranking, rules: RetentionRules) -> Decision:
    ranks = [ranking.ranks[variant_id] for variant_id in masks.variant_ids if variant_id in ranking.ranks]
    rank = min(ranks, default=None)
    reason = _reason_to_keep(masks, ranking, rules)
    if reason is not None:
        return Decision(masks, is_retired=False, reason=reason, rank=rank)
    return Decision(masks, is_retired=True, reason=REMAKING_TEXTS[masks.remaking], rank=rank)


def _reason_to_keep(masks: MaskFiles, ranking: Ranking, rules: RetentionRules) -> str | None:
    """Return why files are kept; None if nothing keeps them."""
    if not masks.is_current:
        return "made by an earlier version: cannot be made again"
    for variant_id in masks.variant_ids:
        if variant_id in ranking.reasons:
            return ranking.reasons[variant_id]
    if masks.age_s < rules.keep_days * DAY_S:
        return f"written less than {rules.keep_days:g} days ago"
    if rules.requires_rank and not any(variant_id in ranking.ranks for variant_id in masks.variant_ids):
        return "no value on dev: cannot be compared"
    return None
