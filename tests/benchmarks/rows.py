"""Rows of the benchmark table: which measurements are compared, and the required ratio."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench import Bench
from inputs import TEN_SPARSITIES, XGLM_VOCABULARY

GIB = 2**30
FORWARD_SHARE = 0.7
"""A fair opponent's forward passes reach at least this share of the rate of the matrix products that it calls."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    what: str
    opponent: str
    ours: str
    figure: str
    """The ratio, or another value that is compared with the bound."""
    must_reach: str
    """Empty for rows without a requirement."""
    is_reached: bool | None

    @property
    def line(self) -> str:
        """The row in Markdown."""
        reached = {True: "yes", False: "**no**", None: ""}[self.is_reached]
        return f"| {self.what} | {self.opponent} | {self.ours} | {self.figure} | {self.must_reach} | {reached} |"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


HEAD = "| what | opponent | ours | ratio | must reach | reached |\n|---|---|---|---|---|---|"


def _faster(name: str, what: str, *, opponent: float, ours: float, must: float | None) -> Row:
    """A row of seconds in which mlprune must be `must` times faster."""
    ratio = opponent / ours
    bound = "" if must is None else f"{must:g}x"
    return Row(name, what, _s(opponent), _s(ours), f"{ratio:.1f}x", bound, None if must is None else ratio >= must)


def _at_most(name: str, what: str, *, one: float, ten: float, must: float) -> Row:
    """A row of seconds in which ten sparsities may take at most `must` times as long as one."""
    return Row(
        name, what, f"one: {_s(one)}", f"ten: {_s(ten)}", f"{ten / one:.2f}x", f"<= {must:g}x", ten / one <= must
    )


