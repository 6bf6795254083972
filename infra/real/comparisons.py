"""The questions of the real study: translation demonstrations against each opponent, by role of the language."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from infra.real.crossed_bootstrap import PairedMean, paired_mean
from infra.real.evaluations import Evaluation
from mlprune.numeric.statistics.multiplicity import holm

OPPONENTS = ("unpaired", "monolingual", "english")
"""Texts that translation demonstrations are compared with, at an equal number of tokens."""
ROLES = ("source", "English", "others")
METRICS = {"perplexity": "log perplexity", "facts": "accuracy"}
"""Task -> what is compared."""


@dataclass(frozen=True)
class Comparison:
    """Translation demonstrations minus one opponent, over all sets and the languages of one role."""

    metric: str
    propagation: str
    opponent: str
    role: str
    difference: PairedMean
    p_holm: float = 1.0


def compare_arms(evaluations: Sequence[Evaluation]) -> list[Comparison]:
    """Compare translation demonstrations with each opponent. Holm's correction is over all comparisons returned."""
    found = list(_comparisons(evaluations))
    adjusted = holm([comparison.difference.p_value for comparison in found]) if found else []
    return [
        Comparison(each.metric, each.propagation, each.opponent, each.role, each.difference, p_holm)
        for each, p_holm in zip(found, adjusted, strict=True)
    ]


def _comparisons(evaluations: Sequence[Evaluation]) -> Iterator[Comparison]:
    propagations = sorted({each.propagation for each in evaluations if each.arm == "translation"})
    for task, metric in METRICS.items():
        for propagation in propagations:
            chosen = [each for each in evaluations if (each.task, each.propagation) == (task, propagation)]
            for opponent in OPPONENTS:
                for role in ROLES:
                    difference = _difference(chosen, opponent, role)
                    if difference is not None:
                        yield Comparison(metric, propagation, opponent, role, difference)


def _difference(evaluations: Iterable[Evaluation], opponent: str, role: str) -> PairedMean | None:
    """Compare one task and propagation over the sets for which both sides are evaluated; None with fewer than two."""
    by_key = {_key(each): each for each in evaluations}
    sets = sorted({(each.source or "", each.seed or 0) for each in by_key.values() if each.arm == "translation"})
    differences, counts = [], []
    for source, seed in sets:
        languages = sorted(language for arm, *rest, language in by_key if (arm, *rest) == ("translation", source, seed))
        pairs = [
            (by_key["translation", source, seed, language], by_key.get(_opponent_key(opponent, source, seed, language)))
            for language in languages
            if _role(language, source) == role
        ]
        complete = [(ours, theirs) for ours, theirs in pairs if theirs is not None]
        if complete and len(complete) == len(pairs):
            differences.append(np.stack([ours.sums - theirs.sums for ours, theirs in complete]))
            counts.append(np.stack([ours.counts for ours, _ in complete]))
    return paired_mean(np.stack(differences), np.stack(counts)) if len(differences) > 1 else None


def _key(each: Evaluation) -> tuple[str, str | None, int | None, str]:
    return each.arm, each.source, each.seed, each.language


def _opponent_key(opponent: str, source: str, seed: int, language: str) -> tuple[str, str | None, int | None, str]:
    return opponent, "en" if opponent == "english" else source, seed, language


def _role(language: str, source: str) -> str:
    return "English" if language == "en" else "source" if language == source else "others"
