"""Measure scoring: lm-evaluation-harness requests answered by mlprune and by the harness's own Hugging Face class.

python tests/benchmarks/scoring.py --out scoring.json       the whole table
python tests/benchmarks/scoring.py --only float32           some rows
python tests/benchmarks/scoring.py --small                  a tiny model, to check that the benchmark runs

The requests are those of XNLI in the harness: three whole texts per example without context, three hypotheses per
premise. The model is random and has the shape and the vocabulary (256,008) of XGLM-564M. Every measurement has its own
process. Loading is timed separately, and a short warm-up request is answered first. The row `twenty` compares CPU time
of one thread, the medians of alternating samples, on four blocks with a small vocabulary.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from command_line import option_parser, write_figures
from conditions import machine, moment
from inputs import FULL, SMALL, Size, write_inputs, write_recipe
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from ours import N_THREADS, prune_by_recipe
from process import measured, memory_bytes
from rows import GIB, HEAD, Row

from mlprune.capabilities.harness.adapter import ChainModel
from mlprune.evaluation.scoring.batches import TextLimits
from mlprune.evaluation.scoring.candidates import prepare, run
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.models.chain import Chain
from mlprune.models.loading import load_tokenizer
from mlprune.models.local_chain import local_chain
from mlprune.processes.parallel import set_worker_threads
from mlprune.recipe.models import AUTO_BATCH_TOKENS
from mlprune.steps.evaluate.model_evaluation import apply_variant
from mlprune.store.store import Store

SHAPE = replace(FULL, vocabulary=256_008)
EXAMPLES = 96
SMALL_EXAMPLES = 12
EXAMPLES_A_VARIANT = 12
VARIANTS = 20
VARIANTS_BLOCKS = 4
SAMPLES = 5
"""Samples of each side of the row `twenty`."""
TWENTY_TIMES = 1.0
"""Required ratio of separate loads to one run: a swap costs no more than mapping a cached file again."""
HYPOTHESES = 3
"""Hypotheses per premise, as in XNLI."""
BATCH_TOKENS = AUTO_BATCH_TOKENS["cpu"]
"""Default of recipes."""
THEIR_BATCH = 64
"""Rows per batch of the harness: the largest batch it tries by default."""
OTHER_BATCHES = (1, 16)
TEMPLATE = "{premise} w1 w2 {label} w6 {hypothesis}"
LABELS = ("w3", "w4", "w5")
FIRST_TEXTS = ["w7 w8 w9"]
"""A first request, during which the system reads the weights: part of a load where loads are compared."""
SAME = 1e-4
EQUAL = "largest difference of a sum, beyond what rounding theirs to float32 makes of it"

Answers = list[tuple[float, bool]]


@dataclass(frozen=True)
class Clock:
    """What a measurement counts, and with how many threads."""

    now: Callable[[], float]
    n_threads: int


WALL = Clock(perf_counter, N_THREADS)
CPU = Clock(process_time, 1)
"""A second thread that waits actively would count."""


def examples(n: int, *, vocabulary: int, longest: int) -> list[list[str]]:
    """Three texts per example, about as long as XNLI's English ones in XGLM tokens: 43 on average."""
    draw = random.Random(0)

    def words(median: float, spread: float) -> str:
        length = min(longest // 2 - 4, max(3, round(median * draw.lognormvariate(0, spread))))
        return " ".join(f"w{draw.randrange(7, vocabulary // 2)}" for _ in range(length))

    premises = [words(22, 0.55) for _ in range(-(-n // HYPOTHESES))]
    pairs = [(premises[number // HYPOTHESES], words(11.5, 0.4)) for number in range(n)]
    return [
        [TEMPLATE.format(premise=premise, label=label, hypothesis=hypothesis) for label in LABELS]
        for premise, hypothesis in pairs
    ]


def asked(texts: list[list[str]]) -> list[Instance]:
    """Harness requests for texts."""
    return [
        Instance("loglikelihood", {}, ("", text), place, ("xnli", number, 1))
        for number, candidates in enumerate(texts)
        for place, text in enumerate(candidates)
    ]


def texts_for(size: Size, n: int) -> list[list[str]]:
    return examples(n, vocabulary=size.vocabulary, longest=size.tokens)


def make_inputs(folder: Path, size: Size) -> dict[str, Any]:
    """Write the model, a corpus and the recipe of twenty variants."""
    write_inputs(folder, size)
    return {"model_bytes": (folder / "model" / "model.safetensors").stat().st_size}


def theirs(folder: Path, texts: list[list[str]], dtype: str, batch: int, clock: Clock) -> dict[str, Any]:
    """Measure the class of the harness."""
    torch.set_num_threads(clock.n_threads)
    started = clock.now()
    model = HFLM(str(folder / "model"), device="cpu", dtype=dtype, batch_size=batch)
    loaded = clock.now() - started
    return _timed(lambda requests: model.loglikelihood(requests, disable_tqdm=True), texts, loaded, clock)


def ours(folder: Path, texts: list[list[str]], dtype: str, clock: Clock) -> dict[str, Any]:
    """Measure the class of mlprune."""
    started = clock.now()
    model = _our_model(_our_chain(folder, dtype, clock), folder)
    return _timed(model.loglikelihood, texts, clock.now() - started, clock)


def evaluation_step(folder: Path, texts: list[list[str]], dtype: str) -> dict[str, Any]:
    """Measure the step `evaluate` on the same texts: tokenised, planned, without their first tokens."""
    chain, tokenizer = _our_chain(folder, dtype, WALL), load_tokenizer(folder / "model")
    items = [ChoiceItem(str(number), LABELS, tuple(candidates), 0) for number, candidates in enumerate(texts)]
    limits = TextLimits(BATCH_TOKENS, max_positions=None)
    run(chain, prepare(tokenizer, [ChoiceItem("warm", ("w7",), ("w7 w8 w9",), 0)], limits))
    started = perf_counter()
    run(chain, prepare(tokenizer, items, limits))
    return {"seconds": perf_counter() - started, "peak_bytes": memory_bytes("VmHWM")}


def make_variants(folder: Path, size: Size) -> dict[str, Any]:
    """Make twenty variants from one dense ordering."""
    sparsities = [round(0.025 + 0.045 * number, 3) for number in range(VARIANTS)]
    recipe = write_recipe(folder, "twenty", size=size, sparsity=sparsities)
    return prune_by_recipe(recipe, folder / "twenty-store").as_dict()


def one_run(folder: Path, texts: list[list[str]], clock: Clock) -> dict[str, Any]:
    """Score all variants in turn; the dense weights are loaded once."""
    store = Store(folder / "twenty-store")
    variants = sorted(record.id for record in store.records("variants") if record.rows["variants"][0]["sparsity"] > 0)
    started = clock.now()
    chain = _our_chain(folder, "float32", clock)
    model = _our_model(chain, folder)
    model.loglikelihood(asked([FIRST_TEXTS]))
    load, swap = clock.now() - started, 0.0
    requests = asked(texts)
    for variant_id in variants:
        began = clock.now()
        apply_variant(chain, store, variant_id)
        swap += clock.now() - began
        model.loglikelihood(requests)
    seconds = clock.now() - started
    scoring = seconds - load - swap
    return {"seconds": seconds, "load": load, "swap": swap, "scoring": scoring, "n_variants": len(variants)}


def _our_chain(folder: Path, dtype: Any, clock: Clock) -> Chain:
    set_worker_threads(clock.n_threads)
    return local_chain(folder / "model", dtype=dtype)


def _our_model(chain: Chain, folder: Path) -> ChainModel:
    positions = json.loads((folder / "model" / "config.json").read_text("utf-8"))["max_position_embeddings"]
    return ChainModel(chain, load_tokenizer(folder / "model"), max_positions=positions, batch_tokens=BATCH_TOKENS)


def _timed(
    answer: Callable[[list[Instance]], Answers], texts: list[list[str]], loaded: float, clock: Clock
) -> dict[str, Any]:
    began = clock.now()
    answer(asked([FIRST_TEXTS]))
    first = clock.now() - began
    requests = asked(texts)
    started = clock.now()
    answers = answer(requests)
    seconds = clock.now() - started
    peak = memory_bytes("VmHWM")
    answered = [list(one) for one in answers]
    return {"seconds": seconds, "load": loaded, "first": first, "peak_bytes": peak, "answers": answered}


@dataclass
class Bench:
    """Measurements on one folder of inputs; each is made on first use."""

    folder: Path
    size: Size
    n_examples: int
    log: Callable[[str], None]
    found: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def texts(self) -> list[list[str]]:
        return texts_for(self.size, self.n_examples)

    def made(self, name: str, function: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
        """Make a measurement; the first call also writes the model."""
        for known, make, arguments in (("inputs", make_inputs, (self.size,)), (name, function, args)):
            if known not in self.found:
                self.log(f"{known} ...")
                self.found[known] = measured(make, self.folder, *arguments)
        return self.found[name]

    def theirs(self, dtype: str = "float32", batch: int = THEIR_BATCH) -> dict[str, Any]:
        return self.made(f"theirs {dtype}, batches of {batch}", theirs, self.texts, dtype, batch, WALL)

    def ours(self, dtype: str = "float32") -> dict[str, Any]:
        return self.made(f"ours {dtype}", ours, self.texts, dtype, WALL)

    def rate(self, found: Mapping[str, Any]) -> float:
        """Examples per second."""
        return self.n_examples / float(found["seconds"])


def float32_rows(bench: Bench) -> list[Row]:
    """Speed, memory and equality, in float32."""
    opponent, own = bench.theirs(), bench.ours()
    pairs = [(a[0], b[0]) for a, b in zip(opponent["answers"], own["answers"], strict=True)]
    gaps = [abs(a - b) for a, b in pairs]
    beyond = max(gap - _rounding(a) for gap, (a, _) in zip(gaps, pairs, strict=True))
    flags = sum(a[1] != b[1] for a, b in zip(opponent["answers"], own["answers"], strict=True))
    share = own["peak_bytes"] / opponent["peak_bytes"]
    sizes = [f"{one['peak_bytes'] / GIB:.2f} GiB" for one in (opponent, own)]
    return [
        _rates(bench, "scoring", "XNLI-style scoring, float32", opponent, own, must=2.5),
        Row("scoring memory", "its peak memory", *sizes, f"{share:.2f}", "<= 0.33", share <= 1 / 3),
        Row("scoring equal", EQUAL, "", "", f"{beyond:.1e}", f"<= {SAME:g}", beyond <= SAME),
        Row("scoring difference", "largest difference of a sum", "", "", f"{max(gaps):.1e}", "", None),
        Row("scoring greedy", "greedy flags that differ", "", "", str(flags), "0", flags == 0),
    ]


def bfloat16_rows(bench: Bench) -> list[Row]:
    """mlprune in bfloat16, compared with the harness in both dtypes."""
    own = bench.ours("bfloat16")
    what = "XNLI-style scoring, ours in bfloat16"
    return [
        _rates(bench, "bfloat16 against float32", f"{what}, theirs in float32", bench.theirs(), own, must=None),
        _rates(bench, "bfloat16 both", f"{what}, theirs too", bench.theirs("bfloat16"), own, must=None),
    ]


def batches_rows(bench: Bench) -> list[Row]:
    """The harness with other batch sizes."""
    own = bench.ours()
    rows = []
    for batch in OTHER_BATCHES:
        opponent = bench.theirs(batch=batch)
        memory = f"{opponent['peak_bytes'] / GIB:.2f} GiB"
        what = f"XNLI-style scoring, float32, theirs in batches of {batch} ({memory})"
        rows.append(_rates(bench, f"batches of {batch}", what, opponent, own, must=None))
    return rows


def step_rows(bench: Bench) -> list[Row]:
    """The step `evaluate` on the same texts."""
    own = bench.made("evaluate", evaluation_step, bench.texts, "float32")
    memory = f"{own['peak_bytes'] / GIB:.2f} GiB"
    what = f"the same texts through the step `evaluate`, float32 ({memory})"
    return [_rates(bench, "step", what, bench.theirs(), own, must=None)]


def twenty_rows(bench: Bench) -> list[Row]:
    """Twenty variants in one run, compared with twenty times one load and evaluation by the harness and by mlprune."""
    blocks, vocabulary = min(VARIANTS_BLOCKS, bench.size.blocks), min(FULL.vocabulary, bench.size.vocabulary)
    size = replace(bench.size, blocks=blocks, vocabulary=vocabulary)
    one = Bench(bench.folder / "twenty", size, EXAMPLES_A_VARIANT, bench.log)
    bench.found["twenty"] = one.found
    one.made("variants", make_variants, one.size)
    sides = {
        "one run": (one_run, one.texts, CPU),
        "the harness's own class": (theirs, one.texts, "float32", THEIR_BATCH, CPU),
        "our own class": (ours, one.texts, "float32", CPU),
    }
    samples = [
        {side: one.made(f"{side}, {number}", *call) for side, call in sides.items()} for number in range(SAMPLES)
    ]
    return [
        *_rows_of_loads("twenty theirs", "the harness's own class", samples, must=None),
        *_rows_of_loads("twenty ours", "our own class", samples, must=TWENTY_TIMES),
    ]


def _rows_of_loads(
    name: str, side: str, samples: Sequence[Mapping[str, Mapping[str, Any]]], *, must: float | None
) -> list[Row]:
    """Rows of one run of all variants, and of as many loads and evaluations by one side."""

    def middle(side: str, *parts: str) -> float:
        return median(sum(sample[side][part] for part in parts) for sample in samples)

    n = samples[0]["one run"]["n_variants"]
    load, scoring = middle(side, "load", "first"), middle(side, "seconds")
    separate = n * (load + scoring)
    what = f"CPU time of {n} variants, {EXAMPLES_A_VARIANT} examples each, against as many loads by {side}"
    rows = []
    for part, their_s, our_s in (
        ("", separate, middle("one run", "seconds")),
        (": loads, and one load with swaps", n * load, middle("one run", "load", "swap")),
        (": scoring", n * scoring, middle("one run", "scoring")),
        (": with scoring as fast as theirs, and swaps that take no time", separate, load + n * scoring),
    ):
        ratio = their_s / our_s
        figures = (f"{their_s:.1f} s", f"{our_s:.1f} s", f"{ratio:.2f}x")
        requirement = ("", None) if part or must is None else (f"{must:g}x", ratio >= must)
        rows.append(Row(name + part.replace(":", ""), what + part, *figures, *requirement))
    return rows


def _rounding(their_sum: float) -> float:
    """Rounding error of the harness, which sums in float32: half the distance to the next number, 6e-5 above 1,024."""
    return float(np.spacing(np.float32(abs(their_sum)))) / 2


def _rates(
    bench: Bench, name: str, what: str, opponent: Mapping[str, Any], own: Mapping[str, Any], *, must: float | None
) -> Row:
    rates = [bench.rate(found) for found in (opponent, own)]
    ratio = rates[1] / rates[0]
    words = [f"{rate:.2f} examples/s" for rate in rates]
    bound = "" if must is None else f"{must:g}x"
    return Row(name, what, *words, f"{ratio:.2f}x", bound, None if must is None else ratio >= must)


ROWS: Mapping[str, Callable[[Bench], list[Row]]] = {
    "float32": float32_rows,
    "bfloat16": bfloat16_rows,
    "batches": batches_rows,
    "step": step_rows,
    "twenty": twenty_rows,
}
"""Names that `--only` accepts."""


def main() -> None:
    """Measure, print the table and write the figures."""
    options = _options()
    started = moment()
    size, n_examples = (SMALL, SMALL_EXAMPLES) if options.small else (SHAPE, options.examples)
    if options.blocks:
        size = replace(size, blocks=options.blocks)
    with tempfile.TemporaryDirectory(prefix="mlprune-scoring-", dir=options.folder) as folder:
        bench = Bench(Path(folder), size, n_examples, log=lambda words: print(words, file=sys.stderr))
        rows = [row for name in options.only or ROWS for row in ROWS[name](bench)]
    conditions = {**machine(), "started": started, "ended": moment(), "examples": n_examples, "blocks": size.blocks}
    if options.small:
        print("**Tiny model: these figures are not meaningful.**\n")
    print("\n".join([HEAD, *(row.line for row in rows)]))
    print(
        f"\n{n_examples} examples on {conditions['cores']} cores of {conditions['cpu']}, load {started['load_1min']}."
    )
    write_figures(options.out, conditions=conditions, rows=[row.as_dict() for row in rows], measurements=bench.found)


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--only", action="append", choices=sorted(ROWS), help="measure only this row; repeatable")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="XNLI-style examples, a multiple of three")
    parser.add_argument("--blocks", type=int, help="number of blocks (default 24)")
    parser.add_argument(
        "--folder", type=Path, help="parent of the temporary folder, which needs 6 GB for the whole table"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
