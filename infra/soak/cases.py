"""The commands of a soak: what each starts from, its arguments, and the result it must have after kills."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.soak.comparison import differences
from infra.soak.damage import fresh_copy
from mlprune.store.store import Store
from tests.tiny_recipes import small_recipe, write_inputs, write_recipe

OLD_S = 40 * 3600


@dataclass(frozen=True)
class Scene:
    """The inputs that all commands share, and finished stores."""

    folder: Path

    @property
    def recipe(self) -> Path:
        """The recipe whose store is `finished`."""
        return self.folder / "inputs" / "recipe.yaml"

    @property
    def other_recipe(self) -> Path:
        """The recipe whose store is `other`."""
        return self.folder / "inputs" / "other.yaml"

    @property
    def model(self) -> Path:
        """The model of both recipes."""
        return self.folder / "inputs" / "model"

    @property
    def finished(self) -> Path:
        """The undisturbed store of the recipe."""
        return self.folder / "finished"

    @property
    def other(self) -> Path:
        """The undisturbed store of the other recipe."""
        return self.folder / "other"

    @property
    def variant(self) -> str:
        """A masked variant of the finished store."""
        rows = (record.rows["variants"][0] for record in Store(self.finished).records("variants"))
        return next(str(row["variant_id"]) for row in rows if row["mask_sha256"] is not None)


def write_scene(folder: Path) -> Scene:
    """Write the inputs: a tiny model, and two recipes that share one sweep."""
    scene = Scene(folder)
    write_inputs(folder / "inputs")
    recipe = small_recipe()
    write_recipe(folder / "inputs", recipe, name=scene.recipe.name)
    other = {**recipe, "name": "other", "variants": [recipe["variants"][1], {"name": "random", "score": "random"}]}
    other["variants"][1]["sparsity"] = [0.25, 0.5]
    write_recipe(folder / "inputs", other, name=scene.other_recipe.name)
    return scene


Prepare = Callable[[Scene, Path], None]
Words = Callable[[Scene, Path], Sequence[str]]
Compare = Callable[[Path, Path], Iterator[str]]


def _empty(_scene: Scene, _work: Path) -> None:
    return


def _finished(scene: Scene, work: Path) -> None:
    fresh_copy(scene.finished, work / "store")


def _without_catalog(scene: Scene, work: Path) -> None:
    _finished(scene, work)
    (work / "store" / "catalog.duckdb").unlink(missing_ok=True)


def _with_garbage(scene: Scene, work: Path) -> None:
    _finished(scene, work)
    then = time.time() - OLD_S
    for number in range(40):
        path = work / "store" / "masks" / f"garbage-{number}.parquet"
        path.write_bytes(b"unreferenced")
        os.utime(path, (then, then))


def _compare_stores(work: Path, undisturbed: Path) -> Iterator[str]:
    return differences(work / "store", undisturbed / "store")


def _compare_folders(work: Path, undisturbed: Path) -> Iterator[str]:
    """Compare what a command wrote next to the store, byte for byte."""
    actual, expected = _files(work / "out"), _files(undisturbed / "out")
    for path in sorted({*actual, *expected}):
        if actual.get(path) != expected.get(path):
            yield f"different output: {path}"
    yield from _compare_stores(work, undisturbed)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Case:
    """One command of a soak."""

    words: Words
    prepare: Prepare = _finished
    compare: Compare = _compare_stores
    weight: int = 1
    """How often it is drawn."""
    is_damaged: bool = False
    """Whether the store is damaged before the command and between its kills."""
    writes_once: bool = False
    """Whether the command refuses a result that exists."""


def _run(scene: Scene, work: Path) -> Sequence[str]:
    return "run", str(scene.recipe), "--store", str(work / "store"), "--address", "none"


def _on_store(*words: str) -> Words:
    return lambda scene, work: (*words, "--store", str(work / "store"))


CASES: Mapping[str, Case] = {
    "run": Case(_run, prepare=_empty, weight=4),
    "run --scrub": Case(lambda scene, work: (*_run(scene, work), "--scrub"), weight=3, is_damaged=True),
    "query": Case(_on_store("query", "SELECT count(*) FROM metrics"), prepare=_without_catalog),
    "catalog rebuild": Case(_on_store("catalog", "rebuild")),
    "catalog merge": Case(
        lambda scene, work: ("catalog", "merge", str(scene.other), "--store", str(work / "store")), weight=2
    ),
    "store compact": Case(_on_store("store", "compact")),
    "gc": Case(_on_store("gc", "--delete"), prepare=_with_garbage),
    "rescore": Case(_on_store("rescore", "--rule", "candidate_sum"), weight=2),
    "export": Case(
        lambda scene, work: (
            *("export", scene.variant, str(work / "out"), "--model", str(scene.model)),
            *("--store", str(work / "store")),
        ),
        compare=_compare_folders,
        writes_once=True,
    ),
    "report": Case(lambda scene, work: ("report", "--store", str(work / "store"), "--out", str(work / "page.html"))),
}
"""Name -> case. A command added here is killed like the others."""
