"""Inputs of the benchmark: a random XGLM, a corpus with demonstrations of given lengths, and recipes for them."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, XGLMConfig, XGLMForCausalLM

from mlprune.hashing import ordered_by_hash
from mlprune.models.loading import SENTENCE

LANGUAGES = {"en": "English", "fr": "French", "es": "Spanish", "de": "German", "sw": "Swahili", "hi": "Hindi"}
PAIRS = tuple(f"{source}-en" for source in LANGUAGES if source != "en")
SEEDS = (0, 1)
TEN_SPARSITIES = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
"""Sparsities over the whole range, the worst case for packing stored levels."""
SPARSITY = 0.5
SIDE_TOKENS = 3
"""Tokens of one side of a shot in addition to its words: language, colon, end of sequence."""
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
ENGLISH_WORDS = sorted(set(re.findall(r"\w+|[^\w\s]+", SENTENCE)))
"""Words that mlprune requires every tokenizer to know."""
PAD = SPECIAL_TOKENS.index("<pad>")


@dataclass(frozen=True)
class Size:
    """Shape of the model and of the samples."""

    blocks: int
    width: int
    heads: int
    feed_forward: int
    vocabulary: int
    tokens: int
    """Length to which the opponent pads a sample."""
    samples: int
    matrix: int
    """Rows and columns of the matrix whose mask is timed separately."""
    loop_threads: int
    """Threads of the opponent."""
    lines: int = 64
    """Lines of the corpus."""

    @property
    def n_prunable(self) -> int:
        """Number of weights in the linear layers of all blocks."""
        return self.blocks * (4 * self.width**2 + 2 * self.width * self.feed_forward)

    @property
    def block_bytes(self) -> int:
        """Size of the linear layers of one block in float32."""
        return 4 * self.n_prunable // self.blocks

    @property
    def hidden_bytes(self) -> int:
        """Size of the padded hidden states of all samples in float32."""
        return 4 * self.samples * self.tokens * self.width


FULL = Size(
    blocks=24,
    width=1024,
    heads=16,
    feed_forward=4096,
    vocabulary=4096,
    tokens=512,
    samples=16,
    matrix=4096,
    loop_threads=2,
)
"""The shape of XGLM-564M with a smaller vocabulary; pruning does not touch the vocabulary."""
XGLM_VOCABULARY = 256_008
SMALL = Size(
    blocks=3, width=64, heads=4, feed_forward=256, vocabulary=256, tokens=64, samples=16, matrix=256, loop_threads=1
)


def random_model(size: Size) -> XGLMForCausalLM:
    """An XGLM with random weights, always the same."""
    torch.manual_seed(0)
    config = XGLMConfig(
        vocab_size=size.vocabulary,
        max_position_embeddings=size.tokens,
        d_model=size.width,
        ffn_dim=size.feed_forward,
        num_layers=size.blocks,
        attention_heads=size.heads,
    )
    return XGLMForCausalLM(config)


def write_inputs(folder: Path, size: Size) -> None:
    """Write model, tokenizer and corpus."""
    random_model(size).save_pretrained(folder / "model")
    _tokenizer(size).save_pretrained(folder / "model")
    (folder / "corpus").mkdir()
    for number, language in enumerate(LANGUAGES):
        lines = _sentences(size, seed=number, side="target" if language == "en" else "source")
        (folder / "corpus" / f"{language}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _tokenizer(size: Size) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word, so that the corpus determines the lengths."""
    words = [*SPECIAL_TOKENS, ":", *LANGUAGES.values()]
    words += [f"w{number}" for number in range(_n_words(size))]
    words += ENGLISH_WORDS
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def _n_words(size: Size) -> int:
    """Number of different words in the corpus."""
    return size.vocabulary - len(SPECIAL_TOKENS) - 1 - len(LANGUAGES) - len(ENGLISH_WORDS)


def sample_lengths(size: Size) -> list[int]:
    """Numbers of real tokens per sample: evenly spread from 40 to 80 % of the padded length, 60 % on average."""
    steps = range(size.samples)
    return [round(size.tokens * (0.4 + 0.4 * step / (size.samples - 1))) for step in steps]


def _sentences(size: Size, *, seed: int, side: str) -> list[str]:
    """Lines of a language. With one shot, the demonstrations of every seed have exactly the given lengths."""
    generator = torch.Generator().manual_seed(seed)
    n_words = _n_words(size)
    lengths = _line_lengths(size)
    sentences = []
    for line in range(size.lines):
        words = lengths[line] - 2 * SIDE_TOKENS
        own = words - words // 2 if side == "source" else words // 2
        sentences.append(" ".join(f"w{n}" for n in torch.randint(n_words, (own,), generator=generator).tolist()))
    return sentences


def _line_lengths(size: Size) -> list[int]:
    """Tokens of the demonstration of each line: a permutation of the given lengths over the lines of each seed."""
    given: dict[int, int] = {}
    for seed in SEEDS:
        chosen = list(ordered_by_hash(seed, range(size.lines)))[: size.samples]
        taken = Counter(given[line] for line in chosen if line in given)
        free = (Counter(sample_lengths(size)) - taken).elements()
        given |= {line: next(free) for line in chosen if line not in given}
    return [given.get(line, size.tokens // 2) for line in range(size.lines)]


def write_recipe(folder: Path, name: str, *, size: Size, **choices: Any) -> Path:
    """Write a recipe for the inputs of a folder: wanda on one pair, unless `choices` overrides it.

    Args:
        choices: pairs, seeds, sparsity, propagation, dtype.
    """
    pairs = choices.get("pairs", PAIRS[:1])
    sets: Mapping[str, Any] = {
        "name": "pairs",
        "kind": "translation",
        "source": [pair.removesuffix("-en") for pair in pairs],
        "target": "en",
        "shots": 1,
        "samples": size.samples,
        "max_tokens": size.tokens,
        "seed": list(choices.get("seeds", SEEDS[:1])),
    }
    variant = {
        "demonstrations": "pairs",
        "score": "wanda",
        "sparsity": choices.get("sparsity", SPARSITY),
        "propagation": choices.get("propagation", "dense"),
    }
    recipe = {
        "name": name,
        "model": {"path": "model", "dtype": choices.get("dtype", "float32")},
        "corpus": {"kind": "parallel_text", "path": "corpus"},
        "demonstrations": [sets],
        "variants": [variant],
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return path
