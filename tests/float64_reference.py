"""Independent reference of the method, slow and in float64; it imports nothing of the project.

Texts are built from the files, every demonstration runs alone and without padding through the whole model, and masks
are chosen row by row.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

GATED = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
BLOCKS = {
    "xglm": "model.layers",
    "gpt2": "transformer.h",
    "bloom": "transformer.h",
    "opt": "model.decoder.layers",
    "gpt_neox": "gpt_neox.layers",
    "phi3": "model.layers",
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "olmo2", "smollm3"), "model.layers"),
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text"), "model.layers"),
}
LAYERS = {
    **dict.fromkeys(BLOCKS, GATED),
    "xglm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2"),
    "opt": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2"),
    "gpt2": ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
    "bloom": ("self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "gpt_neox": ("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    "phi3": ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"),
}
NAMES = {"en": "English", "fr": "French", "sw": "Swahili"}
FILES = {"en": "en.txt", "fr": "fr.txt", "sw": "swh_Latn.txt"}

Key = tuple[int, str]
"""(block, layer)."""


# Demonstrations


def hashed_order(seed: int, names: Iterable[Any]) -> list[Any]:
    """Names in the order of the SHA-256 of "seed:name"."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())


def few_shot_texts(
    corpus: Path, languages: Sequence[str], *, shots: int, samples: int, seed: int, end: str
) -> list[str]:
    """Demonstrations of one language, or of a pair (source, target)."""
    sentences = [(corpus / FILES[language]).read_text(encoding="utf-8").splitlines() for language in languages]
    order = hashed_order(seed, range(len(sentences[0])))
    texts = []
    for sample in range(samples):
        text = ""
        for shot in range(shots):
            line = order[sample * shots + shot]
            for language, lines in zip(languages, sentences, strict=True):
                text += NAMES[language] + ": " + lines[line] + end
        texts.append(text)
    return texts


def code_texts(folder: Path, *, samples: int, seed: int) -> list[str]:
    """One Python file per demonstration."""
    paths = [path.relative_to(folder).as_posix() for path in folder.glob("**/*.py")]
    return [(folder / path).read_text(encoding="utf-8") for path in hashed_order(seed, paths)[:samples]]


def tokens_of(model_path: Path, texts: Sequence[str], *, max_tokens: int) -> list[list[int]]:
    """Token ids; these tokenizers add special tokens only at the start, so cutting the list cuts the text."""
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    return [list(tokenizer(text)["input_ids"])[:max_tokens] for text in texts]


def end_of(model_path: Path) -> str:
    """The end-of-sequence token."""
    return str(AutoTokenizer.from_pretrained(model_path).eos_token)


# Statistics


