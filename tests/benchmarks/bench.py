"""Measurements on one set of inputs. Each runs on demand, in its own process."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import measurements
from inputs import FULL, PAIRS, SEEDS, SMALL, TEN_SPARSITIES, Size, write_recipe
from process import measured

SIZES = {"full": FULL, "small": SMALL}

OURS: dict[str, dict[str, Any]] = {
    "sequential": {"propagation": "sequential"},
    "dense": {},
    "ten": {"sparsity": list(TEN_SPARSITIES)},
    "ten_bfloat16": {"sparsity": list(TEN_SPARSITIES), "dtype": "bfloat16"},
    "hundred": {"pairs": PAIRS, "seeds": SEEDS, "sparsity": list(TEN_SPARSITIES)},
    "hundred_bfloat16": {"pairs": PAIRS, "seeds": SEEDS, "sparsity": list(TEN_SPARSITIES), "dtype": "bfloat16"},
}
"""Name of a measurement -> settings of its recipe."""


@dataclass
class Bench:
    """Measurements on one set of inputs; each is made on first use and cached.

    Args:
        folder: an empty folder for model, corpus, recipes and stores.
        size: of the model.
        repeat: number of runs of each timed measurement; the median is reported.
    """

    folder: Path
    size: Size
    repeat: int
    log: Callable[[str], None]
    """Receives a line about the current measurement."""
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name -> figures measured so far."""
    others: "dict[str, Bench]" = field(default_factory=dict)
    """Name -> measurements on other models."""

    def __post_init__(self) -> None:
        (self.folder / "warm").mkdir(parents=True)

    def with_vocabulary(self, vocabulary: int) -> "Bench":
        """Measurements on a model with another vocabulary size, created on first use."""
        name = f"vocabulary-{vocabulary}"
        if name not in self.others:
            size = replace(self.size, vocabulary=vocabulary)
            self.others[name] = Bench(self.folder / name, size, repeat=self.repeat, log=self.log)
        return self.others[name]

    def inputs(self) -> dict[str, Any]:
        """Write model and corpus and return their sizes."""
        return self._make("inputs", measurements.make_inputs, self.folder, self.size)

    def rate(self) -> dict[str, Any]:
        """Rate of matrix products in float32 and bfloat16."""
        return self._make("rate", measurements.rate, self.size)

    def kernel(self) -> dict[str, Any]:
        """Time to compute the mask of one matrix."""
        return self._make("kernel", measurements.kernel, self.size)

    def ours(self, name: str) -> dict[str, Any]:
        """Run a recipe of OURS; the store of the last run is kept."""
        self.inputs()
        if name not in self.found:
            runs = []
            for number in range(self.repeat):
                recipe = write_recipe(self.folder, name, size=self.size, **OURS[name])
                warm = self.folder / "warm" / f"{OURS[name].get('propagation', 'dense')}.yaml"
                runs.append(self._run(f"ours: {name}", measurements.ours, warm, recipe, self.store(name, number)))
            self.found[name] = _middle(runs)
        return self.found[name]

    def store(self, name: str, number: int = -1) -> Path:
        """Store of one of our runs, by default the last."""
        return self.folder / f"{name}-{number % self.repeat}-store"

    def loop(self, dtype: str = "float32") -> dict[str, Any]:
        """Wanda's loop, which counts padding, on the samples of `sequential`."""
        name = f"loop_{dtype}"
        if name not in self.found:
            arguments = (measurements.loop, self.folder, self.size, self._samples(), dtype)
            runs = [self._run(name, *arguments) for _ in range(self.repeat)]
            self.found[name] = _middle(runs)
        return self.found[name]

    def same_masks(self) -> dict[str, Any]:
        """Wanda's loop on real tokens only; its masks are compared with those of `sequential`."""
        self.ours("sequential")
        arguments = (self.folder, self.size, self._samples(), self.store("sequential"))
        return self._make("same_masks", measurements.same_masks, *arguments)

    def agreement(self) -> dict[str, Any]:
        """Compare the masks of `ten_bfloat16` with those of `ten`."""
        self.ours("ten")
        self.ours("ten_bfloat16")
        return self._make("agreement", measurements.agreement, self.store("ten"), self.store("ten_bfloat16"))

    def _samples(self) -> Path:
        """Write the token ids that the recipe `sequential` prunes with to a file."""
        self.inputs()
        recipe, path = write_recipe(self.folder, "samples", size=self.size), self.folder / "samples.json"
        self._make("samples", measurements.samples, recipe, self.folder / "samples-store", path)
        return path

    def _make(self, name: str, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        if name not in self.found:
            self.found[name] = self._run(name, function, *args)
        return self.found[name]

    def _run(self, words: str, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        self.log(f"{words} ...")
        return measured(function, *args)


def _middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run with the median total, plus the totals of all runs."""
    ordered = sorted(runs, key=lambda run: run["total"])
    return {**ordered[len(ordered) // 2], "totals": [run["total"] for run in runs]}
