"""Variants with codes of a tiny recipe: their weights, errors, files, rows, labels, plan and refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file
from torch import Tensor

from catalog.queries import run_user_query
from catalog.store import Catalog
from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.publishing.export import export_variant
from mlprune.capabilities.publishing.model_card import model_card
from mlprune.capabilities.quantisation.coded import CodeJob, coding_cost
from mlprune.capabilities.quantisation.variant import CodedVariant
from mlprune.errors import DamagedArtefactError, RecipeError
from mlprune.models.placement.memory_estimate import MAX_STATE_BYTES
from mlprune.models.shard import Shard
from mlprune.numeric.activations.gram import combined_products
from mlprune.numeric.weights.codes import CodeFormat, Codes
from mlprune.numeric.weights.gptq import gptq, input_factor, nearest
from mlprune.numeric.weights.layer_inputs import layer_error
from mlprune.planning import build_plan
from mlprune.pruning.mask_files import read_block_weights, weights_path
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.compare.seeds import seed_groups
from mlprune.steps.evaluate.model_evaluation import apply_variant
from mlprune.steps.job import SetSize
from mlprune.steps.questions.asked import seed_of, stored_seed
from mlprune.steps.rescore.verify import Recheck, has_masks_to_rebuild
from mlprune.steps.variants.variant_rows import require_masks, stored_masks
from mlprune.store.store import Store
from tests.derived_recipe import coded_recipe
from tests.mlprune.steps.job_costs import N_WEIGHTS, SET_TOKENS, costs_by_class, sizes_of
from tests.refusals import refused
from tests.tiny_recipes import (
    FinishedRun,
    chain_of,
    gram_matrices,
    reference_model,
)

LAYERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2")
N_BLOCKS = 3
NAMES = ("own", "nearest", "two", "changed", "units")


@pytest.fixture(name="run")
def _run(coded_run: FinishedRun) -> FinishedRun:
    return coded_run


def job_of(run: FinishedRun, name: str) -> CodeJob:
    """The job of the last variant of an entry: with masks, if it has any."""
    ids = [variant.id for variant in run.named(name)]
    return next(job for job in run.plan.jobs if isinstance(job, CodeJob) and job.variant.id == ids[-1])


def weights_of(store: Store, variant_id: str) -> dict[tuple[int, str], Tensor]:
    stored = stored_masks(store, store.require("variants", variant_id))
    files = [read_block_weights(store, file) for file in stored.weights] if stored else []
    return {(block, layer): weight for block, of_block in enumerate(files) for layer, weight in of_block.items()}


def unrounded(run: FinishedRun, variant: CodedVariant) -> dict[tuple[int, str], Tensor]:
    """The masked and changed weights of the parent."""
    model, masks, new = reference_model(run.folder / "model"), run.keep_masks(variant.parent.id), {}
    new = weights_of(run.store, variant.parent.id)
    return {
        (block, layer): new.get((block, layer), module.get_submodule(layer).weight.detach())
        * masks.get((block, layer), 1)
        for block, module in enumerate(model.model.layers)
        for layer in LAYERS
    }


def texts_of(store: Store, set_id: str) -> list[list[int]]:
    table = store.read_table(store.require("demonstration_sets", set_id).artefacts[0])
    return [list(ids) for ids in table["token_ids"]]


def expected_products(run: FinishedRun, variant: CodedVariant) -> list[dict[tuple[int, str], Tensor]]:
    """The Gram matrices of each set with the model library's own forward, in the model that the settings name."""
    found: list[dict[tuple[int, str], Tensor]] = [{} for _ in variant.set_ids]
    is_dense = variant.settings.propagation == "dense"
    first, rounded = unrounded(run, variant), weights_of(run.store, variant.id)
    for block in range(N_BLOCKS):
        model = reference_model(run.folder / "model")
        for number, layer in () if is_dense else first:
            if number <= block:
                source = first if number == block else rounded
                model.model.layers[number].get_submodule(layer).weight.data.copy_(source[number, layer])
        for of_set, set_id in zip(found, variant.set_ids, strict=True):
            matrices = gram_matrices(model, texts_of(run.store, set_id), layers=LAYERS)
            of_set |= {key: matrix for key, matrix in matrices.items() if key[0] == block}
    return found


