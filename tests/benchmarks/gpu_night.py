"""Compute how long XGLM-7.5B x 106 variants x XNLI in 15 languages takes on 8 A100-80GB: counts times stated rates.

python tests/benchmarks/gpu_night.py                       the table of docs/running.md; under a minute
python tests/benchmarks/gpu_night.py --out night.json      also the figures of every setting

Nothing runs on a GPU. The batches are those that `plan_texts` makes of synthetic texts as long as XNLI's (44.4 tokens
on average). Their matrix products are counted, and their speed is stated, not measured:

- 60 % of 312 TFLOP/s for products of 512 rows or more, 40 % for 160 rows, linear between the two, and proportional to
  the rows below 160, where reading the weights takes the time. Attention at the rate of 160 rows.
- What is read and written between the products (`moved_bytes`) at 2,039 GB/s times the share that plans assume:
  attention without a fused kernel, the keys and values of prefixes copied to their continuations, element-wise
  kernels, and the passes over the logits.
- A variant is one job, so the busiest GPU scores ceil(106 / 8) = 14 variants.
- Before each variant all weights are copied to the GPU in half precision at 4 GB/s, from ordinary host memory.

Not counted: loading the model once, tokenising, the CPU's work between products (two threads overlap it with the GPU).
"""

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mlprune.evaluation.scoring.batches import ScoredText, TextBatch, plan_texts
from mlprune.numeric import log_probs
from mlprune.planning.resources.rates import FAST_ROWS, GPU_KINDS, SLOW_ROWS, share_of_peak
from mlprune.recipe.models import AUTO_BATCH_TOKENS

N_BLOCKS, HIDDEN, VOCABULARY = 32, 4096, 256_008
BLOCK_WEIGHTS = 12 * HIDDEN**2
"""Weights of the matrix products of one block: four of attention, two of the feed-forward layer of 4 * HIDDEN."""
N_EXAMPLES, N_LANGUAGES, N_VARIANTS, N_GPUS = 5_010, 15, 106, 8
PEAK = GPU_KINDS["A100-80GB"].half
"""Operations per second of an A100 in half precision."""
MOVED_BYTES = GPU_KINDS["A100-80GB"].read_rate
"""Bytes per second from and to the memory of an A100."""
N_HEADS = 32
ELEMENT_PASSES = 28
"""Numbers read and written per hidden feature of a token in a block: 4 by norms, 6 by residual sums, 2 by the scale of
the queries, 8 by transposed queries, keys, values and outputs, 8 by GELU on four times as many features."""
SCORE_BYTES = 26
"""Bytes per head and pair of tokens: 2 written by a product, 8 by mask and bound, 14 by softmax in float32, 2 read."""
LOGIT_BYTES = 28
"""Bytes per logit in float32: written, and read or written six times more for its maximum and logarithm of the sum."""
COPY_BYTES = 4e9
"""Bytes per second from ordinary host memory to the GPU."""
TARGET_HOURS = 2.3


@dataclass(frozen=True)
class Setting:
    """How texts are batched and how many states the head multiplies at once."""

    name: str
    device: str
    states_per_product: int


