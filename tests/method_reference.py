"""Reference masks of the methods recipe, computed with loops: one demonstration at a time, texts read from the files.

The only project code it depends on is the specification of a variant in the plan.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mlprune.pruning.spec import ScoreSpec, StatisticsSelection
from mlprune.steps.variants.planned_variant import PlannedVariant
from tests.float64_reference import alpha_counts, alpha_for, lowest_of_rows
from tests.spectra_reference import peak_exponent
from tests.tiny_models import PAD, tiny_tokenizer
from tests.tiny_recipes import CORPUS, N_LINES, layer_inputs, reference_model

Array = NDArray[Any]
Key = tuple[int, str]
"""(block, layer), or (block, input)."""

LAYERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2")
INPUT_OF = {layer: "self_attn.q_proj" if layer[-6:] in ("k_proj", "v_proj") else layer for layer in LAYERS}
N_BLOCKS, MAX_TOKENS, SHOTS, SAMPLES = 3, 48, 2, 4
NAMES = {"fr": "French", "sw": "Swahili", "en": "English"}


# Demonstrations


def demonstrations(folder: Path, name: str, *, paper: bool) -> list[tuple[list[int], list[int], list[int]]]:
    """Demonstrations of a set, each as (token ids, side of every token, shot of every token)."""
    result = []
    for texts in _code(folder, paper=paper) if name == "code" else _shots(name, paper=paper):
        ids = tiny_tokenizer()("".join(text for text, _, _ in texts))["input_ids"]
        roles = [(side, shot) for text, side, shot in texts for _ in tiny_tokenizer()(text)["input_ids"]]
        assert len(ids) == len(roles)
        ids, roles = ids[:MAX_TOKENS], roles[:MAX_TOKENS]
        n_padding = MAX_TOKENS - len(ids) if paper else 0
        ids += [PAD] * n_padding
        roles += [(0, -1)] * n_padding
        result.append((ids, [side for side, _ in roles], [shot for _, shot in roles]))
    return result


def _shots(name: str, *, paper: bool) -> list[list[tuple[str, int, int]]]:
    """Pieces of few-shot texts. The published code skips one line after every demonstration."""
    lines = list(range(N_LINES))
    if not paper:
        lines.sort(key=lambda line: hashlib.sha256(f"0:{line}".encode()).hexdigest())
    step = SHOTS + 1 if paper else SHOTS
    return [
        [
            (f"{NAMES[language]}: {CORPUS[language].format(n=line)}</s>", side, shot)
            for shot, line in enumerate(lines[sample * step : sample * step + SHOTS])
            for side, language in enumerate(name.split("-"), start=1)
        ]
        for sample in range(SAMPLES)
    ]


def _code(folder: Path, *, paper: bool) -> list[list[tuple[str, int, int]]]:
    names = sorted(path.name for path in (folder / "code").glob("*.py"))
    if not paper:
        names.sort(key=lambda name: hashlib.sha256(f"0:{name}".encode()).hexdigest())
    return [[((folder / "code" / name).read_text(), 1, 0)] for name in names[:SAMPLES]]


def counted(sides: Sequence[int], shots: Sequence[int], scope: str) -> list[bool]:
    """Select the tokens that a scope counts."""
    if scope == "last_shot":
        return [shot == max(shots) for shot in shots]
    return [scope == "all" or side == {"source": 1, "target": 2}[scope] for side in sides]


# Statistics and factors


def squares(model: Any, folder: Path, name: str, *, scope: str, paper: bool) -> dict[Key, Array]:
    """Sums of squares over counted tokens: (block, input) -> [n, in]."""
    rows: dict[Key, list[Array]] = {}
    for ids, sides, shots in demonstrations(folder, name, paper=paper):
        keep = np.array(counted(sides, shots, scope))
        for key, inputs in layer_inputs(model, ids, layers=sorted(set(INPUT_OF.values()))).items():
            rows.setdefault(key, []).append((inputs.double().numpy()[keep] ** 2).sum(axis=0))
    return {key: np.stack(values) for key, values in rows.items()}


def means(q: Array, reading: StatisticsSelection) -> Array:
    """Mean over demonstrations, [in]; a bootstrap may count a demonstration several times."""
    n = reading.n_demonstrations or len(q)
    drawn = list(range(n))
    if reading.resample_seed is not None:
        digests = [hashlib.sha256(f"{reading.resample_seed}:{draw}".encode()).hexdigest() for draw in range(n)]
        drawn = [int(digest, 16) % n for digest in digests]
    return np.mean([q[index] for index in drawn], axis=0)


def factor(sets: Sequence[Array], contrast: Array | None, reading: StatisticsSelection) -> Array:
    """Factors that multiply the magnitudes of weights, [in]."""
    s = [means(q, reading) for q in sets]
    p = reading.shares or tuple(1 / len(s) for _ in s)
    if reading.aggregation == "pooled":
        s = [sum(share * mean for share, mean in zip(p, s, strict=True))]
    if contrast is not None:
        code = means(contrast, reading)
        s = [mean * mean / code for mean in s]
    norms = [np.sqrt(mean) for mean in s]
    if len(norms) == 1:
        return norms[0]
    mean = sum(share * norm for share, norm in zip(p, norms, strict=True))
    if reading.aggregation == "max":
        return np.max(norms, axis=0)
    if reading.aggregation == "variance":
        spread = sum(share * (norm - mean) ** 2 for share, norm in zip(p, norms, strict=True))
        return mean + vars(reading.aggregation_parameters)["variance_weight"] * spread
    return mean


# Scores, sparsities and masks


def scores(weight: Array, factors: Array, choice: ScoreSpec) -> Array:
    """[out, in] float64."""
    magnitudes = np.abs(weight)
    if choice.score == "ria":
        shares = magnitudes / magnitudes.sum(axis=0, keepdims=True) + magnitudes / magnitudes.sum(axis=1, keepdims=True)
        return shares * factors ** vars(choice.score_parameters)["power"]
    return magnitudes * factors


def removed(values: Array, choice: ScoreSpec, sparsity: float) -> Array:
    """Weights removed at a sparsity, [out, in] bool."""
    if sparsity == 0:
        return np.zeros(values.shape, dtype=bool)
    if choice.removes == "highest":
        values = -values
    if choice.structure == "alpha":
        return lowest_of_rows(values, alpha_counts(values, alpha_for(values, sparsity)))
    if choice.structure == "matrix":
        groups = values.reshape(1, -1)
    elif choice.structure == "row":
        groups = values
    else:
        n, _, m = choice.structure.partition(":")
        groups = values.reshape(-1, int(m))
        return lowest_of_rows(groups, [int(n)] * len(groups)).reshape(values.shape)
    size = groups.shape[1]
    n_removed = int(size * sparsity) if choice.rounding == "binary" else math.floor(Decimal(str(sparsity)) * size)
    return lowest_of_rows(groups, [n_removed] * len(groups)).reshape(values.shape)


class ByHand:
    """Reference computation of the masks of one variant.

    Args:
        folder: contains model, corpus and code.
        variant: the planned variant.
    """

    def __init__(self, folder: Path, variant: PlannedVariant) -> None:
        self.folder, self.variant, self.spec = folder, variant, variant.spec
        self.model = reference_model(folder / "model")

    @property
    def reading(self) -> StatisticsSelection:
        """The selection and aggregation of statistics."""
        assert self.spec.calibration is not None
        return self.spec.calibration.selection

    def weight(self, block: int, layer: str) -> torch.Tensor:
        """A weight of the model, which the caller may change."""
        return self.model.model.layers[block].get_submodule(layer).weight.data

    def observed(self, name: str) -> dict[Key, Array]:
        """Sums of squares of a set in the current model."""
        paper = self.spec.profile == "paper"
        return squares(self.model, self.folder, name, scope=self.reading.token_scope, paper=paper)

    def factors(self) -> dict[Key, Array]:
        """Factors in the current model: (block, input) -> [in]."""
        sets = [self.observed(one.name) for one in self.variant.sets]
        contrast = self.observed(self.variant.contrast.name) if self.variant.contrast else None
        return {
            key: factor([one[key] for one in sets], contrast[key] if contrast else None, self.reading)
            for key in sets[0]
        }

    def outlier_ratios(self) -> list[float]:
        """OWL's share of outliers per block in the current model."""
        m = vars(self.spec.schedule.schedule_parameters)["m"]
        return [float((flat > m * flat.mean()).mean()) for flat in self.wanda_scores()]

    def wanda_scores(self) -> list[Array]:
        """Scores of all weights of each block in the current model, flat."""
        sets = [self.observed(one.name) for one in self.variant.sets]
        return [
            np.concatenate(
                [
                    (np.abs(self.weight(block, layer).double().numpy()) * factor(own, None, self.reading)).ravel()
                    for layer in LAYERS
                    for own in [[one[block, INPUT_OF[layer]] for one in sets]]
                ]
            )
            for block in range(N_BLOCKS)
        ]

    def sparsities(self) -> dict[Key, float]:
        """Sparsity per (block, layer), from the schedule and the scope on the dense model."""
        schedule, scope, own = self.spec.schedule, self.spec.scope, self.spec.schedule.schedule_parameters
        found = {(block, layer): self.spec.sparsity for block in range(N_BLOCKS) for layer in LAYERS}
        if schedule.kind == "given":
            found |= {(block, layer): dict(own.layers).get(layer, s) for (block, layer), s in found.items()}
            found |= {(block, layer): dict(own.blocks).get(block, s) for (block, layer), s in found.items()}
        if schedule.kind == "owl":
            ratios = dict(enumerate(self.outlier_ratios()))
            ratios = {block: ratio for block, ratio in ratios.items() if not scope.blocks or block in scope.blocks}
            lowest, highest = min(ratios.values()), max(ratios.values())
            scaled = {block: 2 * own.spread * (one - lowest) / (highest - lowest) for block, one in ratios.items()}
            mean = sum(scaled.values()) / len(scaled)
            found |= {(b, layer): round(s - scaled[b] + mean, 12) for (b, layer), s in found.items() if b in scaled}
        if schedule.kind == "dlp":
            means = [flat.mean() for flat in self.wanda_scores()]
            ratios = [1 - one / sum(means) for one in means]
            scaled = [2 * own.spread * (one - min(ratios)) / (max(ratios) - min(ratios)) for one in ratios]
            of_block = [1 - (one - sum(scaled) / len(scaled) + 1 - self.spec.sparsity) for one in scaled]
            found = {(block, layer): round(of_block[block], 12) for block, layer in found}
        if schedule.kind == "alpha_pruning":
            means = [
                np.mean([peak_exponent(self.weight(block, layer).double().numpy()) for layer in LAYERS])
                for block in range(N_BLOCKS)
            ]
            factors = [0.7 + 0.6 * (one - min(means)) / (max(means) - min(means)) for one in means]
            of_block = [self.spec.sparsity * one * len(factors) / sum(factors) for one in factors]
            found = {(block, layer): round(of_block[block], 12) for block, layer in found}
        blocks = scope.blocks or range(N_BLOCKS)
        layers = scope.layers or LAYERS
        return {key: s if key[0] in blocks and key[1] in layers else 0.0 for key, s in found.items()}

    def keep_masks(self) -> dict[Key, torch.Tensor]:
        """Keep masks, (block, layer) -> bool [out, in]; sequential propagation prunes each block before the next."""
        wanted = self.sparsities()
        dense = self.factors()
        keep: dict[Key, torch.Tensor] = {}
        for block in range(N_BLOCKS):
            factors = self.factors() if self.spec.propagation == "sequential" else dense
            removed_masks: Mapping[str, Array] = {
                layer: removed(
                    scores(
                        self.weight(block, layer).double().numpy(), factors[block, INPUT_OF[layer]], self.spec.score
                    ),
                    self.spec.score,
                    wanted[block, layer],
                )
                for layer in LAYERS
            }
            for layer, mask in removed_masks.items():
                keep[block, layer] = torch.from_numpy(~mask)
                if self.spec.propagation == "sequential":
                    self.weight(block, layer)[torch.from_numpy(mask)] = 0
        return keep
