"""Every method on a mixture of experts: what works is compared with plain computations, the rest is refused."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.errors import RecipeError
from mlprune.models.checkpoint.weight_files import architecture_at, read_block
from mlprune.models.masks.block_changes import changed_weights
from mlprune.planning import build_plan
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.observe.activations import ActivationsJob, read_activations
from mlprune.steps.rescore.verify import verify_variant
from mlprune.steps.variants.variant_rows import stored_changes
from tests.expert_models import save_expert_model
from tests.search_recipes import sensitivity_recipe
from tests.tiny_recipes import FinishedRun, finished_run, small_recipe, write_texts

BOTH = {"propagation": ["dense", "sequential"]}
WANDA = {"demonstrations": "mt", "score": "wanda", "sparsity": 0.5, **BOTH}
DENSE = {**WANDA, "propagation": "dense"}
OVER = {"over": ["mt", "fr"], "score": "wanda", "sparsity": 0.5, "propagation": "dense"}
SWEPT = {"demonstrations": "mt", "sparsity": 0.5}
REMOVED = {**DENSE, "score": "reap", "structure": "experts", "sparsity": 0.25}
METHODS: dict[str, dict[str, Any]] = {
    "magnitude": {"score": "magnitude", "sparsity": 0.5},
    "random": {"score": "random", "sparsity": 0.5},
    "wanda": WANDA,
    "matrix": {**WANDA, "structure": "matrix"},
    "alpha": {**DENSE, "structure": "alpha"},
    "two-four": {"demonstrations": "mt", "score": "wanda", "structure": "2:4", "propagation": "dense"},
    "permute": {"demonstrations": "mt", "score": "wanda", "structure": "2:4", "propagation": "dense", "permute": True},
    "highest": {**DENSE, "removes": "highest"},
    "ria": {**WANDA, "score": "ria"},
    "contrast": {**WANDA, "score": "contrast", "contrast": "fr"},
    "target": {**DENSE, "tokens": "target"},
    "last-shot": {**DENSE, "tokens": "last_shot"},
    "resample": {**DENSE, "samples": 3, "resample": 3},
    "pooled": {**OVER, "aggregate": "pooled"},
    "variance": {**OVER, "aggregate": "variance"},
    "paper": {**DENSE, "profile": "paper"},
    "given": {**WANDA, "schedule": {"layers": {"mlp.experts.1.down_proj": 0.25}}},
    "owl": {**WANDA, "schedule": {"kind": "owl", "m": 2, "spread": 0.2}},
    "dlp": {**DENSE, "schedule": {"kind": "dlp", "spread": 0.2}},
    "alpha-pruning": {**DENSE, "schedule": "alpha_pruning"},
    "wanda-plus-plus": {**WANDA, "score": "wanda_plus_plus"},
    "gram-swaps": {**WANDA, "refine": "gram_swaps"},
    "dsnot": {**DENSE, "refine": "dsnot"},
    "least-squares": {**WANDA, "refine": "least_squares"},
    "sparsegpt": {**SWEPT, "score": "sparsegpt"},
    "alps": {**SWEPT, "score": "alps"},
    "bits": {**DENSE, "bits": 4},
    "union": {"combine": "union", "of": ["magnitude", "random"]},
    "reap": REMOVED,
    "reap-bits": {**REMOVED, "bits": 4},
}
REBUILT = set(METHODS) - {"least-squares", "sparsegpt", "alps", "wanda-plus-plus", "gram-swaps"}
"""Methods whose masks follow from stored statistics or the weights, for every propagation that is tested."""
N_BLOCKS = 2


def recipe_of(variants: list[dict[str, Any]]) -> dict[str, Any]:
    """Two sets, the first with its raw activations, and facts in one language."""
    recipe = small_recipe()
    (mt,) = recipe["demonstrations"]
    french = {"name": "fr", "kind": "monolingual", "language": "fr", "shots": 2, "samples": 4, "max_tokens": 48}
    recipe["demonstrations"] = [{**mt, "activations": {"quota_gib": 1}}, french]
    recipe["evaluations"] = [{"task": "facts", "path": "facts", "languages": ["en"], "limit": 4}]
    return {**recipe, "variants": variants, "analyses": {"layer_errors": {"demonstrations": ["mt"]}}}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of experts, some of which get no token."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("experts")
    save_expert_model(folder / "model", "qwen3_moe", blocks=N_BLOCKS, seed=1)
    write_texts(folder)
    return folder


@pytest.fixture(scope="module")
def run(inputs: Path) -> FinishedRun:
    """All methods in one run."""
    return finished_run(inputs, recipe_of([{"name": name, **entry} for name, entry in METHODS.items()]), name="all")


def activations(run: FinishedRun) -> dict[tuple[int, str], Tensor]:
    """(block, input) -> [tokens, in], of the inputs that were read."""
    (job,) = (job for job in run.plan.jobs if isinstance(job, ActivationsJob))
    stored = run.store.require(*job.identity.key).artefacts
    names = {path.rpartition("/")[2].partition(".part-")[0] for path in (one.path for one in stored)}
    keys = sorted((int(name[6:9]), name[10:]) for name in names)
    read = {key: read_activations(run.store, job.identity.id, block=key[0], layer_input=key[1]) for key in keys}
    return {key: one.values for key, one in read.items()}


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", METHODS)
def test_a_method_prunes_the_layers_of_all_experts_and_its_masks_can_be_checked(name: str, run: FinishedRun) -> None:
    for variant in run.named(name):
        record = run.store.require("variants", variant.id)
        removed = {(row["block"], row["layer"]): row["n_removed"] for row in record.rows["variant_layers"]}
        of_experts = {key: n for key, n in removed.items() if ".experts." in key[1]}
        assert len(of_experts) == N_BLOCKS * 4 * 2
        assert all(of_experts.values()) or "reap" in name
        if name in ("wanda", "matrix", "ria", "sparsegpt", "alps", "gram-swaps", "wanda-plus-plus", "two-four"):
            assert set(of_experts.values()) == {24 * 16 // 2, 16 * 12 // 2}
        values = [row["value"] for row in run.rows("metrics") if row["variant_id"] == variant.id]
        assert values
        assert all(math.isfinite(value) for value in values)
        if name == "given":
            expected = {(block, "mlp.experts.1.down_proj"): 16 * 12 // 4 for block in range(N_BLOCKS)}
            assert {key: n for key, n in of_experts.items() if n == 16 * 12 // 4} == expected
        if name in REBUILT:
            assert verify_variant(run.store, record, run.folder / "model").is_equal


def test_activations_of_experts_are_what_the_library_gives_them(run: FinishedRun) -> None:
    model = AutoModelForCausalLM.from_pretrained(
        run.folder / "model", dtype=torch.float32, experts_implementation="eager"
    ).eval()
    read: dict[tuple[int, str], list[Tensor]] = defaultdict(list)

    def listen(block: int, experts: Any) -> None:
        def see(module: Any, args: tuple[Tensor, ...]) -> None:
            hidden, chosen, _ = args
            for expert in range(4):
                own = hidden[(chosen == expert).any(dim=1)]
                read[block, f"mlp.experts.{expert}.gate_up_proj"].append(own)
                features = module._apply_gate(own @ module.gate_up_proj[expert].T)
                read[block, f"mlp.experts.{expert}.down_proj"].append(features)

        experts.register_forward_pre_hook(see)

    for block, layer in enumerate(model.model.layers):
        listen(block, layer.mlp.experts)
    (job,) = (job for job in run.plan.jobs if isinstance(job, ActivationsJob))
    texts = run.store.read_table(run.store.require("demonstration_sets", job.demonstration_set_id).artefacts[0])
    with torch.no_grad():
        for ids in texts["token_ids"]:
            model(torch.tensor([list(ids)]))
    found = {key: values for key, values in activations(run).items() if ".experts." in key[1]}
    assert set(found) == {key for key, values in read.items() if any(map(len, values))}
    for key, values in found.items():
        torch.testing.assert_close(values, torch.cat(read[key]), rtol=1e-4, atol=1e-5)
    one = read_activations(run.store, job.identity.id, block=0, layer_input="mlp.experts.1.down_proj")
    shown = [texts["token_ids"][text][place] for text, place in zip(one.demonstrations, one.positions, strict=True)]
    assert one.token_ids.tolist() == shown
    assert sum(artefact.n_bytes for artefact in run.store.require(*job.identity.key).artefacts) < 2 * job.most_bytes


def errors_of(run: FinishedRun, name: str, *, propagation: str | None = None) -> dict[tuple[int, str], float]:
    """(block, layer of an expert) -> error of the first variant of an entry."""
    variant = run.named(name, propagation)[0].id
    rows = [row for row in run.rows("layer_errors") if row["variant_id"] == variant]
    return {(row["block"], row["layer"]): row["error"] for row in rows if ".experts." in row["layer"]}


@pytest.mark.parametrize("name", ["wanda", "least-squares", "sparsegpt", "bits", "reap"])
def test_layer_errors_of_experts_are_those_on_their_own_tokens(name: str, run: FinishedRun) -> None:
    variant, read = run.named(name, None if name in ("sparsegpt",) else "dense")[0], activations(run)
    errors, changes = errors_of(run, name, propagation=variant.spec.propagation), stored_changes(run.store, variant.id)
    assert changes is not None
    assert len(errors) == N_BLOCKS * 4 * 2
    for block in range(N_BLOCKS):
        weights = read_block(run.folder / "model", block)
        changed = changed_weights(weights, changes(block))
        for layer, weight in weights.items():
            if ".experts." not in layer:
                continue
            inputs = read.get((block, layer), torch.zeros(0, weight.shape[1])).double()
            before, after = (inputs @ one.double().T for one in (weight, changed[layer]))
            total = float(before.square().sum())
            expected = float((after - before).square().sum()) / total if total else 0.0
            assert errors[block, layer] == pytest.approx(expected, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("name", ["gram-swaps", "least-squares"])
def test_refiners_lower_the_error_of_every_expert_on_its_own_tokens(name: str, run: FinishedRun) -> None:
    before, after = (errors_of(run, one, propagation="dense") for one in ("wanda", name))
    assert all(after[key] <= before[key] * (1 + 1e-9) for key in before)
    assert sum(after.values()) < 0.9 * sum(before.values())


REFUSED: dict[str, dict[str, Any]] = {
    "heads and neurons": {"demonstrations": "mt", "score": "flap", "structure": "units", "sparsity": 0.25}
    | {"propagation": "dense"},
    "neurons of a language": {"neurons": {"of": "fr", "sets": ["fr", "en"]}},
    "experts of a sweep": {**REMOVED, "propagation": "sequential"},
    "a score of weights": {**REMOVED, "score": "wanda"},
    "a schedule": {**REMOVED, "schedule": "owl"},
    "a refiner": {**REMOVED, "refine": "gram_swaps"},
    "a part of the blocks": {**REMOVED, "scope": {"blocks": [0]}},
    "too many": {**REMOVED, "sparsity": 0.75},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_experts_cannot_do_is_one_clear_line(name: str, inputs: Path) -> None:
    recipe = recipe_of([{"name": "v", **REFUSED[name]}])
    recipe["demonstrations"].append({**recipe["demonstrations"][1], "name": "en", "language": "en"})
    with pytest.raises(RecipeError) as caught:
        build_plan(parse_recipe(recipe, folder=inputs))
    assert "\n" not in str(caught.value)
    assert caught.value.context["key"]


@pytest.mark.thorough("runs a model for every case")
def test_sensitivity_is_measured_of_single_experts(inputs: Path) -> None:
    recipe = sensitivity_recipe(by="layer", influence="fr")
    recipe["demonstrations"].append(recipe_of([])["demonstrations"][1])
    run = finished_run(inputs, recipe, name="sensitivity")
    layers = {layer for layer in architecture_at(inputs / "model").layers if ".experts." in layer}
    assert layers <= {row["layer"] for row in run.rows("sensitivity")}
