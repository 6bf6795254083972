"""Tiny recipes with their inputs (model, corpus, code, task files), and functions to run them in this process."""

import functools
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.models.chain import Chain
from mlprune.models.local_chain import local_chain
from mlprune.planning import Plan, build_plan, pending_jobs
from mlprune.pruning.mask_files import read_keep_masks
from mlprune.recipe.loading import load_recipe
from mlprune.steps.job import Job, ModelRef
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.variant_rows import stored_masks
from mlprune.store.store import Store
from tests.tiny_models import POSITIONS, save_tiny_model

STORED_WEIGHTS = Path(__file__).parent / "golden" / "models"
N_LINES = 40
N_FACTS = 8
CORPUS = {"en": "{n} cats", "fr": "{n} chats", "sw": "paka {n}"}
SENTENCES = {"en": "{n} is {gap}", "fr": "{n} est {gap}", "sw": "{n} ni {gap}"}
COLOURS = {"en": ["red", "blue", "grey"], "fr": ["rouge", "bleu", "gris"], "sw": ["wekundu", "buluu", "kijivu"]}


def tiny_recipe() -> dict[str, Any]:
    """Every kind of demonstration set, most scores, and the evaluations that read parallel text or facts."""
    sizes = {"samples": 4, "max_tokens": 48}
    return {
        "name": "tiny",
        "model": {"path": "model"},
        "corpus": {"kind": "parallel_text", "path": "corpus", "leave_out_evaluated": True},
        "demonstrations": [
            {"name": "mt", "kind": "translation", "source": ["fr", "sw"], "target": "en", "shots": 2, **sizes},
            {"name": "mono", "kind": "monolingual", "language": "fr", "shots": 2, **sizes},
            {"name": "code", "kind": "code", "path": "code", **sizes},
            {"name": "mixed", "kind": "mixed", "parts": ["mt", "code"]},
        ],
        "variants": [
            {
                "name": "wanda-mt",
                "demonstrations": "mt",
                "score": "wanda",
                "sparsity": [0.25, 0.5],
                "propagation": ["dense", "sequential"],
                "against": ["wanda-mono", "magnitude"],
            },
            {
                "name": "wanda-mono",
                "demonstrations": "mono",
                "score": "wanda",
                "sparsity": 0.5,
                "propagation": ["dense", "sequential"],
            },
            {
                "name": "contrast",
                "demonstrations": "mt",
                "contrast": "code",
                "score": "contrast",
                "sparsity": 0.5,
                "propagation": ["dense", "sequential"],
            },
            {"name": "n-m", "demonstrations": "mixed", "score": "wanda", "structure": "2:4", "propagation": "dense"},
            {"name": "magnitude", "demonstrations": "mt", "score": "magnitude", "sparsity": [0, 0.5]},
            {"name": "random", "score": "random", "sparsity": 0.5, "seed": [0, 1]},
        ],
        "evaluations": [
            {"task": "facts", "path": "facts", "languages": ["en", "fr", "sw"]},
            {"task": "perplexity", "path": "corpus", "languages": ["en", "fr"], "limit": 4, "variants": ["magnitude"]},
            {
                "task": "translation",
                "path": "corpus",
                "pairs": ["fr-en"],
                "limit": 2,
                "shots": 1,
                "max_new_tokens": 4,
                "variants": ["magnitude"],
            },
        ],
        "compute": {"batch_tokens": 128},
    }


def small_recipe() -> dict[str, Any]:
    """One set, a dense ordering with two sparsities, a sweep, and facts in two languages."""
    recipe = tiny_recipe()
    recipe["demonstrations"] = [{**recipe["demonstrations"][0], "source": "fr"}]
    wanda = {"demonstrations": "mt", "score": "wanda"}
    recipe["variants"] = [
        {"name": "ordering", **wanda, "sparsity": [0.25, 0.5], "propagation": "dense"},
        {"name": "sweep", **wanda, "sparsity": 0.5, "propagation": "sequential"},
    ]
    recipe["evaluations"] = [{"task": "facts", "path": "facts", "languages": ["en", "fr"]}]
    return recipe


