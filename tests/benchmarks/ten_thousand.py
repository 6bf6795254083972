"""Measure CPU time and peak memory of every phase at 1,000, 3,000 and 10,000 variants in six languages.

python tests/benchmarks/ten_thousand.py                                   all phases; five minutes of CPU, 3 GB
python tests/benchmarks/ten_thousand.py --variants 100 300 --out F.json   to check that the benchmark runs

The plan is that of a real recipe, and its jobs run with the real driver without doing anything. The store for the other
phases is made by a generator, which writes records with plausible rows. Each phase is a process of its own. Its time
includes imports. The growth is the CPU time of a further variant between the last two sizes, divided by that between
the first two: 1 is linear, and a time that grows with the square has 3.25 with the default sizes.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from time import process_time
from typing import Any
from unittest.mock import patch

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))

from mlprune.store.store import Store  # noqa: E402 - the repository has to be importable first
from tests.catalog_data import declared_parameters, write_rows  # noqa: E402

LANGUAGES = {"en": 0.8, "fr": 0.62, "es": 0.6, "sw": 0.4, "de": 0.6, "zh": 0.5}
"""Language -> accuracy of the dense model."""
SOURCES = ("fr", "es", "sw", "de", "zh")
SPARSITIES = tuple(round(0.1 + 0.05 * n, 2) for n in range(10))
N_BLOCKS, LAYERS = 6, ("self_attn.q_proj", "fc1")
N_ITEMS = 1_000


@dataclass(frozen=True)
class Variant:
    """What the made-up numbers of a variant depend on; the dense model has sparsity 0."""

    number: int
    source: str = ""
    kind: str = ""
    seed: int = 0
    score: str | None = None
    propagation: str | None = None
    sparsity: float = 0.0


def made_up_variants(n_variants: int) -> list[Variant]:
    """The dense model and variants of a sweep; more of them have more seeds."""
    axes = (SOURCES, ("translation", "monolingual"), ("wanda", "ria"), ("dense", "sequential"), SPARSITIES)
    kinds = list(product(*axes))
    variants = [Variant(0)]
    for number in range(1, n_variants):
        seed, place = divmod(number - 1, len(kinds))
        source, kind, score, propagation, sparsity = kinds[place]
        variants.append(Variant(number, source, kind, seed, score, propagation, sparsity))
    return variants


class Filling:
    """Writes the records of a made-up store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        row = {"base_model_id": "@id", "source": "large", "family": "xglm", "n_blocks": N_BLOCKS, "hidden_size": 1024}
        rows = {"base_models": [{**row, "n_prunable": 300_000_000}]}
        self._base_id = write_rows(store, "base_models", parameters={"source": "large"}, rows=rows)
        self._sets: dict[tuple[str, str, int], str] = {}
        self._ids: list[str] = []
        self._evaluations: dict[tuple[int, str, str], dict[str, Any]] = {}
        """(number of the variant, language, split) -> row of its accuracy."""
        self._answers: list[dict[str, Any]] = []

    def fill(self, variants: list[Variant]) -> None:
        """Write everything that is known of some variants."""
        for variant in variants:
            self._ids.append(self._variant(variant))
            for split, language in product(("dev", "test"), LANGUAGES):
                self._evaluation(variant, language, split=split)
            for split in ("dev", "test") if variant.number else ():
                self._comparison(variant, split=split)
            self._rank_consistency(variant)
        self._choice(variants)
        self._seed_components(variants)
        self._mask_overlaps(variants)
        question = {"metric": "accuracy", "group_kind": "outside_english", "group_name": "", "claim": "gain"}
        answers = [{**row, "n_family": len(variants) - 1} for row in self._answers]
        question_id = write_rows(self._store, "answers", parameters=question, rows={"answers": answers})
        question |= {"task": "facts", "split": "test", "variants": "", "against": "dense", "over": "each", "name": ""}
        question |= {"declared_after": 0, "is_declared": False, "is_primary": False, "criterion_id": question_id}
        names = [
            {"recipe": "sweep", "kind": "variant", "name": f"variant {variant.number}", "id": variant_id}
            for variant, variant_id in zip(variants, self._ids, strict=True)
        ]
        questions = [{**question, "question_id": question_id, "recipe": "sweep"}]
        rows = {"names": names, "questions": questions}
        write_rows(
            self._store,
            "recipes",
            parameters={"name": "sweep", **declared_parameters(rows["questions"], [])},
            rows=rows,
        )

    def _set_id(self, variant: Variant) -> str:
        key = (variant.source, variant.kind, variant.seed)
        if key not in self._sets:
            target = "en" if variant.kind == "translation" else None
            row = {"demonstration_set_id": "@id", "kind": variant.kind, "source_language": variant.source}
            row |= {"target_language": target, "shots": 4, "samples": 100, "max_tokens": 512, "n_tokens": 40_000}
            rows = {"demonstration_sets": [{**row, "seed": variant.seed}]}
            parameters = {"key": list(key)}
            self._sets[key] = write_rows(self._store, "demonstration_sets", parameters=parameters, rows=rows)
        return self._sets[key]

    def _variant(self, variant: Variant) -> str:
        set_id = self._set_id(variant) if variant.number else None
        row: dict[str, Any] = {"variant_id": "@id", "base_model_id": self._base_id, "demonstration_set_id": set_id}
        row |= {"score": variant.score, "sparsity": variant.sparsity, "achieved_sparsity": variant.sparsity}
        row |= {"propagation": variant.propagation, "weights_changed": False}
        pruned = {"structure": "row", "removes": "lowest", "schedule": "uniform", "profile": "corrected"}
        row |= {**pruned, "token_scope": "all"} if variant.number else {}
        demonstrations = {"variant_id": "@id", "demonstration_set_id": set_id, "role": "demonstrations", "weight": 1.0}
        layers = [
            {"variant_id": "@id", "block": block, "layer": layer, "n_weights": 1 << 20}
            | {"n_removed": int((1 << 20) * variant.sparsity)}
            for block, layer in product(range(N_BLOCKS), LAYERS)
        ]
        rows = {"variants": [row], "variant_layers": layers}
        rows |= {"variant_demonstrations": [demonstrations]} if variant.number else {}
        parents = {"base_model": self._base_id} | ({"demonstration_set": set_id} if set_id else {})
        return write_rows(self._store, "variants", parameters=vars(variant), parents=parents, rows=rows)

    def _evaluation(self, variant: Variant, language: str, *, split: str) -> None:
        bonus = 0.04 * (variant.kind == "translation" and language != "en") + 0.03 * (variant.source == language)
        noise = 0.03 * (_unit(variant.number, language, split) - 0.5) if variant.number else 0.0
        value = round(max(0.0, LANGUAGES[language] + bonus + noise - 0.5 * variant.sparsity**2), 3)
        keys = {"evaluation_id": "@id", "variant_id": self._ids[-1], "task": "facts", "language": language}
        keys |= {"split": split, "scoring_rule": "mean", "protocol_id": "protocol of facts"}
        row = {**keys, "prompt_language": language, "prompts": "en", "limit_seed": 0, "n_examples": N_ITEMS}
        metric = {**keys, "metric": "accuracy", "value": value, "higher_is_better": True, "n": N_ITEMS}
        metric |= {"ci_low": value - 0.03, "ci_high": value + 0.03, "prompt_language": language}
        ece = {**metric, "metric": "ece", "value": 1 - value, "higher_is_better": False}
        parameters, parents = {"language": language, "split": split}, {"variant": self._ids[-1]}
        rows = {"evaluations": [row], "metrics": [metric, ece]}
        written = write_rows(self._store, "evaluations", parameters=parameters, parents=parents, rows=rows)
        self._evaluations[variant.number, language, split] = {**metric, "evaluation_id": written}

    def _comparison(self, variant: Variant, *, split: str) -> None:
        pairs = [tuple(self._evaluations[number, name, split] for number in (variant.number, 0)) for name in LANGUAGES]
        shared = {"comparison_id": "@id", "variant_id": self._ids[-1], "baseline_id": self._ids[0], "task": "facts"}
        shared |= {"split": split, "metric": "accuracy", "scoring_rule": "mean", "protocol_id": "protocol of facts"}
        shared |= {"scale": "difference", "profile": "corrected"}
        results = [
            {**shared, "language": ours["language"], "evaluation_id": ours["evaluation_id"], "n": N_ITEMS}
            | {"baseline_evaluation_id": theirs["evaluation_id"], "test": "tango", "standard_error": 0.02}
            | _tested(ours["value"] - theirs["value"])
            for ours, theirs in pairs
        ]
        others = [row["difference"] for row in results if row["language"] != "en"]
        groups = {"outside_english": sum(others) / len(others), "worst": min(others)}
        aggregates = [
            {**shared, "group_kind": kind, "group_name": "", "languages": " ".join(sorted(SOURCES))}
            | {"n_languages": len(SOURCES), "n_items": N_ITEMS, "test": "sign_flip", **_tested(difference)}
            for kind, difference in groups.items()
        ]
        parents = {
            "evaluations": sorted(ours["evaluation_id"] for ours, _ in pairs),
            "baseline_evaluations": sorted(theirs["evaluation_id"] for _, theirs in pairs),
        }
        rows = {"comparison_results": results, "aggregate_results": aggregates}
        written = write_rows(self._store, "comparisons", parameters={}, parents=parents, rows=rows)
        if split == "test":
            kept = ("variant_id", "baseline_id", "n_languages", "n_items", "scale")
            answer = {name: aggregates[0][name] for name in kept} | _tested(groups["outside_english"])
            answer |= {"question_id": "@id", "comparison_id": written, "n_variants": 1, "n_clusters": N_ITEMS}
            self._answers.append(answer)

    def _rank_consistency(self, variant: Variant) -> None:
        ids = {name: self._evaluations[variant.number, name, "test"]["evaluation_id"] for name in LANGUAGES}
        shared = {"variant_id": self._ids[-1], "task": "facts", "protocol_id": "protocol of facts", "split": "test"}
        shared |= {"n_items": N_ITEMS, "n_skipped": 0, "n_clusters": N_ITEMS, "chance": 0.3, "scoring_rule": "mean"}
        rows = []
        for first, second in product(ids, ids):
            if second == "en" != first or "en" != first < second:
                value = 0.5 + 0.3 * _unit(variant.number, first, second)
                row = {"language": first, "reference_language": second, "value": value, "evaluation_id": ids[first]}
                row |= {"reference_evaluation_id": ids[second], "ci_low": value - 0.1, "ci_high": value + 0.1}
                if variant.number:
                    row |= {"baseline_id": self._ids[0], "difference": value - 0.6, "p_value": _unit("p", value)}
                rows.append({**shared, **row})
        parents = {"evaluations": sorted(ids.values())}
        tables = {"rank_consistency": rows}
        write_rows(self._store, "rank_consistency", parameters={"task": "facts"}, parents=parents, rows=tables)

    def _seed_components(self, variants: list[Variant]) -> None:
        """The share of the seed in the differences of variants that differ in nothing else, if there are several."""
        groups: dict[tuple[object, ...], list[Variant]] = defaultdict(list)
        for one in variants[1:]:
            groups[one.source, one.kind, one.score, one.propagation, one.sparsity].append(one)
        shared = {"seed_components_id": "@id", "baseline_id": self._ids[0], "task": "facts", "split": "test"}
        shared |= {
            "metric": "accuracy",
            "protocol_id": "protocol of facts",
            "scoring_rule": "mean",
            "scale": "difference",
        }
        shared |= {"profile": "corrected", "group_kind": "language", "n_languages": 1, "seed_of": "sets"}
        for key, members in groups.items():
            ids = sorted(self._ids[one.number] for one in members)
            row = {**shared, "variant_id": ids[0], "variant_ids": ids, "seeds": [one.seed for one in members]}
            row |= {"n_seeds": len(ids), "n_items": N_ITEMS, "n_clusters": N_ITEMS, "interval": "t", "sd_seed": 0.01}
            rows = [
                {**row, "group_name": name, "languages": name, "difference": 0.01, "ci_low": -0.02, "ci_high": 0.04}
                for name in (LANGUAGES if len(members) > 1 else ())
            ]
            if rows:
                write_rows(self._store, "seed_components", parameters={"key": [*key]}, rows={"seed_components": rows})

    def _mask_overlaps(self, variants: list[Variant]) -> None:
        """Each variant with the one of the same method and sparsity on the next source language."""
        step = len(SPARSITIES) * 8  # the variants of a source language, with all kinds, scores and propagations
        for first, second in zip(variants[1:], variants[1 + step :], strict=False):
            pair = sorted((self._ids[first.number], self._ids[second.number]))
            keys = dict(zip(("variant_a", "variant_b"), pair, strict=True))
            rows = [
                {**keys, "block": block, "layer": layer, "jaccard": 0.5 + 0.5 * _unit(first.number, block, layer)}
                for block, layer in product(range(N_BLOCKS), LAYERS)
            ]
            tables = {"mask_overlaps": rows}
            write_rows(self._store, "mask_overlaps", parameters={}, parents={"variants": pair}, rows=tables)

    def _choice(self, variants: list[Variant]) -> None:
        """The choice on dev: outside English, and how likely each variant is on the front."""
        shared = {"choice_id": "@id", "baseline_id": self._ids[0], "task": "facts", "metric": "accuracy"}
        shared |= {"scoring_rule": "mean", "protocol_id": "protocol of facts", "n_candidates": len(variants)}
        criterion = {"group_kind": "outside_english", "group_name": "", "languages": " ".join(sorted(SOURCES))}
        criterion |= {"n_languages": len(SOURCES), "scale": "difference", "n_items": N_ITEMS, "dev_n_items": N_ITEMS}
        means = {
            (variant.number, split): sum(self._evaluations[variant.number, name, split]["value"] for name in SOURCES)
            / 5
            for variant, split in product(variants, ("dev", "test"))
        }
        best = max(variants, key=lambda variant: means[variant.number, "dev"])
        choices, chances = [], []
        for variant, variant_id in zip(variants, self._ids, strict=True):
            dev, test = (means[variant.number, split] for split in ("dev", "test"))
            row = {"variant_id": variant_id, "dev_value": dev, "dev_difference": dev - means[0, "dev"], "n_tied": 1}
            row |= {"is_chosen": variant is best, "win_share": 1 / len(variants), "test_value": test}
            row |= {"test_dense_value": means[0, "test"], "difference": test - means[0, "test"]}
            choices.append({**shared, **criterion, **row})
            row = {"variant_id": variant_id, "languages": " ".join(sorted(LANGUAGES)), "n_others": len(SOURCES)}
            row |= {"probability": _unit("front", variant.number), "keeps_both_probability": 0.5}
            for split, others in (("dev", dev), ("test", test)):
                english = self._evaluations[variant.number, "en", split]["value"]
                row |= {f"{split}_english_value": english, f"{split}_others_value": others}
                row |= {f"on_front_{split}": variant.number % 100 == 1, f"keeps_both_{split}": False}
            chances.append({**shared, **row})
        write_rows(self._store, "choices", parameters={}, rows={"choices": choices, "pareto_chances": chances})


