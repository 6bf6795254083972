"""Variants without experts from recipe to masks, against plain loops over tokens and experts."""

from collections.abc import Mapping
from dataclasses import replace
from math import floor
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.capabilities.experts.expert_masks import ExpertMasksJob
from mlprune.errors import RecipeError
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.placement.memory_estimate import footprint
from mlprune.planning import build_plan
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.prune.result_warnings import variant_warnings
from mlprune.steps.rescore.verify import verify_variant
from tests.expert_models import save_expert_model
from tests.expert_routes import Routed, routed
from tests.mlprune.capabilities.test_capability import leave_out
from tests.refusals import refused
from tests.tiny_recipes import FinishedRun, finished_run, plan_of, small_recipe, write_recipe, write_texts

TYPES = ("qwen3_moe", "mixtral", "gpt_oss", "deepseek_v3", "granitemoe")
USES: Mapping[str, tuple[str, int, int]] = {
    "frequency": ("token", 0, 0),
    "gate_mass": ("token", 1, 0),
    "contribution": ("token", 1, 1),
    "reap": ("routed", 1, 1),
    "mean_norm": ("routed", 0, 1),
    "mean_square_norm": ("routed", 0, 2),
}
N_EXPERTS, TOP_K, SPARSITIES = 8, 2, (0.25, 0.5)
SIZES = {"shots": 2, "samples": 3, "max_tokens": 40}
Texts = dict[str, list[tuple[list[int], list[int], list[list[Routed]]]]]
"""Language -> per demonstration: token ids, sides, and the routing of every block with experts."""


def expert_recipe() -> dict[str, Any]:
    """Every score of experts, both structures, several sets, chosen tokens and demonstrations, and a contrast."""
    recipe = small_recipe()
    sets = {"kind": "monolingual", **SIZES}
    recipe["demonstrations"] = [
        {"name": "fr", "language": "fr", **sets},
        {"name": "sw", "language": "sw", **sets},
        {"name": "mt", "kind": "translation", "source": "fr", "target": "en", **SIZES},
    ]
    experts = {"propagation": "dense", "structure": "experts"}
    one = {**experts, "demonstrations": "fr"}
    both = {**experts, "over": ["fr", "sw"], "sparsity": 0.5}
    recipe["variants"] = [
        {"name": "uses", **one, "score": list(USES), "sparsity": list(SPARSITIES)},
        {"name": "switches", **one, "score": "expert_use", "per": "routed", "gate": True, "norm": 1, "sparsity": 0.5},
        {"name": "unnamed", **one, "score": "expert_use", "norm": 2, "sparsity": 0.5},
        {"name": "all", **one, "structure": "all_experts", "score": ["reap", "frequency"], "sparsity": 0.5},
        {"name": "mean", **both, "score": "reap", "aggregate": "mean", "shares": [1, 3]},
        {"name": "max", **both, "score": "reap", "aggregate": "max"},
        {"name": "pooled", **both, "score": "reap", "aggregate": "pooled"},
        {"name": "target", **one, "demonstrations": "mt", "score": "gate_mass", "tokens": "target", "sparsity": 0.5},
        {"name": "first", **one, "score": "frequency", "samples": 1, "sparsity": 0.5},
        {"name": "contrast", **one, "score": "contrast", "contrast": "sw", "sparsity": 0.5},
        {"name": "random", **experts, "score": "random", "seed": [0, 1], "sparsity": [0, 0.5]},
    ]
    recipe["evaluations"] = []
    return recipe


def write_model(folder: Path, model_type: str) -> Path:
    """Write a model and texts."""
    changes = {"n_group": 2, "topk_group": 1} if model_type == "deepseek_v3" else {}
    save_expert_model(folder / "model", model_type, n_experts=N_EXPERTS, **changes)
    write_texts(folder)
    return folder


