"""Criteria of a choice: what candidates are worth in a group of languages, which one is chosen, and how surely."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mlprune.evaluation.inference.language_sums import CandidateSums, LanguageGroup
from mlprune.languages import ENGLISH
from mlprune.numeric.evaluation.choice import best_candidate, keeps_both, n_tied, pareto_front, win_shares
from mlprune.numeric.statistics.clusters import Array


@dataclass(frozen=True)
class Criterion:
    """One criterion on dev with the candidates that were evaluated in all of its languages."""

    dev: CandidateSums
    group: LanguageGroup

    @cached_property
    def candidates(self) -> list[int]:
        """Indices of the candidates, in the order of preference; 0 is the dense model."""
        return self.dev.candidates(self.group.languages)

    @property
    def is_log(self) -> bool:
        """Whether values and differences are logarithms."""
        return self.dev.metric.inference == "log_likelihood"

    @cached_property
    def values(self) -> Array:
        """[candidates] values on the scale of differences: the logarithm of perplexity."""
        return self.reduced(self.dev.observed[self.candidates])

    @cached_property
    def chosen(self) -> int:
        """Index of the chosen candidate."""
        return self.candidates[best_candidate(self.dev.sign * self.values)]

    @property
    def n_tied(self) -> int:
        """Number of candidates with the best value."""
        return n_tied(self.dev.sign * self.values)

    @property
    def win_shares(self) -> Array:
        """[candidates] share of the resamples of dev in which each candidate is chosen."""
        return win_shares(self.dev.sign * self.reduced(self.dev.resampled[:, self.candidates]))

    @property
    def n_items(self) -> int:
        """Number of different items on dev."""
        return len({name for language in self.group.languages for name in self.dev.items[language]})

    @property
    def n_clusters(self) -> int:
        """Number of different clusters on dev."""
        return len({name for language in self.group.languages for name in self.dev.clusters_of[language]})

    def reduced(self, values: Array) -> Array:
        """Return the group's value, [...], of [..., languages] values: their mean, or the worst of them."""
        of_group = values[..., [self.dev.languages.index(name) for name in self.group.languages]]
        if self.group.kind != "worst":
            return np.asarray(of_group.mean(axis=-1))
        return np.asarray(self.dev.sign * (self.dev.sign * of_group).min(axis=-1))


def criteria_of(dev: CandidateSums, main_languages: Mapping[str, str]) -> list[Criterion]:
    """Return the criteria of a task: each language, the mean outside English, and the worst language.

    Args:
        main_languages: language, or pair such as `fr-en` -> the language by which it is English or not.
    """
    foreign = tuple(name for name in dev.languages if main_languages[name] != ENGLISH)
    groups = [LanguageGroup("language", name, (name,)) for name in dev.languages]
    if foreign:
        groups.append(LanguageGroup("outside_english", "", foreign))
    if len(dev.languages) > 1:
        groups.append(LanguageGroup("worst", "", dev.languages))
    return [Criterion(dev, group) for group in groups]


@dataclass(frozen=True)
class Balance:
    """English and the mean outside English, for the candidates that were evaluated in all languages."""

    english: Criterion
    others: Criterion

    @cached_property
    def candidates(self) -> list[int]:
        """Indices of the candidates; 0 is the dense model."""
        return self.english.dev.candidates((*self.english.group.languages, *self.others.group.languages))

    @cached_property
    def dev_values(self) -> tuple[Array, Array]:
        """Values in English and outside English on dev, both [candidates]."""
        return self._both(self.english.dev.observed[self.candidates])

    @property
    def probabilities(self) -> tuple[Array, Array]:
        """[candidates] shares of the resamples of dev in which each is on the front, and in which each keeps both."""
        english, others = (self.english.dev.sign * values for values in self._both(self._resampled))
        return pareto_front(english, others).mean(axis=0), keeps_both(english, others, reference=0).mean(axis=0)

    def test_values(self, values: Array) -> tuple[Array, Array]:
        """Return the values in English and outside English, both [candidates], of [all candidates, languages]."""
        return self._both(values[self.candidates])

    def membership(self, values: tuple[Array, Array]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which candidates are on the front and which keep both, both [candidates]; never without a value."""
        is_known = np.isfinite(values[0]) & np.isfinite(values[1])
        on_front, kept = np.zeros(is_known.shape, dtype=np.bool_), np.zeros(is_known.shape, dtype=np.bool_)
        if is_known[0]:
            english, others = (self.english.dev.sign * part[None, is_known] for part in values)
            on_front[is_known] = pareto_front(english, others)[0]
            kept[is_known] = keeps_both(english, others, reference=0)[0]
        return on_front, kept

    @property
    def _resampled(self) -> Array:
        return self.english.dev.resampled[:, self.candidates]

    def _both(self, values: Array) -> tuple[Array, Array]:
        return self.english.reduced(values), self.others.reduced(values)


def balance_of(criteria: Sequence[Criterion]) -> Balance | None:
    """Return the balance of English and the mean outside English; None without one of them."""
    english = [criterion for criterion in criteria if criterion.group.languages == (ENGLISH,)]
    others = [criterion for criterion in criteria if criterion.group.kind == "outside_english"]
    return Balance(english[0], others[0]) if english and others else None