def remaining_inputs(keep: Tensor) -> Tensor | None:
    """The inputs of which a mask keeps a weight, if it removes all weights of others."""
    kept = keep.any(dim=0)
    return None if kept.all() else kept


@pytest.mark.parametrize("name", ["own", "two", "units"])
def test_weights_and_errors_are_those_of_gptq_on_what_the_model_library_computes(run: FinishedRun, name: str) -> None:
    """A sum of products in another order decides at a tie only, which moves the later codes of its row.

    It also moves the last bits of a scale that is not that of the first weights, by much less than a step.
    """
    variant = job_of(run, name).variant
    products, settings = expected_products(run, variant), variant.settings
    layout = CodeFormat(settings.bits, settings.group_size, settings.symmetric)
    dense, masks = reference_model(run.folder / "model"), run.keep_masks(variant.parent.id)
    errors = {
        (row["block"], row["layer"], row["demonstration_set_id"]): row
        for row in run.rows("quantisation_errors")
        if row["variant_id"] == variant.id
    }
    assert len(errors) == N_BLOCKS * len(LAYERS) * len(variant.set_ids)
    n_different = 0
    for key, found in weights_of(run.store, variant.id).items():
        weight = dense.model.layers[key[0]].get_submodule(key[1]).weight.detach()
        together = combined_products([of_set[key] for of_set in products], variant.shares)
        kept = remaining_inputs(masks[key]) if name == "units" else None
        factor = input_factor(
            together, damping=settings.damping, by_activation=settings.order == "by_activation", kept=kept
        )
        codes = gptq(weight, factor, layout=layout, keep=masks.get(key), dtype=torch.float32)
        n_different += int((codes.dequantised() - found).abs().gt(1e-4).any(dim=1).sum())
        for set_id, of_set in zip(variant.set_ids, products, strict=True):
            row = errors[*key, set_id]
            parent = weight * masks.get(key, 1)
            assert row["error"] == pytest.approx(layer_error(weight, found, of_set[key]), rel=1e-3)
            assert row["unquantised_error"] == pytest.approx(layer_error(weight, parent, of_set[key]), rel=1e-3)
            assert row["error"] > row["unquantised_error"] or row["unquantised_error"] > 0
    assert n_different <= 3


def test_weights_of_nearest_are_rounded_alone(run: FinishedRun) -> None:
    variant = job_of(run, "nearest").variant
    found, masks = weights_of(run.store, variant.id), run.keep_masks(variant.parent.id)
    for key, weight in unrounded(run, variant).items():
        codes = nearest(weight, CodeFormat(), keep=masks[key], dtype=torch.float32)
        assert torch.equal(found[key], codes.dequantised())
    assert not any(row["variant_id"] == variant.id for row in run.rows("quantisation_errors"))


@pytest.mark.parametrize("name", NAMES)
def test_an_applied_and_an_exported_variant_have_the_weights_of_the_codes_and_the_masks_of_the_parent(
    run: FinishedRun, name: str, tmp_path: Path
) -> None:
    variant = job_of(run, name).variant
    masks, parents = run.keep_masks(variant.id), run.keep_masks(variant.parent.id)
    found = weights_of(run.store, variant.id)
    assert set(found) == set(masks) == {(block, layer) for block in range(N_BLOCKS) for layer in LAYERS}
    for key, keep in masks.items():
        assert torch.equal(keep, parents[key]) if parents else bool(keep.all())
        assert not found[key][~keep].any()
        assert len(found[key].unique()) <= 2**variant.settings.bits * found[key].shape[0]
    chain = chain_of(run.plan)
    apply_variant(chain, run.store, variant.id)
    export_variant(run.store, variant.id, run.folder / "model", tmp_path / "out")
    exported = load_file(tmp_path / "out" / "model.safetensors")
    loaded = load_masked_model(run.store, variant.id, run.folder / "model").state_dict()
    for (block, layer), weight in found.items():
        name = f"model.layers.{block}.{layer}.weight"
        assert torch.equal(chain.on_block(block, _weight, block, layer), weight)
        assert torch.equal(exported[name], weight)
        assert torch.equal(loaded[name], weight)