def baseline_recipe() -> dict[str, Any]:
    """Pruned variants and every kind of baseline, on facts in three languages."""
    recipe = small_recipe()
    mono = {"name": "mono", "kind": "monolingual", "language": ["en", "fr", "sw"]}
    recipe["demonstrations"] = [{**mono, "shots": 2, "samples": 4, "max_tokens": 48}]
    recipe["variants"] = [{"name": "m", "score": "magnitude", "sparsity": 0.5, "against": ["small", "lrp2"]}]
    recipe["baselines"] = [
        {"name": "small", "kind": "model", "path": "small"},
        {"name": "lrp2", "kind": "lrp2", "demonstrations": "mono"},
        {"name": "fixed", "kind": "lrp2", "demonstrations": "mono", "layers": [0, 2]},
        {"name": "translate", "kind": "self_translate", "shots": 1, "max_new_tokens": 4, "against": ["lrp2"]},
    ]
    recipe["tasks"] = [
        {"name": "mood", "template": "{text} It is {candidate}.", "answer": "label", "labels": ["sad", "glad"]}
        | {"cluster": "page", "category": "kind"},
        {"name": "which", "template": "{text} {candidate}", "answer": "right", "candidates": "options"},
    ]
    recipe["evaluations"] = [
        {"task": "facts", "path": "facts", "languages": ["en", "fr", "sw"], "rule": ["mean", "candidate_sum"]},
        {"task": "translation", "path": "corpus", "pairs": ["fr-en"], "limit": 1, "shots": 1, "max_new_tokens": 2},
    ]
    own = {"path": "own", "languages": ["en", "fr"], "variants": ["translate"]}
    recipe["evaluations"] += [{"task": name, **own} for name in ("mood", "which")]
    return recipe


def profile_recipe() -> dict[str, Any]:
    """Evaluations and feature overlaps in both profiles, of which the published code knows some."""
    recipe = small_recipe()
    recipe["demonstrations"] = [{**recipe["demonstrations"][0], "source": ["fr", "sw"]}]
    recipe["variants"] = [{"name": "m", "score": "magnitude", "sparsity": 0.5}]
    both = {"profile": ["corrected", "paper"]}
    recipe["evaluations"] = [
        {"task": "facts", "path": "facts", "languages": ["en", "fr", "sw"], **both},
        {
            "task": "translation",
            "path": "corpus",
            "pairs": ["fr-en"],
            "limit": 1,
            "shots": 1,
            "max_new_tokens": 2,
            **both,
        },
    ]
    recipe["analyses"] = {"overlap_shares": [0.4], **both}
    return recipe


