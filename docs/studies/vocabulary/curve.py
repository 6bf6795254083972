"""Measure what each language pays for vocabularies of several sizes, as `mlprune query vocabulary_cost` does.

    python docs/studies/vocabulary/curve.py MODEL COUNTED HELD_OUT --kept en,fr,sw --sizes 40000,73600 --out curve.csv

COUNTED and HELD_OUT are folders of LANGUAGE.txt. A run of a recipe scores every text once per variant; this scores a
text once for all sizes that segment it in the same way.
"""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from mlprune.capabilities.vocabulary.cost import log_ratio
from mlprune.capabilities.vocabulary.kept_tokens import TokenChoice, chosen_tokens, encoded, token_scores
from mlprune.models.loading import load_tokenizer
from mlprune.trimming.folder import read_tokenizer, required_tokens, vocabulary_tensors

BATCH_TOKENS = 512
"""Tokens of a batch of texts of similar length, with padding."""
Text = tuple[int, ...]


def read_lines(folder: Path, languages: Sequence[str]) -> dict[str, list[str]]:
    """Return language -> its lines."""
    return {name: (folder / f"{name}.txt").read_text("utf-8").splitlines() for name in languages}


@torch.inference_mode()
def log_probs(
    model: torch.nn.Module, texts: Sequence[Text], kept: Mapping[int, torch.Tensor]
) -> dict[Text, dict[int, float]]:
    """Return for each text its log-probability after the first token, by size; size 0 has all logits.

    Args:
        kept: size -> its tokens, int64 [n]; NaN for a text that has others.
    """
    result: dict[Text, dict[int, float]] = {}
    ordered = sorted(texts, key=len)
    while ordered:
        together = max(1, BATCH_TOKENS // len(ordered[-1]))
        batch, ordered = ordered[-together:], ordered[:-together]
        ids = torch.zeros(len(batch), len(batch[-1]), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(batch):
            ids[row, : len(text)], mask[row, : len(text)] = torch.tensor(text), 1
        all_logits = model(input_ids=ids, attention_mask=mask).logits
        for row, text in enumerate(batch):
            logits, targets = all_logits[row, : len(text) - 1], ids[row, 1 : len(text)]
            chosen = logits.gather(1, targets[:, None]).double().sum()
            values = {0: float(chosen - logits.logsumexp(1).double().sum())}
            for size, tokens in kept.items():
                has_all = bool(torch.isin(ids[row, : len(text)], tokens).all())
                values[size] = (
                    float(chosen - logits[:, tokens].logsumexp(1).double().sum()) if has_all else float("nan")
                )
            result[text] = values
    return result


def main() -> None:
    """Choose the tokens of each size, score the lines, and write a row per size and language."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "counted", "held_out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--kept", required=True, help="languages that are counted")
    parser.add_argument("--dropped", default="", help="other languages")
    parser.add_argument("--dropped-lines", type=int, default=25, help="lines of a dropped language that are scored")
    parser.add_argument("--sizes", required=True)
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args()
    kept_languages, dropped = ([one for one in text.split(",") if one] for text in (arguments.kept, arguments.dropped))
    tokenizer = load_tokenizer(arguments.model)
    source = read_tokenizer(tokenizer)
    n_rows = next(iter(vocabulary_tensors(arguments.model).values()))
    counts = token_scores(tokenizer, read_lines(arguments.counted, kept_languages), score="frequency")
    required = required_tokens(source, arguments.model, n_rows=n_rows)
    sizes = [int(size) for size in arguments.sizes.split(",")]
    choices = {size: chosen_tokens(source, counts, TokenChoice(size=size), required=required) for size in sizes}
    kept = {size: torch.tensor(sorted(tokens)) for size, tokens in choices.items()}
    small = {size: Tokenizer.from_str(json.dumps(source.trimmed(sorted(tokens)))) for size, tokens in choices.items()}
    lines = read_lines(arguments.held_out, [*kept_languages, *dropped])
    lines |= {name: lines[name][: arguments.dropped_lines] for name in dropped}
    dense: dict[str, list[Text]] = {name: list(map(tuple, encoded(tokenizer, lines[name]))) for name in lines}
    trimmed = {
        (size, name): [tuple(one.encode(line).ids) for line in of]
        for size, one in small.items()
        for name, of in lines.items()
    }
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    model.eval()
    values = log_probs(model, sorted({text for of in (*dense.values(), *trimmed.values()) for text in of}), kept)
    n_weights = sum(weight.numel() for weight in model.parameters())
    with arguments.out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for (size, name), texts in trimmed.items():
            removed = (n_rows - len(choices[size])) * model.get_input_embeddings().embedding_dim / n_weights
            row = measured(lines[name], dense[name], texts, values, size)
            writer.writerow([size, f"{removed:.4f}", name, name in kept_languages, len(texts), *row])


COLUMNS = (
    "size", "removed_weights", "language", "is_kept", "lines", "changed_lines", "tokens_per_word_dense",
    "tokens_per_word", "tokens_per_character_dense", "tokens_per_character", "perplexity_dense", "perplexity_trimmed",
    "cost", "cost_low", "cost_high", "masked_lines", "perplexity_dense_of_masked", "perplexity_masked",
)  # fmt: skip


def measured(
    lines: Sequence[str],
    dense: Sequence[Text],
    small: Sequence[Text],
    values: Mapping[Text, Mapping[int, float]],
    size: int,
) -> list[object]:
    """Return the measured columns of a language. Perplexities are per character."""
    lengths = np.array([len(line) for line in lines], dtype=np.float64)
    of_dense, masked = (np.array([values[text][number] for text in dense]) for number in (0, size))
    of_cost, of_small = (np.array([values[text][number] for text in small]) for number in (0, size))
    cost = np.expm1(log_ratio(of_dense - of_cost, lengths))
    is_masked = ~np.isnan(masked)
    n_words, n_characters = sum(len(line.split()) for line in lines), lengths.sum()
    n_dense, n_small = (sum(map(len, texts)) for texts in (dense, small))
    perplexities = [np.exp(-one.sum() / n_characters) for one in (of_dense, of_small)]
    of_masked = [
        np.exp(-one[is_masked].sum() / lengths[is_masked].sum()) if is_masked.any() else float("nan")
        for one in (of_dense, masked)
    ]
    counts = (n_dense / n_words, n_small / n_words, n_dense / n_characters, n_small / n_characters)
    changed = sum(before != after for before, after in zip(dense, small, strict=True))
    shown = [f"{value:.6g}" for value in (*counts, *perplexities, *cost)]
    return [changed, *shown, int(is_masked.sum()), *(f"{value:.6g}" for value in of_masked)]


if __name__ == "__main__":
    main()