def _tested(difference: float) -> dict[str, float]:
    p_value = min(1.0, 2 * math.exp(-1000 * difference * difference))
    return {"difference": difference, "ci_low": difference - 0.04, "ci_high": difference + 0.04, "p_value": p_value}


def _unit(*key: object) -> float:
    """A number in [0, 1) that depends on nothing but the key, whatever the process."""
    value = 0
    for byte in repr(key).encode():
        value = (value * 1_000_003 + byte) % 2_147_483_647
    return value / 2_147_483_647


# Phases: each is a function of the folder and the number of variants, and returns more figures


def plan_recipe(folder: Path, n_variants: int) -> dict[str, Any]:
    """Plan a recipe."""
    plan = _plan(folder, n_variants)
    return {"n_variants": len(plan.variants), "jobs": len(plan.jobs)}


def _plan(folder: Path, n_variants: int) -> Any:
    from tests.tiny_recipes import CORPUS, SENTENCES, plan_of, tiny_recipe, write_inputs, write_recipe  # noqa: PLC0415

    inputs = folder / "inputs"
    if not inputs.exists():
        write_inputs(inputs)
        for language in LANGUAGES.keys() - CORPUS.keys():
            for kind, suffix in (("corpus", "txt"), ("facts", "test.jsonl")):
                (inputs / kind / f"{language}.{suffix}").write_bytes((inputs / kind / f"fr.{suffix}").read_bytes())
    assert SENTENCES.keys() == CORPUS.keys()
    recipe = tiny_recipe()
    n_seeds = max(1, n_variants // 100)
    recipe["demonstrations"] = [{**recipe["demonstrations"][0], "source": ["fr", "sw"], "seed": list(range(n_seeds))}]
    sparsities = [round(0.01 * (n + 1), 2) for n in range(n_variants // (2 * n_seeds))]
    wanda = {"name": "wanda", "demonstrations": "mt", "score": "wanda", "propagation": "dense"}
    recipe["variants"] = [{**wanda, "sparsity": sparsities}]
    recipe["evaluations"] = [{"task": "facts", "path": "facts", "languages": [*LANGUAGES]}]
    return plan_of(write_recipe(inputs, recipe, name=f"{n_variants}.yaml"))


def run_jobs(folder: Path, n_variants: int) -> dict[str, Any]:
    """Run the jobs of the plan with the real driver; they do nothing. Planning is subtracted."""
    from tests.benchmarks.driver import drive_jobs  # noqa: PLC0415

    plan = _plan(folder, n_variants)
    started = process_time()
    drive_jobs(Store(folder / f"run-{n_variants}"), plan.jobs)
    return {"cpu_s": process_time() - started, "jobs": len(plan.jobs)}


def fold(folder: Path, n_variants: int) -> dict[str, Any]:
    """Fold all records into a new catalog."""
    from catalog.store import Catalog  # noqa: PLC0415

    with Catalog.open(_store(folder, n_variants)) as catalog:
        done = catalog.fold()
    return {"records": done.n_records, "rows": done.n_rows}


def fold_again(folder: Path, n_variants: int) -> dict[str, Any]:
    """Fold a store that has nothing new."""
    from catalog.store import Catalog  # noqa: PLC0415

    with Catalog.open(_store(folder, n_variants)) as catalog:
        return {"records": catalog.fold().n_records}


def fold_one(folder: Path, n_variants: int) -> dict[str, Any]:
    """Fold one new record."""
    store = _store(folder, n_variants)
    rows = {"demonstration_sets": [{"demonstration_set_id": "@id", "kind": "code", "seed": 0}]}
    write_rows(store, "demonstration_sets", parameters={"name": "new"}, rows=rows)
    return fold_again(folder, n_variants)


def query(folder: Path, n_variants: int) -> dict[str, Any]:
    """Answer every named query with its default parameters."""
    from catalog.sql_files import list_queries  # noqa: PLC0415
    from catalog.store import Catalog  # noqa: PLC0415
    from tests.benchmarks.catalog_scale import _parameters  # noqa: PLC0415

    seconds: dict[str, float] = {}
    with Catalog.open(_store(folder, n_variants)) as catalog:
        known = catalog.query("SELECT * FROM metrics ORDER BY evaluation_id LIMIT 1")[0]
        known = {"environment_id": "", **known}
        for each in list_queries():
            if not each.reads:
                started = process_time()
                catalog.query(each.sql, _parameters(each, known))
                seconds[each.name] = round(process_time() - started, 3)
    return {"each": seconds}


def report(folder: Path, n_variants: int) -> dict[str, Any]:
    """Write the report."""
    from catalog.report import write_report  # noqa: PLC0415
    from catalog.store import Catalog  # noqa: PLC0415

    with Catalog.open(_store(folder, n_variants)) as catalog:
        page = write_report(catalog, folder / f"report-{n_variants}.html")
    text = page.read_text("utf-8")
    return {"megabytes": round(len(text.encode()) / 1e6, 2), "elements": text.count("<") - text.count("</")}


def check_store(folder: Path, n_variants: int) -> dict[str, Any]:
    """Check the store; it must be sound."""
    from catalog.check import check  # noqa: PLC0415

    damages, _ = check(_store(folder, n_variants))
    return {"damages": [str(damage) for damage in damages[:3]]}


def status(folder: Path, n_variants: int) -> dict[str, Any]:
    """Show the status of the run of empty jobs."""
    from mlprune.store.run_status import StatusReader  # noqa: PLC0415

    (run,) = StatusReader(Store(folder / f"run-{n_variants}")).read()
    return {"done": sum(step.n_done for step in run.steps.values())}


def gc(folder: Path, n_variants: int) -> dict[str, Any]:
    """List the files that no record references."""
    from mlprune.store.garbage import find_garbage  # noqa: PLC0415

    return {"files": len(find_garbage(_store(folder, n_variants), min_age_s=0).files)}


def fill(folder: Path, n_variants: int) -> dict[str, Any]:
    """Make the store of the other phases; not one of them itself."""
    with patch("os.fsync", lambda _: None):
        Filling(_store(folder, n_variants)).fill(made_up_variants(n_variants))
    return {}


def _store(folder: Path, n_variants: int) -> Store:
    return Store(folder / f"store-{n_variants}")


PHASES: Mapping[str, Callable[[Path, int], dict[str, Any]]] = {
    "plan": plan_recipe,
    "run": run_jobs,
    "status": status,
    "fill": fill,
    "fold": fold,
    "fold again": fold_again,
    "fold one": fold_one,
    "query": query,
    "report": report,
    "check": check_store,
    "gc": gc,
}


def measure(phase: str, folder: Path, n_variants: int) -> dict[str, Any]:
    """Measure a phase in a process of its own."""
    more = ["--measure", phase, "--folder", str(folder), "--variants", str(n_variants)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__)), *more]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{phase} ended {done.returncode}: {done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def figures_of(phase: str, folder: Path, n_variants: int) -> dict[str, Any]:
    """Run a phase in this process."""
    figures = PHASES[phase](folder, n_variants)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cpu_s = figures.pop("cpu_s", process_time())
    return {"cpu_s": round(cpu_s, 2), "peak_mib": round(peak), **figures}


def growth(seconds: Mapping[int, float]) -> float | None:
    """Time of a further variant between the last two sizes, divided by that between the first two.

    Args:
        seconds: number of variants -> seconds.
    Returns: None for fewer than three sizes, or if the time does not grow at first.
    """
    sizes = sorted(seconds)
    if len(sizes) < 3:
        return None
    slopes = [(seconds[more] - seconds[less]) / (more - less) for less, more in pairwise(sizes)]
    return slopes[-1] / slopes[0] if slopes[0] > 0 else None


def all_figures(folder: Path, sizes: list[int], phases: list[str]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Measure phases, which need those before them in `PHASES`."""
    for n_variants, phase in product(sizes, phases):
        yield phase, n_variants, measure(phase, folder, n_variants)


def main() -> None:
    """Measure and print one line of JSON for each phase and number of variants."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--variants", type=int, nargs="+", default=[1_000, 3_000, 10_000])
    parser.add_argument("--only", choices=PHASES, nargs="+", default=list(PHASES), help="phases to measure")
    parser.add_argument("--folder", type=Path, help="keep the stores in this folder, and use those that are there")
    parser.add_argument("--out", type=Path, help="file for all figures")
    parser.add_argument("--measure", choices=PHASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(figures_of(options.measure, options.folder, options.variants[0])))
        return
    with tempfile.TemporaryDirectory(prefix="mlprune-ten-thousand-") as temporary:
        measured: dict[str, dict[int, dict[str, Any]]] = {}
        show = partial(print, flush=True)
        for phase, n_variants, figures in all_figures(
            options.folder or Path(temporary), options.variants, options.only
        ):
            measured.setdefault(phase, {})[n_variants] = figures
            shown = {name: value for name, value in figures.items() if name != "each"}
            show(json.dumps({"phase": phase, "variants": n_variants, **shown}))
    for phase, by_size in measured.items():
        found = growth({n_variants: figures["cpu_s"] for n_variants, figures in by_size.items()})
        show(json.dumps({"phase": phase, "growth": None if found is None else round(found, 2)}))
    if options.out:
        options.out.write_text(json.dumps(measured, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