def method_recipe() -> dict[str, Any]:
    """Every score, structure, schedule, scope, aggregation, profile and combination that the tiny recipe does not have.

    The name of an entry says what is special about it. An entry uses both propagations where both are possible.
    """
    sizes = {"shots": 2, "samples": 4, "max_tokens": 48}
    translation = {"kind": "translation", "target": "en", **sizes}
    both = {"score": "wanda", "sparsity": 0.5, "propagation": ["dense", "sequential"]}
    wanda = {**both, "demonstrations": "fr-en"}
    over = {**both, "over": ["fr-en", "sw-en"]}
    combined = ["intersection", "difference", "symmetric_difference"]
    return {
        "name": "methods",
        "model": {"path": "model"},
        "corpus": {"kind": "parallel_text", "path": "corpus"},
        "demonstrations": [
            {"name": "fr-en", "source": "fr", **translation},
            {"name": "sw-en", "source": "sw", **translation},
            {"name": "fr", "kind": "monolingual", "language": "fr", **sizes},
            {"name": "code", "kind": "code", "path": "code", "samples": 4, "max_tokens": 48},
        ],
        "variants": [
            {"name": "nested", **wanda, "propagation": "dense", "sparsity": [0.25, 0.5, 0.75]},
            {"name": "first", **wanda, "samples": 2},
            {"name": "resample", **wanda, "resample": 3},
            {"name": "target", **wanda, "tokens": "target"},
            {"name": "last-shot", **wanda, "tokens": "last_shot", "propagation": "dense"},
            {"name": "matrix", **wanda, "structure": "matrix"},
            {"name": "alpha", **wanda, "structure": "alpha"},
            {"name": "n-m", **wanda, "structure": "2:4"},
            {"name": "highest", **wanda, "removes": "highest"},
            {"name": "ria", **wanda, "score": "ria"},
            {"name": "given", **wanda, "schedule": {"blocks": {1: 0.25}, "layers": {"fc1": 0.75}}},
            {"name": "owl", **wanda, "schedule": {"kind": "owl", "m": 2, "spread": 0.2}},
            {"name": "dlp", **wanda, "schedule": {"kind": "dlp", "spread": 0.2}},
            {"name": "alpha-pruning", **wanda, "propagation": "dense", "schedule": "alpha_pruning"},
            {"name": "scope", **wanda, "scope": {"without_blocks": [1], "layers": ["fc1", "self_attn.q_proj"]}},
            {"name": "mean", **over, "aggregate": "mean", "shares": [1, 3]},
            {"name": "max", **over, "aggregate": "max", "propagation": "dense"},
            {"name": "variance", **over, "aggregate": "variance", "variance_weight": 2, "propagation": "dense"},
            {"name": "pooled", **over, "aggregate": "pooled", "samples": 3},
            {"name": "contrast", **over, "aggregate": "mean", "score": "contrast", "contrast": "code"},
            {"name": "paper", **wanda, "demonstrations": "fr", "profile": "paper"},
            {"name": "paper-contrast", **wanda, "demonstrations": "fr", "contrast": "code", "score": "contrast"}
            | {"profile": "paper", "propagation": "dense"},
            {"name": "sparsegpt", "demonstrations": "fr-en", "score": "sparsegpt", "sparsity": 0.5},
            {"name": "sparsegpt-n-m", "demonstrations": "fr-en", "score": "sparsegpt", "structure": "2:4"},
            {"name": "sparsegpt-scope", "demonstrations": "fr-en", "score": "sparsegpt", "sparsity": 0.5}
            | {"damping": 0.1, "scope": {"without_blocks": [1]}, "schedule": {"kind": "owl", "m": 2, "spread": 0.2}},
            {"name": "union", "combine": "union", "of": ["first", "ria"]},
            {"name": "combined", "combine": combined, "of": ["first", "ria"]},
            {"name": "rest", "combine": "difference", "of": ["union", "highest"]},
        ],
        "evaluations": [
            {
                "task": "facts",
                "path": "facts",
                "languages": ["fr"],
                "variants": ["sparsegpt", "sparsegpt-scope", "rest"],
            }
        ],
        "compute": {"batch_tokens": 128},
    }


def write_inputs(folder: Path, *, family: str = "xglm") -> Path:
    """Write a model, a corpus, code and facts to a folder and return the folder."""
    save_tiny_model(folder / "model", family)
    if family == "xglm":
        use_stored_weights(folder / "model", "xglm")
    write_texts(folder)
    return folder


def use_stored_weights(model: Path, name: str) -> None:
    """Replace the weights of a tiny model with the same ones from a file.

    Normal draws of torch differ in the last bits between processors, and ids cover the weights.
    """
    shutil.copy(STORED_WEIGHTS / f"{name}.safetensors", model / "model.safetensors")