def _weight(shard: Shard, block: int, layer: str) -> Tensor:
    return shard.runner.modules[block].get_submodule(layer).get_parameter("weight").detach().clone()


def test_files_have_codes_of_the_named_bits_and_their_sizes_are_in_the_rows(run: FinishedRun) -> None:
    n_without_codes = 0
    for name in NAMES:
        variant = job_of(run, name).variant
        masks = run.keep_masks(variant.id)
        rows = {
            (row["block"], row["layer"]): row for row in run.rows("quantised_layers") if row["variant_id"] == variant.id
        }
        for block, artefact in enumerate(require_masks(run.store, variant.id).weights):
            tensors = load(run.store.read_bytes(artefact))
            for layer in LAYERS:
                row = rows[block, layer]
                stored = {
                    name: tensors[f"{layer}/{name}"]
                    for name in ("codes", "scales", "zeros", "shape", "kept")
                    if f"{layer}/{name}" in tensors
                }
                assert row["n_bytes"] == sum(tensor.nbytes for tensor in stored.values())
                assert row["n_weights"] == Codes.of_tensors(stored).dequantised().numel()
                if name == "units":
                    kept = remaining_inputs(masks[block, layer])
                    assert ("kept" in stored) == (kept is not None)
                    assert kept is None or torch.equal(stored["kept"], kept)
                    n_without_codes += 0 if kept is None else int((~kept).sum())
                assert stored["codes"].dtype == torch.int32
                assert ("zeros" in stored) != row["is_symmetric"]
                assert (row["method"], row["bits"]) == (variant.settings.method, variant.settings.bits)
                assert row["is_reached"] is (None if name == "nearest" else True)
    assert n_without_codes


def test_files_with_impossible_codes_are_damaged(run: FinishedRun, tmp_path: Path) -> None:
    from safetensors.torch import save  # noqa: PLC0415

    store = Store(tmp_path / "store")
    codes = nearest(torch.randn(2, 40), CodeFormat(), dtype=torch.float32).tensors()
    for tensors in ({"fc1/codes": codes["codes"]}, {f"fc1/{name}": one[:1] for name, one in codes.items()}):
        artefact = store.write_bytes(
            weights_path("damaged", 0), save({name: one.contiguous() for name, one in tensors.items()})
        )
        with refused(DamagedArtefactError, path=artefact.path):
            read_block_weights(store, artefact)


def test_the_catalog_knows_the_parent_the_sets_and_the_settings(run: FinishedRun) -> None:
    job = job_of(run, "two")
    record = run.store.require(*job.variant.identity.key)
    (row,) = record.rows["variants"]
    assert (row["bits"], row["quantisation_group"], row["weights_changed"]) == (3, None, True)
    assert row["quantisation"] == {
        "method": "gptq",
        "symmetric": False,
        "order": "by_activation",
        "propagation": "dense",
    }
    assert [(link["role"], link["weight"]) for link in record.rows["variant_demonstrations"]] == [
        ("quantisation", 0.25),
        ("quantisation", 0.75),
    ]
    link = {"variant_id": job.variant.id, "parent_variant_id": job.variant.parent.id, "role": "unquantised"}
    assert record.rows["variant_parents"] == [link]
    own = run.store.require(*job_of(run, "own").variant.identity.key)
    parent = run.store.require(*job_of(run, "own").variant.parent.identity.key)
    assert own.rows["variants"][0]["mask_sha256"] == parent.rows["variants"][0]["mask_sha256"]
    assert own.rows["variants"][0]["achieved_sparsity"] == parent.rows["variants"][0]["achieved_sparsity"]
    cards = {name: model_card(run.store, run.store.require("variants", job_of(run, name).variant.id)) for name in NAMES}
    assert all("unquantised" in card for card in cards.values())
    assert {name for name, card in cards.items() if "GPTQ" in card} == set(NAMES) - {"nearest"}
    assert not has_masks_to_rebuild(own)
    for one in (record, own):
        assert Recheck(run.store, lambda _: run.folder / "model").contradictions(one) == []