SETTINGS = (
    Setting("batches as on a CPU", "cpu", log_probs.MAX_CPU_STATES),
    Setting("batches for a GPU", "cuda", log_probs.MAX_LOGITS // VOCABULARY),
)


@dataclass(frozen=True)
class Night:
    """Counts for one variant in one language, and hours for all."""

    name: str
    examples_per_premise: int
    n_tokens: int
    n_batches: int
    n_products: int
    """Passes through a block: prefixes and groups."""
    share_of_slow_rows: float
    """Share of the tokens in products of fewer than 512 rows."""
    operations: float
    seconds: float
    """On one GPU."""

    @property
    def hours(self) -> float:
        """Time of the busiest GPU, with a copy of the weights per variant."""
        n_variants = -(-N_VARIANTS // N_GPUS)
        copy_s = 2 * N_BLOCKS * BLOCK_WEIGHTS / COPY_BYTES
        return n_variants * (N_LANGUAGES * self.seconds + copy_s) / 3600

    @property
    def limit_hours(self) -> float:
        """Time of the same operations at the peak rate, evenly spread over the GPUs."""
        return N_VARIANTS * N_LANGUAGES * self.operations / PEAK / N_GPUS / 3600


def xnli_texts(
    n_examples: int, *, examples_per_premise: int = 1, seed: int = 0, vocabulary: int = VOCABULARY
) -> list[ScoredText]:
    """Three texts per example, which differ in the word between premise and hypothesis.

    Args:
        examples_per_premise: 1: only the texts of one example share a premise; 3: as in XNLI's test split.
    """
    draw = random.Random(seed)

    def words(median: float, spread: float) -> list[int]:
        return [draw.randrange(10, vocabulary) for _ in range(max(3, round(median * draw.lognormvariate(0, spread))))]

    texts = []
    for example in range(n_examples):
        if example % examples_per_premise == 0:
            premise = words(23.1, 0.55)
        hypothesis = words(11.5, 0.4)
        texts += [ScoredText((2, *premise, 4, 5, label, 4, *hypothesis), 1) for label in (6, 7, 8)]
    return texts


def rate(n_rows: int) -> float:
    """Return the stated operations per second of a product of some rows."""
    return PEAK * share_of_peak(n_rows)


def product_rows(planned: TextBatch) -> list[int]:
    """Return the rows of the products of a block: those of the prefixes, then those of each group."""
    return [planned.batch.prefix_ids.numel(), *(group.token_ids.numel() for group in planned.batch.groups)]


def head_rows(planned: TextBatch, states_per_product: int) -> list[int]:
    """Return the rows of the products of the head: distinct states in parts of nearly equal size."""
    n_states = int(planned.batch.states.unique().numel())
    n_parts = -(-n_states // states_per_product)
    return [n_states * (part + 1) // n_parts - n_states * part // n_parts for part in range(n_parts)]


def attention_operations(planned: TextBatch) -> float:
    """Return the operations of attention in all blocks: two products per token and token it attends to."""
    batch = planned.batch
    n_before = batch.prefix_ids.shape[1]
    pairs = batch.prefix_ids.numel() * n_before
    pairs += sum(group.token_ids.numel() * (n_before + group.token_ids.shape[1]) for group in batch.groups)
    return 4.0 * HIDDEN * N_BLOCKS * pairs


def moved_bytes(planned: TextBatch) -> float:
    """Return the bytes that are read and written between the products of all blocks and of the head."""
    batch = planned.batch
    n_before, per_token = batch.prefix_ids.shape[1], 2 * HIDDEN
    pairs, cached = batch.prefix_ids.numel() * n_before, 0
    for group in batch.groups:
        n_rows, length = group.token_ids.shape
        pairs += n_rows * length * (n_before + length)
        cached += n_rows * (2 * n_before + 3 * (n_before + length))  # gathered, joined and read by the products
    of_block = per_token * (ELEMENT_PASSES * batch.n_computed + 2 * cached) + SCORE_BYTES * N_HEADS * pairs
    return N_BLOCKS * of_block + LOGIT_BYTES * VOCABULARY * float(batch.states.unique().numel())


def count_night(setting: Setting, texts: Sequence[ScoredText], *, examples_per_premise: int) -> Night:
    """Count the products of the texts' batches, and how long they take at the stated rates."""
    batches = plan_texts(texts, batch_tokens=AUTO_BATCH_TOKENS[setting.device], device=setting.device)
    rows = [n_rows for planned in batches for n_rows in product_rows(planned)]
    products = [(n_rows, 2.0 * n_rows * N_BLOCKS * BLOCK_WEIGHTS) for n_rows in rows]
    for planned in batches:
        products += [
            (n_rows, 2.0 * n_rows * HIDDEN * VOCABULARY) for n_rows in head_rows(planned, setting.states_per_product)
        ]
        products.append((SLOW_ROWS, attention_operations(planned)))
    return Night(
        name=setting.name,
        examples_per_premise=examples_per_premise,
        n_tokens=sum(rows),
        n_batches=len(batches),
        n_products=len(rows),
        share_of_slow_rows=sum(n_rows for n_rows in rows if n_rows < FAST_ROWS) / sum(rows),
        operations=sum(operations for _, operations in products),
        seconds=sum(operations / rate(n_rows) for n_rows, operations in products)
        + sum(map(moved_bytes, batches)) / MOVED_BYTES,
    )


def table(nights: Sequence[Night]) -> str:
    """Return the rows in Markdown."""
    head = (
        "| batches | examples per premise | tokens per language | batches | passes through a block | tokens in products"
    )
    lines = [f"{head} below 512 rows | s per language and variant | hours | limit at 312 TFLOP/s |", "|---" * 9 + "|"]
    for night in nights:
        cells = [night.name, night.examples_per_premise, f"{night.n_tokens:,}", night.n_batches, night.n_products]
        cells += [f"{night.share_of_slow_rows:.0%}", f"{night.seconds:.1f}", f"{night.hours:.2f}"]
        lines.append("| " + " | ".join(map(str, [*cells, f"{night.limit_hours:.2f}"])) + " |")
    return "\n".join(lines)


def figures(night: Night) -> Mapping[str, object]:
    """Return counts and hours."""
    return {**asdict(night), "hours": night.hours, "limit_hours": night.limit_hours}


def main() -> None:
    """Print the table, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--examples", type=int, default=N_EXAMPLES, help="examples per language (default: XNLI's 5,010)"
    )
    parser.add_argument("--out", type=Path, help="write all figures to this file as JSON")
    options = parser.parse_args()
    nights = []
    for examples_per_premise in (1, 3):
        texts = xnli_texts(options.examples, examples_per_premise=examples_per_premise)
        mean = sum(len(text.tokens) for text in texts) / len(texts)
        print(f"{len(texts):,} texts of {mean:.1f} tokens, {examples_per_premise} examples per premise")
        nights += [count_night(setting, texts, examples_per_premise=examples_per_premise) for setting in SETTINGS]
    print(table(nights))
    if options.examples == N_EXAMPLES:
        slowest = max(night.hours for night in nights if night.name == SETTINGS[-1].name)
        reached = "reached" if slowest <= TARGET_HOURS else "not reached"
        print(f"target <= {TARGET_HOURS} h: {reached} ({slowest:.2f} h)")
    if options.out:
        options.out.write_text(json.dumps([figures(night) for night in nights], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