def write_texts(folder: Path) -> None:
    """Write all inputs except the model."""
    for name in ("corpus", "code", "facts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for language, text in CORPUS.items():
        lines = [text.format(n=number) + "\n" for number in range(N_LINES)]
        (folder / "corpus" / f"{language}.txt").write_text("".join(lines), encoding="utf-8")
    for number in range(6):
        (folder / "code" / f"part{number}.py").write_text(f"def f{number}(x):\n    return x * {number}\n")
    write_facts(folder, "test", range(N_FACTS))


def write_facts(folder: Path, split: str, numbers: range) -> None:
    """Write the task files of one split in every language."""
    for language in CORPUS:
        rows = [json.dumps(fact(language, number), ensure_ascii=False) + "\n" for number in numbers]
        (folder / "facts" / f"{language}.{split}.jsonl").write_text("".join(rows), encoding="utf-8")


def write_baseline_inputs(tiny: Path, folder: Path) -> Path:
    """Write the tiny inputs, a dev split and a second, smaller model to a new folder."""
    copied_inputs(tiny, folder)
    write_facts(folder, "dev", range(N_FACTS, 3 * N_FACTS))
    save_tiny_model(folder / "model", positions=2 * POSITIONS)  # room for a prompt that shows a translation
    use_stored_weights(folder / "model", "xglm")
    save_tiny_model(folder / "small", blocks=2, seed=5)
    use_stored_weights(folder / "small", "small")
    (folder / "own").mkdir()
    for language, text in CORPUS.items():
        rows = [
            {"id": n, "text": text.format(n=n), "label": ("sad", "glad")[n % 2]}
            | {"options": COLOURS[language], "right": COLOURS[language][n % 3]}
            | {"page": f"page {n // 2}", "kind": ("news", "blog")[n % 2]}
            for n in range(4)
        ]
        (folder / "own" / f"{language}.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def fact(language: str, number: int) -> dict[str, Any]:
    """One row of a task file for facts."""
    prompt = SENTENCES[language].format(n=number, gap="<mask>")
    return {"id": number, "prompt": prompt, "candidates": COLOURS[language], "answer": number % 3}


def write_recipe(folder: Path, recipe: dict[str, Any], *, name: str = "recipe.yaml") -> Path:
    """Write a recipe to the folder of its inputs."""
    path = folder / name
    path.write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def plan_of(recipe_path: Path) -> Plan:
    """Plan a recipe file."""
    return build_plan(load_recipe(recipe_path))


def chain_of(plan: Plan) -> Chain:
    """Load the model of a plan in this process."""
    return chain_of_model(plan.model)


def chain_of_model(model: ModelRef) -> Chain:
    """Load a model in this process."""
    return local_chain(Path(model.path), dtype=model.dtype)


def run_here(recipe_path: Path, store: Store) -> Plan:
    """Plan a recipe and run its pending jobs in the order of the plan."""
    plan = plan_of(recipe_path)
    run_plan(plan, store)
    return plan


def run_plan(plan: Plan, store: Store) -> list[str]:
    """Run the pending jobs of a plan with one thread, as a worker does; return the steps that were run."""
    store.write_record(plan.record)
    return run_jobs(plan.jobs, store, model=plan.model)


def run_jobs(jobs: Iterable[Job], store: Store, *, model: ModelRef) -> list[str]:
    """Run the pending jobs among some, in their order and with one thread; return the steps that were run."""
    torch.set_num_threads(1)
    chain = functools.cache(chain_of_model)
    pending = pending_jobs(jobs, store, repair=True)
    for job in pending:
        job.run(store, functools.partial(chain, job.chain_model or model))
    return [job.step for job in pending]


def contents(store: Store) -> dict[str, bytes]:
    """Map path to bytes for all files of a store except quarantined ones."""
    root = store.local_root
    assert root is not None, "tests use local stores"
    return {path: (root / path).read_bytes() for path in store.list("") if not path.startswith("quarantine/")}


def results(store: Store | Path) -> dict[str, bytes]:
    """Map path to bytes for the records and artefacts of a store, without run logs, claims and catalog."""
    files = contents(store if isinstance(store, Store) else Store(store))
    return {path: data for path, data in files.items() if not path.startswith(("runs/", "claims/", "catalog.duckdb"))}


def shared_results(store: Store | Path) -> dict[str, bytes]:
    """Those of the results that do not depend on what else a recipe names or asks."""
    of_recipe = ("records/recipes/", "records/answers/")
    return {path: data for path, data in results(store).items() if not path.startswith(of_recipe)}


class FinishedRun(NamedTuple):
    """A recipe, its plan, and the store of its finished run."""

    recipe_path: Path
    plan: Plan
    store: Store

    @property
    def folder(self) -> Path:
        """The folder of the inputs."""
        return self.recipe_path.parent

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows that the records add to a catalog table."""
        return [row for record in self.store.records() for row in record.rows.get(table, ())]

    def labelled(self, label: str) -> PlannedVariant:
        """The variant with this label."""
        return next(one for one in self.plan.variants.values() if one.label == label)

    def named(self, name: str, propagation: str | None = None) -> list[PlannedVariant]:
        """The variants of an entry, optionally of one propagation only."""
        variants = (one for one in self.plan.variants.values() if name in {entry.name for entry in one.entries})
        return [one for one in variants if propagation in (None, one.spec.propagation)]

    def keep_masks(self, variant_id: str) -> dict[tuple[int, str], Tensor]:
        """Read the keep masks of a variant from the store: (block, layer) -> mask."""
        stored = stored_masks(self.store, self.store.require("variants", variant_id))
        files = stored.files if stored else ()
        blocks = [read_keep_masks(self.store.uri, artefact, levels) for artefact, levels in files]
        return {(block, layer): kept for block, found in enumerate(blocks) for layer, kept in found.items()}

    def row(self, table: str, variant_id: str) -> dict[str, Any]:
        """The single row that a variant's record adds to a table."""
        (found,) = self.store.require("variants", variant_id).rows[table]
        return dict(found)


def finished_run(folder: Path, recipe: dict[str, Any], *, name: str) -> FinishedRun:
    """Run a recipe on the inputs of a folder; its store is in the same folder."""
    path = write_recipe(folder, recipe, name=f"{name}.yaml")
    store = Store(folder / f"{name}-store")
    return FinishedRun(path, run_here(path, store), store)


def shared_run(
    make_once: Callable[[str, Callable[[Path], object]], Path], inputs: Path, recipe: dict[str, Any], *, name: str
) -> FinishedRun:
    """The finished run of a recipe, run once per test session; every pytest worker gets a copy of its store."""
    torch.set_num_threads(1)
    path = write_recipe(inputs, recipe, name=f"{name}.yaml")
    store = make_once(f"{name}-store", lambda folder: run_here(path, Store(folder)))
    return FinishedRun(path, plan_of(path), Store(store))


def copied_inputs(folder: Path, target: Path) -> Path:
    """Copy model, corpus, code and facts to a new folder and return it."""
    for name in ("model", "corpus", "code", "facts"):
        shutil.copytree(folder / name, target / name, dirs_exist_ok=True)
    return target


def copy_of(store: Store, target: Path) -> Store:
    """Copy a local store."""
    assert store.local_root is not None, "tests use local stores"
    shutil.copytree(store.local_root, target)
    return Store(target)


def store_with_sets(run: FinishedRun, *set_ids: str, folder: Path) -> Store:
    """A new store that has some demonstration sets of a run, and nothing else."""
    store = Store(folder)
    for record in (run.store.require("demonstration_sets", set_id) for set_id in set_ids):
        store.write_bytes(record.artefacts[0].path, run.store.read_bytes(record.artefacts[0]))
        store.write_record(record)
    return store


def reference_model(folder: Path) -> Any:
    """Load the model of a folder with transformers."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def layer_inputs(model: Any, token_ids: Sequence[int], *, layers: Sequence[str]) -> dict[tuple[int, str], Tensor]:
    """Capture what layers of a tiny XGLM read from one text: (block, layer) -> [tokens, in]."""
    found: dict[tuple[int, str], Tensor] = {}
    handles = []
    for block, module in enumerate(model.model.layers):
        for layer in layers:

            def keep(_: Any, args: tuple[Tensor, ...], *, key: tuple[int, str] = (block, layer)) -> None:
                found[key] = args[0][0].detach().clone()

            handles.append(module.get_submodule(layer).register_forward_pre_hook(keep))
    with torch.no_grad():
        model(input_ids=torch.tensor([list(token_ids)]))
    for handle in handles:
        handle.remove()
    return found


def gram_matrices(
    model: Any, texts: Iterable[Sequence[int]], *, layers: Sequence[str]
) -> dict[tuple[int, str], Tensor]:
    """(block, layer) -> [in, in] float64, the sum of x x^T over what layers of a tiny XGLM read from texts."""
    sums: dict[tuple[int, str], Tensor] = {}
    for token_ids in texts:
        for key, x in layer_inputs(model, token_ids, layers=layers).items():
            sums[key] = sums.get(key, 0) + x.double().T @ x.double()
    return sums