def test_plan_and_catalog_describe_every_variant_by_method_and_sets(run: FinishedRun) -> None:
    with Catalog.in_memory(run.store) as catalog:
        labels = {row["variant_id"]: row["label"] for row in catalog.query("FROM described_variants")}
        costs = run_user_query(catalog, "quantisation_cost").as_dicts()
    found = {name: [labels[one.id] for one in run.named(name)] for name in NAMES}
    assert found == {
        "own": ["4 bits in groups of 64, gptq on fr-en", "wanda fr-en 0.5, 4 bits in groups of 64, gptq on fr-en"],
        "nearest": ["wanda fr-en 0.5, 4 bits in groups of 64, nearest"],
        "two": [
            "3 bits in rows, gptq on fr x 0.75 + fr-en x 0.25, order by_activation, propagation dense, symmetric false"
        ],
        "changed": ["sparsegpt fr-en sequential matrix 0.5, 8 bits in groups of 32, gptq on fr-en, tokens source"],
        "units": ["flap fr-en units 0.3, 4 bits in groups of 32, gptq on fr-en, compensate false, propagation dense"],
    }
    assert {(row["quantisation_method"], row["demonstrations"], row["sparsity"]) for row in costs} == {
        ("gptq", "fr-en", 0.0),
        ("gptq", "fr-en", 0.5),
        ("nearest", None, 0.5),
    }
    planned = {name: run.named(name)[-1].label for name in NAMES}
    assert planned["own"] == f"{run.named('wanda')[0].label} 4 bits groups of 64 gptq on fr-en"
    assert planned["nearest"].endswith("4 bits groups of 64 nearest")


def test_a_variant_is_compared_with_its_parent_dense_and_what_its_entry_names(run: FinishedRun) -> None:
    pairs = {(job.variant_id, job.baseline_id) for job in run.plan.jobs if isinstance(job, CompareJob)}
    own, plain = job_of(run, "own").variant, job_of(run, "nearest").variant
    dense = next(iter(run.plan.variants))
    assert {baseline for variant, baseline in pairs if variant == own.id} == {dense, own.parent.id, plain.id}


def test_codes_of_each_draw_of_the_sets_are_a_group_of_seeds(tiny_inputs: Path) -> None:
    recipe = coded_recipe()
    recipe["demonstrations"][0]["seed"] = [0, 1]
    recipe["variants"] = [{"name": "codes", "sparsity": 0, "quantise": {"demonstrations": "mt"}}]
    recipe["evaluations"][0]["variants"] = ["codes"]
    variants = build_plan(parse_recipe(recipe, folder=tiny_inputs)).variants
    coded = [variant for variant in variants.values() if variant.entries]
    (group,) = seed_groups(variants.values())
    assert group.variants == tuple((variant.seed, variant.id) for variant in coded)
    assert [variant.seed for variant in coded] == [0, 1]


def test_codes_of_two_kinds_of_text_are_compared_draw_by_draw_and_each_with_codes_of_no_text(tiny_inputs: Path) -> None:
    recipe = coded_recipe()
    for entry in recipe["demonstrations"]:
        entry["seed"] = [0, 1]
    one, other = (entry["name"] for entry in recipe["demonstrations"][:2])
    recipe["variants"] = [
        {"name": "one", "sparsity": 0, "quantise": {"demonstrations": one}, "against": ["other", "plain"]},
        {"name": "other", "sparsity": 0, "quantise": {"demonstrations": other}},
        {"name": "plain", "sparsity": 0, "quantise": {"method": "nearest"}},
    ]
    recipe["evaluations"][0]["variants"] = ["one", "other", "plain"]
    plan = build_plan(parse_recipe(recipe, folder=tiny_inputs))
    named = {
        variant.id: (variant.entries[0].name, variant.seed) for variant in plan.variants.values() if variant.entries
    }
    jobs = [job for job in plan.jobs if isinstance(job, CompareJob) and job.baseline_id in named]
    assert {(named[job.variant_id], named[job.baseline_id]) for job in jobs} == {
        (("one", seed), baseline) for seed in (0, 1) for baseline in (("other", seed), ("plain", None))
    }