def _s(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def mask_rows(bench: Bench) -> list[Row]:
    """Time of the keep mask of one matrix, without and with ties."""
    found = bench.kernel()
    size = f"{bench.size.matrix}x{bench.size.matrix} float32"
    copy = f"copying the matrix takes {_s(found['copy'])}"
    return [
        _faster("mask", f"keep mask, {size} ({copy})", opponent=found["sort"], ours=found["ours"], must=20),
        _faster(
            "mask tied",
            "the same, scores of 64 different values: ties",
            opponent=found["sort_tied"],
            ours=found["ours_tied"],
            must=20,
        ),
    ]


def ten_rows(bench: Bench) -> list[Row]:
    """Ten sparsities compared with one: the ordering alone, the whole step, and the whole run."""
    kernel, one, ten = bench.kernel(), bench.ours("dense"), bench.ours("ten")
    size = f"{bench.size.matrix}x{bench.size.matrix}"
    return [
        _at_most("ten", f"ten sparsities, ordering a {size} matrix", one=kernel["one"], ten=kernel["ten"], must=1.5),
        _at_most(
            "ten step",
            "ten sparsities, the step `prune` of the whole model, mask files and records included",
            one=one["steps"]["prune"],
            ten=ten["steps"]["prune"],
            must=1.5,
        ),
        _at_most("ten run", "ten sparsities, the whole run", one=one["total"], ten=ten["total"], must=1.5),
    ]


def sequential_rows(bench: Bench) -> list[Row]:
    """One variant with sequential propagation, as in Wanda."""
    opponent, ours = bench.loop()["total"], bench.ours("sequential")["total"]
    return [_faster("sequential", "one `sequential` variant, float32", opponent=opponent, ours=ours, must=2.8)]


def dense_rows(bench: Bench) -> list[Row]:
    """One variant from statistics of the dense model."""
    opponent, ours = bench.loop()["total"], bench.ours("dense")["total"]
    return [_faster("dense", "one `dense` variant, float32", opponent=opponent, ours=ours, must=5)]


def hundred_rows(bench: Bench) -> list[Row]:
    """One hundred variants in float32."""
    opponent, ours = 100 * bench.loop()["total"], bench.ours("hundred")["total"]
    return [_faster("hundred", "100 `dense` variants, float32", opponent=opponent, ours=ours, must=50)]


def hundred_bfloat16_rows(bench: Bench) -> list[Row]:
    """One hundred variants in bfloat16, compared with the loop in float32 and, for information, in bfloat16."""
    ours = bench.ours("hundred_bfloat16")["total"]
    what = "100 `dense` variants, bfloat16"
    return [
        _faster("hundred bfloat16", what, opponent=100 * bench.loop()["total"], ours=ours, must=100),
        _faster(
            "hundred both bfloat16",
            f"{what}, the loop in bfloat16 too",
            opponent=100 * bench.loop("bfloat16")["total"],
            ours=ours,
            must=None,
        ),
    ]


def bfloat16_rows(bench: Bench) -> list[Row]:
    """Speed-up of bfloat16 and its effect on the masks."""
    float32, bfloat16 = bench.ours("ten")["total"], bench.ours("ten_bfloat16")["total"]
    equal = bench.agreement()["equal"]
    words = f"{min(equal.values()):.2%} to {max(equal.values()):.2%}"
    return [
        _faster("bfloat16", "ten sparsities, bfloat16 against our float32", opponent=float32, ours=bfloat16, must=None),
        Row("bfloat16 masks", "mask entries that are equal in bfloat16 and float32", "", "", words, "", None),
    ]


def memory_rows(bench: Bench) -> list[Row]:
    """Peak memory above that of the loaded and used libraries, with XGLM's vocabulary."""
    bench = bench.with_vocabulary(XGLM_VOCABULARY)
    limit = bench.inputs()["model_bytes"] + bench.size.block_bytes + bench.size.hidden_bytes
    rows = []
    for name in ("sequential", "dense"):
        found = bench.ours(name)
        grown = found["peak_bytes"] - found["libraries_bytes"]
        ours = f"{grown / GIB:.2f} GiB (libraries {found['libraries_bytes'] / GIB:.2f} more)"
        what = f"peak memory, one `{name}`, vocabulary {XGLM_VOCABULARY:,}, against model + block + hidden states"
        figure = f"{grown / limit:.2f}"
        rows.append(Row(f"memory {name}", what, f"{limit / GIB:.2f} GiB", ours, figure, "< 1", grown < limit))
    return rows


def bytes_rows(bench: Bench) -> list[Row]:
    """Size of the stored masks."""
    a_weight = bench.ours("ten")["mask_bytes"] / bench.size.n_prunable
    what = f"stored masks of ten nested sparsities ({TEN_SPARSITIES[0]} to {TEN_SPARSITIES[-1]}), bytes a weight"
    return [Row("bytes", what, "", f"{a_weight:.3f}", "", "<= 0.5", a_weight <= 0.5)]


def fair_rows(bench: Bench) -> list[Row]:
    """Checks that the opponent is a fair baseline."""
    loop, rate, same = bench.loop(), bench.rate(), bench.same_masks()
    share = loop["forward_gflop_per_s"] / rate["float32"]["torch"]
    forwards = Row(
        "fair rate",
        "the opponent's forwards, GFLOP/s, against torch's matrix products",
        f"{loop['forward_gflop_per_s']:.0f}",
        f"{rate['float32']['torch']:.0f}",
        f"{share:.0%}",
        f">= {FORWARD_SHARE:.0%}",
        share >= FORWARD_SHARE,
    )
    beyond = same["n_different_beyond_ties"]
    masks = Row(
        "fair masks",
        "masks of the opponent and of our sweep, both counting real tokens",
        "",
        f"{same['n_different']} of {same['n_weights']} differ",
        f"{beyond} by more than a near tie",
        "0",
        beyond == 0,
    )
    return [forwards, masks]


ROWS: Mapping[str, Callable[[Bench], list[Row]]] = {
    "mask": mask_rows,
    "ten": ten_rows,
    "sequential": sequential_rows,
    "dense": dense_rows,
    "hundred": hundred_rows,
    "hundred-bfloat16": hundred_bfloat16_rows,
    "bfloat16": bfloat16_rows,
    "memory": memory_rows,
    "bytes": bytes_rows,
    "fair": fair_rows,
}
"""Names that `--only` accepts."""
