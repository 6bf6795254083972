"""Cost of a smaller vocabulary by language: tokens per word, unknown and partial characters, and log-probabilities.

Each line is scored four ways, always with the masks and weights of the variant. Renormalising over fewer tokens raises
every probability by itself, so the cost of a trimmed model is measured under the normaliser of the model with all
tokens, which is called dense here, because it is the dense model if the variant has no masks:

- dense: tokens of the base model, all logits.
- masked: tokens of the base model, removed tokens at minus infinity; only lines without removed tokens.
- trimmed: tokens of the variant, removed tokens at minus infinity. This is the exported model.
- cost: tokens of the variant, all logits.

A line that is longer than the model, in the tokens of either, is left out of all of them and counted.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mlprune.capabilities.vocabulary.in_place import removed_mask, tokenizer_folder, without_tokens
from mlprune.capabilities.vocabulary.kept_tokens import encoded
from mlprune.evaluation.scoring.batches import ScoredText, plan_texts
from mlprune.evaluation.scoring.candidates import score_texts
from mlprune.json_values import Row
from mlprune.models.chain import Chain
from mlprune.models.loading import load_tokenizer
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.processes.job_parts import in_parts
from mlprune.recipe.models import CorpusConfig
from mlprune.steps.evaluate.model_evaluation import apply_variant, tasks_cost
from mlprune.steps.inputs import open_corpus
from mlprune.steps.job import (
    ChainLoader,
    JobCost,
    ModelJob,
    ModelRef,
    RecordJob,
    RecordKey,
    SetSizes,
    block_flops,
)
from mlprune.steps.variants.variant_rows import stored_tokens
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.trimming.folder import read_tokenizer
from mlprune.trimming.tokenizer_json import TokenizerJson

logger = logging.getLogger(__name__)

Z = 1.959963984540054
"""Quantile of the normal distribution for an interval of 95 %."""
TOKENS_PER_LINE = 200
"""Estimate for the plan."""

Floats = NDArray[np.float64]
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class TokenisedLines:
    """Lines of one language that fit the model, with their tokens before and after."""

    texts: Sequence[str]
    dense: Sequence[Tokens]
    """Tokens of the base model."""
    small: Sequence[Tokens]
    """Tokens of the variant, with ids of the base model."""


def log_ratio(differences: Floats, sizes: Floats) -> tuple[float, float, float]:
    """Return sum(differences) / sum(sizes), and its interval of 95 % from the spread of the lines (delta method).

    With n lines, r the ratio: se = sqrt(n / (n - 1) * sum (d - r s)^2) / sum(s). One line has no interval: NaN.
    """
    ratio = float(differences.sum() / sizes.sum())
    n = len(differences)
    if n < 2:
        return ratio, float("nan"), float("nan")
    error = float(np.sqrt(n / (n - 1) * ((differences - ratio * sizes) ** 2).sum()) / sizes.sum())
    return ratio, ratio - Z * error, ratio + Z * error


@dataclass(frozen=True)
class VocabularyCostJob(RecordJob, ModelJob):
    """Tokenise and score the measured lines of some languages with a variant's vocabulary."""

    step: ClassVar[str] = "evaluate"
    model: ModelRef
    corpus: CorpusConfig
    lines: tuple[int, ...]
    languages: tuple[str, ...]
    """Kept languages, then dropped ones that the recipe evaluates."""
    n_kept: int
    """Number of kept languages."""

    @property
    def chain_model(self) -> ModelRef:
        """The base model."""
        return self.model

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The variant."""
        return (("variants", str(self.identity.parents["variant"])),)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """Four passes over all lines."""
        n_tokens = 4.0 * len(self.lines) * len(self.languages) * TOKENS_PER_LINE
        cost = tasks_cost(self.step, sizes, (), batch_tokens=self.batch_tokens, device=self.model.device)
        flops = block_flops(sizes, n_tokens) + 2.0 * n_tokens * sizes.hidden * sizes.vocabulary
        return replace(cost, flops=flops, n_passes=4.0, n_tokens=n_tokens)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write a row per language."""
        variant = store.require("variants", str(self.identity.parents["variant"]))
        model = chain()
        apply_variant(model, store, variant.id)
        rows = [{"tokenizations_id": self.identity.id, **row} for row in self._rows(store, variant, model)]
        store.write_record(self.identity.record(rows={"tokenizations": rows}))

    def _rows(self, store: Store, variant: Record, model: Chain) -> list[Row]:
        corpus = open_corpus(self.corpus)
        kept = frozenset(stored_tokens(store, variant))
        tokenizer = load_tokenizer(Path(self.model.path))
        trimmed = load_tokenizer(tokenizer_folder(store, variant, self.model))
        source = read_tokenizer(tokenizer)
        starts = (tokenizer.bos_token_id, tokenizer.eos_token_id, 0)
        start = next(int(number) for number in starts if number is not None)
        rows: list[Row] = []
        longer: list[str] = []
        for index, language in in_parts("language", list(enumerate(self.languages))):
            every = [corpus.lines(language)[number] for number in self.lines]
            both = zip(every, encoded(tokenizer, every), encoded(trimmed, every), strict=True)
            fitting = [
                (line, before, after)
                for line, before, after in both
                if self._fits(before, start) and self._fits(after, start)
            ]
            lines = TokenisedLines(
                [line for line, _, _ in fitting],
                [tuple(before) for _, before, _ in fitting],
                [tuple(after) for _, _, after in fitting],
            )
            n_longer = len(every) - len(lines.texts)
            if n_longer:
                longer.append(f"{n_longer} of {len(every)} in {language}")
            scores = self._scores(model, store, variant, lines, start=start, kept=kept)
            row: Row = {"variant_id": variant.id, "language": language, "is_kept": index < self.n_kept}
            counts = {**_counts(source, lines), "n_longer_lines": n_longer}
            rows.append({**row, **counts, **_losses(lines.texts, *scores)})
        if longer:
            message = "vocabulary cost of variant %s: lines longer than the model's %s tokens are left out: %s"
            logger.warning(message, variant.id, self.model.max_positions, ", ".join(longer))
        return rows

    def _fits(self, ids: Sequence[int], start: int) -> bool:
        """Whether the scored tokens of a line fit the model."""
        return self.model.max_positions is None or len(_after_start(ids, start)) <= self.model.max_positions

    def _scores(
        self,
        model: Chain,
        store: Store,
        variant: Record,
        lines: TokenisedLines,
        *,
        start: int,
        kept: frozenset[int],
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the log-probabilities of the lines: dense, masked (NaN with removed tokens), trimmed, and cost."""
        full_dense, full_small = (self._log_probs(model, texts, start) for texts in (lines.dense, lines.small))
        has_all = np.array([kept.issuperset(ids) for ids in lines.dense])
        masked = np.full(len(lines.dense), np.nan)
        with without_tokens(model, removed_mask(store, variant)):
            trimmed = self._log_probs(model, lines.small, start)
            if has_all.any():
                texts = [ids for ids, has in zip(lines.dense, has_all, strict=True) if has]
                masked[has_all] = self._log_probs(model, texts, start)
        return full_dense, masked, trimmed, full_small

    def _log_probs(self, model: Chain, texts: Sequence[Tokens], start: int) -> Floats:
        """Return the log-probability of each text after the first token, or after a start token."""
        scored = [ScoredText(_after_start(ids, start), 1) for ids in texts]
        batches = plan_texts(
            scored,
            batch_tokens=self.batch_tokens,
            device=self.model.device,
            whole_texts=self.model.runs_whole_texts,
        )
        result = np.full(len(texts), np.nan)
        for scores in score_texts(model, batches):
            result[list(scores.texts)] = scores.log_likelihoods
        return result


def _after_start(ids: Sequence[int], start: int) -> Tokens:
    """Return the tokens of a line after a start token, which is added unless they begin with it."""
    return tuple(ids) if next(iter(ids), None) == start else (start, *ids)


def _counts(source: TokenizerJson, lines: TokenisedLines) -> Row:
    """Return the numbers of words, characters, and tokens by kind, before and after."""
    partial = source.partial_ids
    row: Row = {
        "n_lines": len(lines.texts),
        "n_words": sum(len(line.split()) for line in lines.texts),
        "n_characters": sum(map(len, lines.texts)),
        "n_changed_lines": sum(before != after for before, after in zip(lines.dense, lines.small, strict=True)),
    }
    for suffix, texts in (("_dense", lines.dense), ("", lines.small)):
        row[f"n_tokens{suffix}"] = sum(map(len, texts))
        row[f"n_unknown{suffix}"] = sum(number == source.unknown_id for ids in texts for number in ids)
        row[f"n_partial{suffix}"] = sum(number in partial for ids in texts for number in ids)
    return row


def _losses(lines: Sequence[str], dense: Floats, masked: Floats, trimmed: Floats, cost: Floats) -> Row:
    """Return the log-probabilities of all lines, and the log of the ratio of the perplexities per character."""
    sizes = np.array([len(line) for line in lines], dtype=np.float64)
    ratio, low, high = log_ratio(dense - cost, sizes) if lines else (float("nan"),) * 3
    is_masked = ~np.isnan(masked)
    return {
        "log_prob_dense": float(dense.sum()),
        "log_prob_trimmed": float(trimmed.sum()),
        "log_prob_cost": float(cost.sum()),
        "n_masked_lines": int(is_masked.sum()),
        "n_masked_characters": int(sizes[is_masked].sum()),
        "log_prob_masked": float(masked[is_masked].sum()) if is_masked.any() else None,
        "log_prob_dense_of_masked": float(dense[is_masked].sum()) if is_masked.any() else None,
        "log_cost": ratio if lines else None,
        "log_cost_low": low if np.isfinite(low) else None,
        "log_cost_high": high if np.isfinite(high) else None,
    }
