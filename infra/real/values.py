"""Mean results of each arm of the real study, by language."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from infra.real.evaluations import Evaluation

ARMS = ("dense", "translation", "unpaired", "monolingual", "english", "magnitude", "random")


@dataclass(frozen=True)
class Value:
    """One arm in one language, over its sources and seeds."""

    task: str
    propagation: str
    arm: str
    language: str
    value: float
    """Perplexity (geometric mean), or accuracy (mean)."""
    lowest: float
    highest: float
    n_variants: int


def mean_values(evaluations: Sequence[Evaluation]) -> Iterator[Value]:
    """Average the variants of each task, propagation, arm and language."""
    groups: dict[tuple[str, str, int, str], list[Evaluation]] = {}
    for each in evaluations:
        groups.setdefault((each.task, each.propagation, ARMS.index(each.arm), each.language), []).append(each)
    for (task, propagation, arm, language), members in sorted(groups.items()):
        shown = math.exp if task == "perplexity" else float
        values = [member.value for member in members]
        mean, lowest, highest = (shown(summarise(values)) for summarise in (fmean, min, max))
        yield Value(task, propagation, ARMS[arm], language, mean, lowest, highest, len(members))