@contextmanager
def default_float64() -> Any:
    """Set torch's default dtype, in which XGLM's code creates a constant."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


class Float64Model:
    """A base model in float64 whose weights can be zeroed and whose inputs can be observed."""

    def __init__(self, path: Path, family: str) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval()
        self.transposed = family == "gpt2"
        blocks = self.model.get_submodule(BLOCKS[family])
        self.modules = {
            (number, layer): block.get_submodule(layer)
            for number, block in enumerate(blocks)
            for layer in LAYERS[family]
        }
        self.n_blocks = len(blocks)
        self.weights = {key: self._oriented(module.weight) for key, module in self.modules.items()}

    def _oriented(self, weight: torch.Tensor) -> np.ndarray:
        matrix = weight.detach().numpy().copy()
        return matrix.T if self.transposed else matrix

    def squares(
        self, demonstrations: Sequence[Sequence[int]], keys: Iterable[Key], removed: Mapping[Key, np.ndarray]
    ) -> dict[Key, np.ndarray]:
        """Layer -> [n, in]: sums over tokens of the squared inputs, in a model with some weights removed.

        Args:
            keys: the layers to observe.
            removed: [out, in] bool, of the pruned layers; all others are dense.
        """
        with torch.no_grad():
            for key, module in self.modules.items():
                weight = np.where(removed[key], 0.0, self.weights[key]) if key in removed else self.weights[key]
                module.weight.copy_(torch.from_numpy((weight.T if self.transposed else weight).copy()))
        rows_of: dict[Key, list[np.ndarray]] = {key: [] for key in keys}
        handles = [self.modules[key].register_forward_pre_hook(listener(rows)) for key, rows in rows_of.items()]
        with default_float64(), torch.inference_mode():
            for token_ids in demonstrations:
                self.model(torch.tensor([token_ids]))
        for handle in handles:
            handle.remove()
        return {key: np.stack(rows) for key, rows in rows_of.items()}


def listener(rows: list[np.ndarray]) -> Any:
    """A hook that appends the sums of squares of each input feature over all tokens."""

    def hook(_module: Any, args: tuple[Any, ...]) -> None:
        inputs = args[0].numpy()
        rows.append((inputs.reshape(-1, inputs.shape[-1]) ** 2).sum(axis=0))

    return hook


# Scores


def scores_of(score: str, weight: np.ndarray, squares: np.ndarray | None, contrast: np.ndarray | None) -> np.ndarray:
    """[out, in]: the score of each weight, feature by feature."""
    scores = np.empty_like(weight)
    for feature in range(weight.shape[1]):
        scores[:, feature] = np.abs(weight[:, feature]) * factor_of(score, feature, squares, contrast)
    return scores


def factor_of(score: str, feature: int, squares: np.ndarray | None, contrast: np.ndarray | None) -> float:
    """The factor by which a feature multiplies the magnitude of its weights."""
    if score == "magnitude":
        return 1.0
    assert squares is not None
    if score == "wanda":
        return math.sqrt(sum(squares[:, feature]))
    assert contrast is not None
    s_mt = sum(squares[:, feature]) / len(squares)
    s_code = sum(contrast[:, feature]) / len(contrast)
    return math.sqrt(s_mt * (s_mt / s_code if s_code > 0 else 1.0))


# Masks

TOLERANCE = 0.001
"""Largest accepted difference from the sparsity in the alpha variant."""


def group_size(structure: str, shape: tuple[int, ...]) -> int:
    """Weights that are compared with each other, consecutive in row-major order."""
    if structure == "matrix":
        return shape[0] * shape[1]
    return shape[1] if structure in ("row", "alpha") else int(structure.partition(":")[2])


def removed_weights(scores: np.ndarray, *, structure: str, sparsity: float) -> np.ndarray:
    """[out, in] bool: the weights that are pruned."""
    if structure == "alpha":
        return lowest_of_rows(scores, alpha_counts(scores, alpha_for(scores, sparsity)))
    size = group_size(structure, scores.shape)
    is_plain = structure in ("row", "matrix")
    n_lowest = math.floor(Decimal(str(sparsity)) * size) if is_plain else int(structure.partition(":")[0])
    groups = scores.reshape(-1, size)
    return lowest_of_rows(groups, [n_lowest] * len(groups)).reshape(scores.shape)


def lowest_of_rows(scores: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """[rows, d] bool: the `counts[row]` lowest scores of each row."""
    removed = np.zeros(scores.shape, dtype=bool)
    order = np.argsort(scores, axis=1, kind="stable")
    for row, count in enumerate(counts):
        removed[row, order[row, :count]] = True
    return removed


def alpha_counts(scores: np.ndarray, alpha: float) -> np.ndarray:
    """[rows]: how many of the lowest scores of each row sum to at most alpha times the sum of the row."""
    sums = np.cumsum(np.sort(scores, axis=1), axis=1)
    return (sums <= alpha * scores.sum(axis=1, keepdims=True)).sum(axis=1)


def alpha_for(scores: np.ndarray, sparsity: float) -> float:
    """Alpha by bisection of [0, 1] until the sparsity is within the tolerance; else the nearest of sixty."""
    low, high, tried = 0.0, 1.0, []
    scores = np.sort(scores, axis=1)
    for _ in range(60):
        alpha = (low + high) / 2
        achieved = alpha_counts(scores, alpha).sum() / scores.size
        tried.append((abs(achieved - sparsity), alpha))
        if tried[-1][0] <= TOLERANCE:
            return alpha
        if achieved < sparsity:
            low = alpha
        else:
            high = alpha
    return min(tried, key=lambda attempt: attempt[0])[1]