def test_a_stored_variant_has_the_seed_that_it_was_planned_with(run: FinishedRun) -> None:
    seeds = {variant.label: seed_of(variant) for variant in run.plan.variants.values()}
    assert {variant.label: stored_seed(run.store, variant.id) for variant in run.plan.variants.values()} == seeds
    assert seeds[run.named("two")[0].label] == 0
    assert seeds["dense"] is None


def test_defaults_that_are_written_out_change_no_id(tiny_inputs: Path) -> None:
    ids = []
    written = {"bits": 4, "group": 64, "symmetric": True, "order": "as_is", "damping": 0.01, "tokens": "all"}
    for keys in ({}, {**written, "method": "gptq", "propagation": "sequential"}):
        recipe = {**coded_recipe(), "variants": [{"sparsity": 0, "quantise": {"demonstrations": "mt", **keys}}]}
        del recipe["evaluations"]
        ids.append(list(build_plan(parse_recipe(recipe, folder=tiny_inputs)).variants))
    assert ids[0] == ids[1]


WANDA = {"score": "wanda", "demonstrations": "mt", "sparsity": 0.5}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"sparsity": 0, "quantise": {}}, "reads demonstrations"),
    ({"score": "random", "sparsity": 0.5, "quantise": {"demonstrations": "nothing"}}, "unknown"),
    ({**WANDA, "quantise": {"bits": 2}}, "bits"),
    ({**WANDA, "quantise": {"group": 48}}, "group"),
    ({**WANDA, "quantise": {"damping": 0}}, "damping"),
    ({**WANDA, "quantise": {"method": "nearest", "damping": 0.1}}, "damping"),
    ({**WANDA, "quantise": {"method": "nearest", "demonstrations": "mt"}}, "demonstrations"),
    ({**WANDA, "quantise": {"demonstrations": "mt", "over": ["mt", "mono"]}}, "not both"),
    ({**WANDA, "quantise": {"demonstrations": "mt", "shares": [1]}}, "shares"),
    ({**WANDA, "quantise": {"over": ["mt", "mono"], "shares": [1]}}, "shares"),
    ({**WANDA, "quantise": {"demonstrations": "mono", "tokens": "target"}}, "token_scope"),
    ({**WANDA, "quantise": {}, "bits": 4}, "bits"),
    ({"score": "random", "structure": "blocks", "sparsity": 0.5, "quantise": {"method": "nearest"}}, "quantise"),
]


@pytest.mark.parametrize(("entry", "words"), BAD, ids=[f"{n}-{words}" for n, (_, words) in enumerate(BAD)])
def test_what_cannot_be_quantised_is_refused_in_one_line(tiny_inputs: Path, entry: dict[str, Any], words: str) -> None:
    recipe = {**coded_recipe(), "variants": [entry]}
    del recipe["evaluations"]
    with pytest.raises(RecipeError) as caught:
        build_plan(parse_recipe(recipe, folder=tiny_inputs))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_plan_counts_passes_products_states_and_codes(run: FinishedRun) -> None:
    costs = {job.variant.id: cost for job, cost in costs_by_class(run.plan, CodeJob)}
    sizes, block = sizes_of(run.plan), N_WEIGHTS // N_BLOCKS
    two = costs[job_of(run, "two").variant.id]
    products = 3 * 16**2 + 64**2
    passes = 2 * 2.0 * N_WEIGHTS * 2 * SET_TOKENS
    rounding = N_BLOCKS * (2.0 * 2 * SET_TOKENS * products + 14.0 * 64 * block)
    assert two.flops == pytest.approx(passes + rounding)
    assert two.device_fixed_bytes == 2 * SET_TOKENS * sizes.hidden * 4 + 8 * 3 * products + 7 * block
    assert two.disk_bytes == pytest.approx(N_WEIGHTS * (3 / 8 + 5 / 16 + 1 / 8))
    plain = costs[job_of(run, "nearest").variant.id]
    assert plain.flops == 0
    assert plain.disk_bytes == pytest.approx(N_WEIGHTS * (4 / 8 + 4 / 64 + 1 / 8))
    size = SetSize(10**10, 10**6)
    large = coding_cost("sweep", sizes, size, n_sets=1, batch_tokens=64, code_bytes=0.5)
    assert large.fixed_bytes < MAX_STATE_BYTES * 1.1, "states beyond the limit are on the disk"