@pytest.fixture(scope="module", params=TYPES)
def expert_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = write_model(tmp_path_factory.mktemp(request.param), request.param)
    return finished_run(folder, expert_recipe(), name="experts")


def texts_of(run: FinishedRun) -> Texts:
    """Return the routing of all texts that run alone through the model of the library."""
    model = AutoModelForCausalLM.from_pretrained(run.folder / "model", dtype=torch.float32).eval()
    texts: Texts = {}
    for record in run.store.records():
        if record.kind == "demonstration_sets":
            table = run.store.read_table(record.artefacts[0])
            name = "".join(filter(None, (record.parameters["source"], record.parameters["target"])))
            rows = zip(table["token_ids"], table["sides"], strict=True)
            texts[name] = [(list(ids), list(sides), routed(model, list(ids))) for ids, sides in rows]
    return texts


def totals(texts: Any, place: int, *, side: int | None = None) -> tuple[list[list[float]], int]:
    """Return, per expert, its six sums by plain loops, and the number of tokens."""
    sums, n_tokens = [[0.0] * 6 for _ in range(N_EXPERTS)], 0
    for _, sides, blocks in texts:
        n_tokens += sum(side in (None, one) for one in sides)
        for expert, own in enumerate(blocks[place]):
            for token, gate, norm in zip(own.tokens, own.gates, own.norms, strict=True):
                if side in (None, sides[token]):
                    for index in range(6):
                        sums[expert][index] += gate ** (index // 3) * norm ** (index % 3)
    return sums, n_tokens


def scored(total: tuple[list[list[float]], int], use: tuple[str, int, int]) -> list[float]:
    per, a, b = use
    sums, n_tokens = total
    return [one[3 * a + b] / (n_tokens if per == "token" else max(one[0], 1)) for one in sums]


def lowest(scores: Mapping[int, list[float]], used: Mapping[int, list[bool]], wanted: int, *, grouped: bool) -> Any:
    """Return (block, expert) of the removed experts: of 8 experts 2 remain, or 2 in each of two groups of 4."""
    removed: set[tuple[int, int]] = set()
    keys = [(used[block][e], s, block, e) for block, of_block in scores.items() for e, s in enumerate(of_block)]
    for _, _, block, expert in sorted(keys):
        members = range(expert // 4 * 4, expert // 4 * 4 + 4) if grouped else range(N_EXPERTS)
        if len(removed) < wanted and sum((block, one) not in removed for one in members) > 2:
            removed.add((block, expert))
    return removed


def expected_experts(run: FinishedRun, texts: Texts, name: str, spec: Any) -> set[tuple[int, int]]:
    architecture = architecture_of_run(run)
    blocks, grouped = list(architecture.experts), "deepseek" in architecture.name
    per_set = {"mean": ("fr", "sw"), "max": ("fr", "sw"), "pooled": ("fr", "sw"), "target": ("fren",)}.get(
        name, ("fr",)
    )
    use = USES.get(spec.score.score, ("token", 1, 2 if name == "unnamed" else 1))
    scores, used = {}, {}
    for place, block in enumerate(blocks):
        side = 2 if name == "target" else None
        n_texts = 1 if name == "first" else None
        sums = [totals(texts[one][:n_texts], place, side=side) for one in per_set]
        used[block] = [any(total[e][0] for total, _ in sums) for e in range(N_EXPERTS)]
        if name == "pooled":
            joined = [[sum(t[e][i] / n for t, n in sums) / 2 for i in range(6)] for e in range(N_EXPERTS)]
            each = [[one[4] / one[0] if one[0] else 0.0 for one in joined]]
        else:
            each = [scored(total, use) for total in sums]
        if name == "mean":
            each = [[0.25 * first + 0.75 * second for first, second in zip(*each, strict=True)]]
        if name == "max":
            each = [[max(pair) for pair in zip(*each, strict=True)]]
        if name == "contrast":
            against = scored(totals(texts["sw"], place), use)
            each = [[s * s / c if c else 1e200 * s for s, c in zip(each[0], against, strict=True)]]
        scores[block] = each[0]
    if spec.score.structure == "all_experts":
        return lowest(scores, used, floor(spec.sparsity * N_EXPERTS * len(blocks)), grouped=grouped)
    wanted = floor(spec.sparsity * N_EXPERTS)
    return set().union(*(lowest({b: scores[b]}, {b: used[b]}, wanted, grouped=grouped) for b in blocks))


def architecture_of_run(run: FinishedRun) -> Architecture:
    return architecture_at(str(run.folder / "model"))


def removed_by_masks(run: FinishedRun, variant_id: str) -> set[tuple[int, int]]:
    """Return (block, expert) of the experts whose layers lose weights; both layers have to lose all of them."""
    architecture, masks = architecture_of_run(run), run.keep_masks(variant_id)
    removed = set()
    for block in range(architecture.n_blocks):
        experts = architecture.block(block).experts
        for expert in range(experts.n_experts if experts else 0):
            both = [masks.pop((block, layer)) for layer in experts.layers(expert)]
            assert all(bool(mask.all()) for mask in both) or not any(bool(mask.any()) for mask in both)
            removed |= {(block, expert)} if not bool(both[0].any()) else set()
    assert all(bool(mask.all()) for mask in masks.values())
    return removed


@pytest.mark.thorough("runs a model for every case")
def test_masks_are_those_of_plain_loops(expert_run: FinishedRun) -> None:
    texts = texts_of(expert_run)
    scored_names = ("uses", "switches", "unnamed", "all", "mean", "max", "pooled", "target", "first", "contrast")
    n_checked = 0
    for name in scored_names:
        for variant in expert_run.named(name):
            expected = expected_experts(expert_run, texts, name, variant.spec)
            assert removed_by_masks(expert_run, variant.id) == expected, variant.label
            n_checked += 1
    assert n_checked == 6 * 2 + 10


def test_switches_of_a_named_score_are_that_score(expert_run: FinishedRun) -> None:
    (variant,) = expert_run.named("switches")
    assert variant.spec.score.score == "reap"
    assert variant.id in {one.id for one in expert_run.named("uses")}


def test_random_experts_have_a_seed_and_sparsity_0_is_the_dense_model(expert_run: FinishedRun) -> None:
    variants = expert_run.named("random")
    assert {one.is_dense for one in variants if one.spec.sparsity == 0} == {True}
    drawn = {one.spec.score.seed: removed_by_masks(expert_run, one.id) for one in variants if one.spec.sparsity}
    n_blocks = len(architecture_of_run(expert_run).experts)
    assert len(drawn[0]) == len(drawn[1]) == N_EXPERTS // 2 * n_blocks
    assert drawn[0] != drawn[1]


@pytest.mark.thorough("runs a model for every case")
def test_rows_have_removed_and_unused_experts(expert_run: FinishedRun) -> None:
    texts = texts_of(expert_run)
    for variant in expert_run.named("uses"):
        rows = expert_run.store.require("variants", variant.id).rows["variant_experts"]
        removed = removed_by_masks(expert_run, variant.id)
        for place, row in enumerate(rows):
            sums, _ = totals(texts["fr"], place)
            assert row["n_unused"] == sum(not one[0] for one in sums)
            assert [(row["block"], expert) for expert in row["removed"]] == sorted(
                one for one in removed if one[0] == row["block"]
            )
            assert (row["n_experts"], row["n_removed"]) == (N_EXPERTS, len(row["removed"]))


def test_disk_space_of_masks_is_planned_as_what_is_stored(expert_run: FinishedRun) -> None:
    plan = expert_run.plan
    sizes = footprint(expert_run.folder / "model", plan.model.dtype)
    for job in (job for job in plan.jobs if isinstance(job, ExpertMasksJob)):
        files = expert_run.store.require(*job.ordering.key).artefacts
        assert 0.2 < sum(file.n_bytes for file in files) / job.cost(sizes, {}).disk_bytes < 1


def test_masks_are_rebuilt_from_the_store(expert_run: FinishedRun) -> None:
    for variant in (*expert_run.named("uses")[:2], *expert_run.named("contrast"), *expert_run.named("random")[-1:]):
        record = expert_run.store.require("variants", variant.id)
        assert verify_variant(expert_run.store, record, expert_run.folder / "model").is_equal


of_qwen3_moe = pytest.mark.parametrize("expert_run", ["qwen3_moe"], indirect=True)
REAP = {"score": "reap", "demonstrations": "fr", "propagation": "dense", "sparsity": 0.5}


@of_qwen3_moe
@pytest.mark.parametrize(
    "entry",
    [
        {**REAP, "sparsity": 0.9},
        {**REAP, "structure": "all_experts", "sparsity": 0.9},
        {**REAP, "tokens": "last_shot"},
        {**REAP, "tokens": "content"},
        {**REAP, "propagation": "sequential"},
        {**REAP, "removes": "highest"},
        {**REAP, "schedule": "owl"},
        {**REAP, "structure": "row"},
        {**REAP, "per": "token"},
        {**REAP, "score": "expert_use", "norm": 3},
        {**REAP, "score": "contrast", "contrast": "sw", "gate": True},
        {**REAP, "refine": "dsnot"},
    ],
    ids=lambda entry: " ".join(map(str, entry.values())),
)
def test_recipes_that_do_not_fit_experts_are_refused(expert_run: FinishedRun, entry: dict[str, Any]) -> None:
    recipe = {**expert_recipe(), "variants": [entry]}
    with pytest.raises(RecipeError):
        plan_of(write_recipe(expert_run.folder, recipe, name="refused.yaml"))


@pytest.mark.parametrize("expert_run", ["deepseek_v3"], indirect=True)
def test_groups_keep_what_a_token_needs_and_other_sparsities_are_refused(expert_run: FinishedRun) -> None:
    recipe = {**expert_recipe(), "variants": [{**REAP, "sparsity": 0.75}]}
    with refused(RecipeError, key="sparsity", got=0.75):
        plan_of(write_recipe(expert_run.folder, recipe, name="most.yaml"))


def test_a_dense_model_has_no_experts(tiny_inputs: Path) -> None:
    recipe = small_recipe()
    recipe["variants"] = [{**REAP, "demonstrations": "mt"}]
    with refused(RecipeError, key="structure", got="experts"):
        plan_of(write_recipe(tiny_inputs, recipe, name="no-experts.yaml"))


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"score": "reap", "demonstrations": "mt"}, "score"),
        ({"score": "random", "structure": "all_experts"}, "structure"),
    ],
)
def test_without_the_capability_its_scores_and_structures_are_refused(
    tiny_inputs: Path, monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any], key: str
) -> None:
    leave_out("experts", monkeypatch)
    first = {"score": "magnitude", "sparsity": 0.5}
    recipe = small_recipe() | {"variants": [first, {**entry, "propagation": "dense", "sparsity": 0.5}]}
    with refused(RecipeError, key=f"variants.1.{key}", got="experts"):
        build_plan(parse_recipe(recipe, folder=tiny_inputs))


@of_qwen3_moe
def test_a_variant_without_any_removed_expert_has_a_warning(expert_run: FinishedRun) -> None:
    variant = expert_run.named("uses")[0]
    record = expert_run.store.require("variants", variant.id)
    before = set(variant_warnings(expert_run.store, record))
    layers = [{**row, "n_removed": 0} for row in record.rows["variant_layers"]]
    without = replace(record, rows={**record.rows, "variant_layers": layers})
    (line,) = set(variant_warnings(expert_run.store, without)) - before
    assert "expert" in line
    assert variant.id in line
