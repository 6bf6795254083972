"""Count what a GPU would be asked to do, on a pretended GPU: kernels, waits of the host, and bytes copied to the GPU.

python tests/benchmarks/device_counts.py                    the whole table, about two minutes; needs no GPU
python tests/benchmarks/device_counts.py --only swap --lines 20    one row, with the lines of the code that cause it

Counts depend on the number of blocks and on the batch, not on the width of the model, except those of statistics. The
scoring model has 24 blocks and the vocabulary of XGLM (256,008); the demonstration is observed in the width of
XGLM-564M, in models of 1 and 2 blocks, from which 24 blocks are extrapolated.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from mlprune.evaluation.scoring.batches import ScoredText, plan_texts
from mlprune.models.inference.decoding import StoppingCriteria, decode
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import ScoringBatch, TokenBatch
from mlprune.models.placement.memory_estimate import footprint
from mlprune.processes.parallel import set_worker_threads
from mlprune.recipe.models import AUTO_BATCH_TOKENS
from mlprune.steps.evaluate.model_evaluation import apply_variant
from mlprune.store.store import Store
from tests.pretended_gpus import Ledger, pretended_gpus
from tests.tiny_models import PAD, save_tiny_model
from tests.tiny_recipes import run_here, small_recipe, write_recipe, write_texts

VOCABULARY, BLOCKS, WIDTH = 256_008, 24, 1024
SMALL_VOCABULARY, FEW_BLOCKS, LITTLE_WIDTH = 2_000, 2, 64
GPU_BYTES = 80 * 10**9
N_PROMPTS, N_TOKENS = 16, 512


@dataclass(frozen=True)
class Count:
    """One line of the table."""

    what: str
    unit: str
    count: float
    must_reach: float | None

    @property
    def line(self) -> str:
        """The line in Markdown."""
        reached = "" if self.must_reach is None else "yes" if self.count <= self.must_reach else "**no**"
        bound = "" if self.must_reach is None else f"<= {self.must_reach:g}"
        return f"| {self.what} | {self.unit} | {self.count:,.{0 if self.count >= 10 else 2}f} | {bound} | {reached} |"


HEAD = "| what | unit | count | must reach | reached |\n|---|---|---|---|---|"


@dataclass(frozen=True)
class Counting:
    """Where to count, and on which scale.

    Args:
        show: called with the name of a scenario and its ledger.
    """

    folder: Path
    is_small: bool
    show: Callable[[str, Ledger], None]

    def model(self, name: str, *, vocabulary: int, **shape: int) -> Path:
        """Write a random XGLM, once."""
        folder = self.folder / name
        if not folder.exists():
            save_tiny_model(folder, vocab_size=SMALL_VOCABULARY if self.is_small else vocabulary, **shape)
        return folder

    @property
    def scoring_model(self) -> Path:
        blocks = FEW_BLOCKS if self.is_small else BLOCKS
        return self.model("scoring", vocabulary=VOCABULARY, blocks=blocks, positions=256)


class _HeadApart(ScoringVisitor):
    """Scoring that remembers the counts before the head."""

    def finish(self, runner: Any, states: Any) -> Any:
        ledger = _HeadApart.ledger
        _HeadApart.before = ledger.kernels, ledger.waits
        return super().finish(runner, states)

    ledger = Ledger()
    before = (0, 0)


def scoring_rows(counting: Counting, device: str, n_computed: int, *, must: tuple[int, int]) -> list[Count]:
    """One batch of XNLI-like texts, planned for a kind of device: the head alone, and the whole batch."""
    batch = _scoring_batch(device, n_computed, vocabulary=SMALL_VOCABULARY if counting.is_small else VOCABULARY)
    with pretended_gpus(free_bytes=GPU_BYTES) as ledger:
        chain = local_chain(counting.scoring_model)
        ledger.clear()
        _HeadApart.ledger = ledger
        list(chain.stream(_HeadApart, [batch]))
        kernels, waits = (now - n for now, n in zip((ledger.kernels, ledger.waits), _HeadApart.before, strict=True))
    what = f"scoring, batch of {batch.n_computed:,} tokens"
    counting.show(what, ledger)
    return [
        Count(f"{what}, head alone", "kernels", kernels, must[0]),
        Count(f"{what}, head alone", "waits", waits, must[1]),
        Count(f"{what}, whole batch", "kernels", ledger.kernels, None),
        Count(f"{what}, whole batch", "waits", ledger.waits, None),
    ]


def _scoring_batch(device: str, n_computed: int, *, vocabulary: int) -> ScoringBatch:
    """The first batch of texts like those of XNLI whose computed tokens are nearest to a number, from a few seeds."""
    batches, batch_tokens = [], AUTO_BATCH_TOKENS[device]
    for seed in range(20):
        texts = _xnli_texts(random.Random(seed), n=batch_tokens // 10 + 12, vocabulary=vocabulary)
        batches += [planned.batch for planned in plan_texts(texts, batch_tokens=batch_tokens, device=device)]
        if any(batch.n_computed == n_computed for batch in batches):
            break
    return min(batches, key=lambda batch: abs(batch.n_computed - n_computed))


def _xnli_texts(draw: random.Random, *, n: int, vocabulary: int) -> list[ScoredText]:
    """Premises with three hypotheses, each with three labels between the two; scored without context."""

    def tokens(median: float, spread: float) -> tuple[int, ...]:
        length = min(90, max(3, round(median * draw.lognormvariate(0, spread))))
        return tuple(draw.randrange(3, vocabulary) for _ in range(length))

    labels = [(11, 12, 13), (11, 12, 14), (11, 12, 15)]
    texts = []
    for _ in range(n // 9 + 1):
        premise = tokens(26, 0.3)
        hypotheses = [tokens(13.5, 0.25) for _ in range(3)]
        texts += [ScoredText((1, *premise, *label, *words), 1) for words in hypotheses for label in labels]
    return texts


def short_rows(counting: Counting) -> list[Count]:
    """The batch of the default size for a CPU."""
    return scoring_rows(counting, "cpu", 474, must=(100, 4))


def long_rows(counting: Counting) -> list[Count]:
    """A batch of the size for a GPU."""
    return scoring_rows(counting, "cuda", 7644, must=(1000, 20))


def statistics_rows(counting: Counting) -> list[Count]:
    """One demonstration, observed in all blocks."""
    width, n_tokens = (LITTLE_WIDTH, 32) if counting.is_small else (WIDTH, N_TOKENS)
    counts = []
    for blocks in (1, 2):
        name = f"statistics-{blocks}"
        folder = counting.model(name, vocabulary=SMALL_VOCABULARY, blocks=blocks, hidden=width, positions=n_tokens)
        token_ids = torch.randint(3, 1000, (1, n_tokens), generator=torch.Generator().manual_seed(0))
        mask = torch.ones_like(token_ids, dtype=torch.bool)
        with pretended_gpus(free_bytes=GPU_BYTES) as ledger:
            chain = local_chain(folder)
            ledger.clear()
            list(chain.stream(StatisticsVisitor, [TokenBatch(token_ids, mask, mask)]))
        counts.append((ledger.operations, ledger.waits))
    what = f"statistics of one demonstration of {n_tokens} tokens, {BLOCKS} blocks"
    counting.show(f"{what} (2 counted)", ledger)
    operations, waits = (one + (BLOCKS - 1) * (two - one) for one, two in zip(*counts, strict=True))
    return [Count(what, "host operations", operations, 4000), Count(what, "waits", waits, 10)]


def decoding_rows(counting: Counting) -> list[Count]:
    """Prompts that share a few-shot header: the steps after the first."""
    rows = []
    for n_prompts, must in ((N_PROMPTS, (150, 1)), (1, (None, None))):
        draw = random.Random(0)
        header = [draw.randrange(3, 1000) for _ in range(60)]
        prompts = [[*header, *(draw.randrange(3, 1000) for _ in range(5 + number))] for number in range(n_prompts)]
        counts = []
        for n_new in (2, 6):
            with pretended_gpus(free_bytes=GPU_BYTES) as ledger:
                chain = local_chain(counting.scoring_model)
                ledger.clear()
                decode(chain, prompts, StoppingCriteria(n_new, -1), pad_id=PAD)
            counts.append((ledger.operations, ledger.waits))
        operations, waits = ((after - before) / 4 for before, after in zip(*counts, strict=True))
        what = f"decoding, prompts in the batch: {n_prompts}"
        counting.show(what, ledger)
        rows.append(Count(what, "host operations per generated token", operations / n_prompts, must[0]))
        rows.append(Count(what, "waits per step", waits, must[1]))
    return rows


def swap_rows(counting: Counting) -> list[Count]:
    """Replace one variant by another, as the step `evaluate` does."""
    folder = counting.folder / "swap"
    save_tiny_model(folder / "model", hidden=LITTLE_WIDTH, blocks=4)
    write_texts(folder)
    variants = [{"name": "m", "score": "magnitude", "sparsity": [0.4, 0.6]}]
    store = Store(folder / "store")
    run_here(write_recipe(folder, {**small_recipe(), "variants": variants, "evaluations": []}), store)
    found = [record for record in store.records("variants") if record.rows["variants"][0]["sparsity"] > 0]
    with pretended_gpus(free_bytes=GPU_BYTES) as ledger:
        chain = local_chain(folder / "model")
        (first, second) = (record.id for record in found)
        for variant_id in (first, second, first):
            ledger.clear()
            apply_variant(chain, store, variant_id)
    counting.show("swapping a variant", ledger)
    n_weights = chain.n_blocks * sum(footprint(folder / "model", "float32").prunable)
    a_weight = ledger.bytes_to_device / n_weights
    return [Count("swapping a variant, the third in a row", "bytes to the device per weight", a_weight, 0.2)]


ROWS: Mapping[str, Callable[[Counting], list[Count]]] = {
    "short": short_rows,
    "long": long_rows,
    "statistics": statistics_rows,
    "decoding": decoding_rows,
    "swap": swap_rows,
}
"""Names that `--only` accepts."""


def main() -> None:
    """Count, print the table and write the figures."""
    options = _options()
    set_worker_threads(1)

    def show(what: str, ledger: Ledger) -> None:
        if options.lines:
            print(f"{what}\n{ledger.by_line(options.lines)}\n", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="mlprune-counts-") as folder:
        counting = Counting(Path(folder), options.small, show)
        rows = [row for name in options.only or ROWS for row in ROWS[name](counting)]
    print("\n".join([HEAD, *(row.line for row in rows)]))
    if options.out:
        options.out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--only", action="append", choices=sorted(ROWS), help="count only this; repeatable")
    parser.add_argument("--lines", type=int, default=0, help="print the busiest lines of the code of each scenario")
    parser.add_argument("--small", action="store_true", help="a tiny model, to check that the script runs")
    parser.add_argument("--out", type=Path, help="write all counts to this file as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
