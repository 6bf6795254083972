"""The commands of a soak: what each starts from, its arguments, and the result it must have after kills."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from infra.soak.comparison import differences
from infra.soak.damage import fresh_copy
from mlprune.store.store import Store
from tests.derived_recipe import coded_recipe
from tests.harness_tasks import task_files
from tests.lm_eval_output import write_output
from tests.search_recipes import REMOVAL, search_recipe
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
    def search_recipe(self) -> Path:
        """A recipe with a search over levels, and one that removes blocks."""
        return self.folder / "inputs" / "search.yaml"

    @property
    def llama_recipe(self) -> Path:
        """A recipe with a model whose tensors have names in GGUF; its store is `llama`."""
        return self.folder / "llama-inputs" / "recipe.yaml"

    @property
    def llama(self) -> Path:
        """The undisturbed store of that recipe."""
        return self.folder / "llama"

    @property
    def coded_recipe(self) -> Path:
        """A recipe of variants with codes."""
        return self.folder / "inputs" / "coded.yaml"

    @property
    def retired(self) -> Path:
        """The finished store, whose masks are retired."""
        return self.folder / "retired"

    @property
    def published(self) -> Path:
        """A published variant of the finished store."""
        return self.folder / "published"

    @property
    def evaluated_elsewhere(self) -> Path:
        """Results of lm-evaluation-harness."""
        return self.folder / "evaluated-elsewhere"

    @property
    def harness_tasks(self) -> Path:
        """Tasks of lm-evaluation-harness."""
        return self.folder / "harness-tasks"

    @property
    def table_spec(self) -> Path:
        """A table of the finished store."""
        return self.folder / "tables.yaml"

    def preparations(self) -> Iterator[Sequence[str]]:
        """Yield the commands that make the stores and folders which other commands start from."""
        stores = {self.recipe: self.finished, self.other_recipe: self.other, self.llama_recipe: self.llama}
        for recipe, store in stores.items():
            yield _run_of(recipe, store)
        fresh_copy(self.finished, self.retired)
        yield "store", "gc", "--keep-days", "0", "--min-age-hours", "0", "--delete", "--store", str(self.retired)
        yield "export", "--as", "masks", self.variant, "--out", str(self.published), "--store", str(self.finished)

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
    recipe["evaluations"][0]["distance"] = True
    write_recipe(folder / "inputs", recipe, name=scene.recipe.name)
    other = {**recipe, "name": "other", "variants": [recipe["variants"][1], {"name": "random", "score": "random"}]}
    other["variants"][1]["sparsity"] = [0.25, 0.5]
    other["variants"].append({"name": "codes", "sparsity": 0, "quantise": {"method": "nearest", "group": "row"}})
    other["evaluations"] = [
        *recipe["evaluations"],
        {"task": "translation", "path": "corpus", "pairs": ["fr-en"], "limit": 3, "shots": 1, "max_new_tokens": 4},
    ]
    written = {"name": "own", "kind": "generated", "language": "fr", "samples": 2, "max_tokens": 24}
    other["demonstrations"] = [*recipe["demonstrations"], written]
    write_recipe(folder / "inputs", other, name=scene.other_recipe.name)
    searches = search_recipe()
    searches["searches"].append(REMOVAL)
    write_recipe(folder / "inputs", searches, name=scene.search_recipe.name)
    write_inputs(folder / "llama-inputs", family="llama")
    write_recipe(folder / "llama-inputs", {**recipe, "variants": recipe["variants"][:1], "evaluations": []})
    write_recipe(folder / "inputs", coded_recipe(), name=scene.coded_recipe.name)
    write_output(scene.evaluated_elsewhere)
    task_files(scene.harness_tasks)
    rows = [{"label": "dense", "dense": True}, {"label": "{score} at {sparsity}", "score": ["wanda"]}]
    table = {"name": "facts", "title": "Facts", "task": "facts", "metric": "accuracy", "choose_on": None, "rows": rows}
    scene.table_spec.write_text(yaml.safe_dump({"tables": [table]}), encoding="utf-8")
    return scene


Prepare = Callable[[Scene, Path], None]
Words = Callable[[Scene, Path], Sequence[str]]
Compare = Callable[[Path, Path], Iterator[str]]


def _empty(_scene: Scene, _work: Path) -> None:
    return


def _finished(scene: Scene, work: Path) -> None:
    fresh_copy(scene.finished, work / "store")


def _other(scene: Scene, work: Path) -> None:
    fresh_copy(scene.other, work / "store")


def _scored(scene: Scene, work: Path) -> None:
    _other(scene, work)
    store, lines = Store(work / "store"), ["evaluation_id,item,score"]
    for record in store.records("evaluations"):
        if record.parameters["task"] == "translation":
            items = store.read_table(record.artefacts[0])["example_id"]
            lines += [f"{record.id},{item},{len(item) / 10}" for item in items]
    (work / "scores.csv").write_text("\n".join(lines), encoding="utf-8")


def _retired(scene: Scene, work: Path) -> None:
    fresh_copy(scene.retired, work / "store")


def _llama(scene: Scene, work: Path) -> None:
    fresh_copy(scene.llama, work / "store")
    (work / "out").mkdir()


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
    """Compare what a command wrote next to the store, byte for byte, and the store."""
    yield from _compare_outputs(work, undisturbed)
    yield from _compare_stores(work, undisturbed)


def _compare_outputs(work: Path, undisturbed: Path) -> Iterator[str]:
    """Compare what a command wrote, byte for byte, without a store."""
    actual, expected = _files(work / "out"), _files(undisturbed / "out")
    yield from (
        f"different output: {path}" for path in sorted({*actual, *expected}) if actual.get(path) != expected.get(path)
    )


def _compare_rows(work: Path, undisturbed: Path) -> Iterator[str]:
    """Compare the lines of what a command wrote next to the store, in any order: the rows of a view have none."""
    actual, expected = (
        {path: sorted(data.splitlines()) for path, data in _files(folder / "out").items()}
        for folder in (work, undisturbed)
    )
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


def _run_of(recipe: Path, store: Path) -> Sequence[str]:
    return "run", str(recipe), "--store", str(store), "--address", "none"


def _run(scene: Scene, work: Path) -> Sequence[str]:
    return _run_of(scene.recipe, work / "store")


def _to_folder(*words: str) -> Words:
    """Return a command that writes a new folder next to the store."""
    return lambda scene, work: (*words, "--out", str(work / "out"), "--store", str(work / "store"))


def _on_store(*words: str) -> Words:
    return lambda scene, work: (*words, "--store", str(work / "store"))


CASES: Mapping[str, Case] = {
    "run": Case(_run, prepare=_empty, weight=4),
    "run (search)": Case(lambda scene, work: _run_of(scene.search_recipe, work / "store"), prepare=_empty, weight=3),
    "run (quantise)": Case(lambda scene, work: _run_of(scene.coded_recipe, work / "store"), prepare=_empty, weight=2),
    "run --scrub": Case(lambda scene, work: (*_run(scene, work), "--scrub"), weight=3, is_damaged=True),
    "run --remake": Case(lambda scene, work: (*_run(scene, work), "--remake"), prepare=_retired, weight=2),
    "plan": Case(lambda scene, work: ("plan", str(scene.recipe), "--store", str(work / "store"))),
    "status": Case(_on_store("status")),
    "check machine": Case(_on_store("check", "machine", "--address", "none")),
    "check model": Case(lambda scene, work: ("check", "model", str(scene.model))),
    "query": Case(_on_store("query", "SELECT count(*) FROM metrics"), prepare=_without_catalog),
    "store rebuild": Case(_on_store("store", "rebuild")),
    "check store": Case(_on_store("check", "store", "--deep"), prepare=_without_catalog),
    "store merge": Case(
        lambda scene, work: ("store", "merge", str(scene.other), "--store", str(work / "store")), weight=2
    ),
    "export --as csv": Case(_to_folder("export", "--as", "csv"), compare=_compare_rows, writes_once=True),
    "store compact": Case(_on_store("store", "compact")),
    "store gc": Case(_on_store("store", "gc", "--delete"), prepare=_with_garbage),
    "store gc --keep-days": Case(_on_store("store", "gc", "--keep-days", "0", "--min-age-hours", "0", "--delete")),
    "rescore": Case(_on_store("rescore", "--rule", "candidate_sum"), weight=2),
    "rescore --generated": Case(_on_store("rescore", "--generated"), prepare=_other),
    "check variant": Case(
        lambda scene, work: (
            "check",
            "variant",
            scene.variant,
            "--base-model",
            str(scene.model),
            "--store",
            str(work / "store"),
        )
    ),
    "export": Case(
        lambda scene, work: (
            *("export", scene.variant, "--out", str(work / "out"), "--base-model", str(scene.model)),
            *("--store", str(work / "store")),
        ),
        compare=_compare_folders,
        writes_once=True,
    ),
    "export --as masks": Case(
        lambda scene, work: _to_folder("export", "--as", "masks", scene.variant)(scene, work),
        compare=_compare_folders,
        weight=2,
        writes_once=True,
    ),
    "export --as patches": Case(
        lambda scene, work: (
            *_to_folder("export", "--as", "patches", "--from", "dense", "--to", scene.variant)(scene, work),
            *("--base-model", str(scene.model)),
        ),
        compare=_compare_folders,
        writes_once=True,
    ),
    "export --as imatrix": Case(
        lambda scene, work: (
            *("export", "fr-en", "--as", "imatrix", "--base-model", str(scene.llama_recipe.parent / "model")),
            *("--out", str(work / "out" / "fr-en.gguf"), "--store", str(work / "store")),
        ),
        prepare=_llama,
        compare=_compare_folders,
    ),
    "export --as compressed_tensors": Case(
        lambda scene, work: (
            *_to_folder("export", "codes", "--as", "compressed_tensors")(scene, work),
            *("--base-model", str(scene.model)),
        ),
        prepare=_other,
        compare=_compare_folders,
        writes_once=True,
    ),
    "apply": Case(
        lambda scene, work: ("apply", str(scene.model), str(scene.published), "--out", str(work / "out")),
        prepare=_empty,
        compare=_compare_outputs,
        weight=2,
        writes_once=True,
    ),
    "import": Case(
        lambda scene, work: ("import", str(scene.model), "--out", str(work / "out")),
        prepare=_empty,
        compare=_compare_outputs,
        weight=2,
        writes_once=True,
    ),
    "import --results": Case(
        lambda scene, work: ("import", "--results", str(scene.evaluated_elsewhere), "--store", str(work / "store"))
    ),
    "import --scores": Case(
        lambda scene, work: (
            *("import", str(work / "scores.csv"), "--scores", "--metric", "comet", "--range", "0:1"),
            *("--store", str(work / "store")),
        ),
        prepare=_scored,
    ),
    "export --as row": Case(
        lambda scene, work: (
            *("export", scene.variant, "--as", "row", "--task", "facts", "--metric", "accuracy"),
            *("--out", str(work / "out"), "--store", str(work / "store")),
        )
    ),
    "export --as every_eval_ever": Case(_to_folder("export", "--as", "every_eval_ever"), writes_once=True),
    "harness": Case(
        lambda scene, work: (
            *(
                "harness",
                scene.variant,
                "--task",
                "local_choice,local_text",
                "--include-path",
                str(scene.harness_tasks),
            ),
            *("--base-model", str(scene.model), "--limit", "3", "--store", str(work / "store")),
        )
    ),
    "query ranks": Case(_on_store("query", "ranks", "--task", "facts")),
    "report --tables": Case(
        lambda scene, work: _to_folder("report", "--tables", "--spec", str(scene.table_spec))(scene, work)
    ),
    "report --figures": Case(_to_folder("report", "--figures", "--format", "svg")),
    "report --notebook": Case(
        lambda scene, work: (
            *("report", "--notebook", "--jupyter", "--no-open", "--out", str(work / "out")),
            *("--store", str(work / "store")),
        ),
        writes_once=True,
    ),
    "report": Case(lambda scene, work: ("report", "--store", str(work / "store"), "--out", str(work / "page.html"))),
}
"""Name -> case. A command added here is killed like the others."""
