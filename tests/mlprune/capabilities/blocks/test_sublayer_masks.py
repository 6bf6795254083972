"""Variants without whole sub-layers: plan, choice, evaluation, export and load, against the model's own code."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from transformers import AutoModelForCausalLM

from catalog.store import Catalog
from mlprune.api.masked_model import load_masked_model
from mlprune.capabilities.publishing.export import export_variant
from mlprune.errors import RecipeError
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.local_chain import local_chain
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.evaluate.model_evaluation import apply_variant
from mlprune.steps.rescore.verify import verify_variant
from tests.expert_models import EXPERT_TYPES, save_expert_model
from tests.scored_texts import scored, scored_alone, some_texts
from tests.tiny_models import ALL_FAMILY_NAMES, save_tiny_model
from tests.tiny_recipes import FinishedRun, copied_inputs, finished_run, plan_of, small_recipe, write_recipe
from tests.tiny_types import save_tiny_model_of

Paths = Mapping[str, tuple[str, ...]]
PLAIN: Paths = {"attention": ("self_attn",), "feed_forward": ("mlp",)}
POST_NORMS: Paths = {"attention": ("post_attention_layernorm",), "feed_forward": ("post_feedforward_layernorm",)}
MIXER: Paths = {"attention": ("mixer",), "feed_forward": ("mixer",)}
CONTRIBUTIONS: Mapping[str, Paths] = {
    "llama": PLAIN,
    "gpt2": {"attention": ("attn",), "feed_forward": ("mlp",)},
    "bloom": {"attention": ("self_attention",), "feed_forward": ("mlp",)},
    "opt": {"attention": ("self_attn",), "feed_forward": ("fc2",)},
    "gpt_neox": {"attention": ("attention",), "feed_forward": ("mlp",)},
    "cohere": PLAIN,
    "gemma2": POST_NORMS,
    "olmo2": POST_NORMS,
    "granite": PLAIN,
    "qwen2_moe": PLAIN,
    "gpt_oss": PLAIN,
    "deepseek_v3": PLAIN,
    "gemma4_text": POST_NORMS,
    "nemotron_h, no experts": MIXER,
    "lfm2": {"attention": ("conv", "self_attn"), "feed_forward": ("feed_forward",)},
    "falcon_h1": {"attention": ("mamba", "self_attn"), "feed_forward": ("feed_forward",)},
    "qwen3_next, no experts": {"attention": ("linear_attn", "self_attn"), "feed_forward": ("mlp",)},
    "recurrent_gemma": {"attention": ("temporal_block",), "feed_forward": ("mlp_block",)},
}
"""Type -> kind of sub-layer -> the modules of a block whose outputs are added to the hidden states."""
FAST = ("llama", "gpt_neox")
"""Types that every run tests: sequential and parallel, both with biases."""
TYPES = [name if name in FAST else pytest.param(name, marks=pytest.mark.thorough("a type")) for name in CONTRIBUTIONS]
RunOf = Callable[[str], FinishedRun]
TOKEN_IDS = torch.randint(3, 250, (2, 17), generator=torch.Generator().manual_seed(1))


def save_model(folder: Path, name: str) -> None:
    if name in EXPERT_TYPES:
        save_expert_model(folder, name)
    elif name in ALL_FAMILY_NAMES:
        save_tiny_model(folder, name, seed=3, blocks=4)
    else:
        save_tiny_model_of(folder, name, seed=3)


def names_of(architecture: Architecture) -> list[str]:
    blocks = range(architecture.n_blocks)
    return [f"{block}.{one.kind}" for block in blocks for one in architecture.block(block).sublayers]


def sublayers_recipe(names: list[str]) -> dict[str, Any]:
    """The first and every third later sub-layer, and all but the last, by their names."""
    entries = {"some": names[::3], "most": names[:-1]}
    given = {"score": "given", "structure": "sublayers"}
    variants = [{"name": name, **given, "scope": {"sublayers": chosen}} for name, chosen in entries.items()]
    return {**small_recipe(), "variants": variants, "evaluations": []}


@pytest.fixture(scope="module")
def run_of(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> RunOf:
    """The finished run of the recipe on a model of a type."""

    @functools.cache
    def finished(name: str) -> FinishedRun:
        folder = copied_inputs(tiny_inputs, tmp_path_factory.mktemp("type"))
        save_model(folder / "model", name)
        return finished_run(folder, sublayers_recipe(names_of(architecture_at(folder / "model"))), name="sublayers")

    return finished


def removed_of(run: FinishedRun, variant_id: str) -> list[str]:
    return list(run.store.require("variants", variant_id).rows["variants"][0]["removed_sublayers"])


@contextmanager
def skipping(model: Any, name: str, removed: Iterable[str]) -> Iterator[None]:
    """Let the model's own code run with zeros, or BLOOM's own residual, in place of what sub-layers return."""

    def skip(module: nn.Module, args: tuple[Any, ...], result: Any) -> Any:
        hidden = result[0] if isinstance(result, tuple) else result
        skipped = args[1] if name == "bloom" else torch.zeros_like(hidden)
        return (skipped, *result[1:]) if isinstance(result, tuple) else skipped

    blocks, handles = model.get_submodule(architecture_at(model.name_or_path).blocks), []
    for sublayer in removed:
        block, _, kind = sublayer.partition(".")
        modules = [getattr(blocks[int(block)], path, None) for path in CONTRIBUTIONS[name][kind]]
        handles += [module.register_forward_hook(skip) for module in modules if module is not None]
    assert handles
    yield
    for handle in handles:
        handle.remove()


def reference(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    result: torch.Tensor = model(TOKEN_IDS, use_cache=False).logits
    return result


@pytest.mark.parametrize("name", TYPES)
def test_a_variant_has_the_logits_of_the_models_own_code_without_the_sublayers(
    name: str, run_of: RunOf, tmp_path: Path
) -> None:
    run = run_of(name)
    folder = run.folder / "model"
    model, chain = reference(folder), local_chain(folder, n_shards=2)
    dense, whole = logits(model), architecture_at(folder).runs_whole_texts
    for entry in ("some", "most"):
        (variant,) = run.named(entry)
        removed = removed_of(run, variant.id)
        apply_variant(chain, run.store, variant.id)
        values = [value for value, _ in scored(chain, some_texts(), batch_tokens=40, whole_texts=whole)]
        export_variant(run.store, variant.id, folder, tmp_path / entry)
        with skipping(model, name, removed):
            expected, alone = logits(model), [value for value, _ in scored_alone(model, some_texts())]
        assert not torch.allclose(expected, dense, atol=1e-3)
        for other in (load_masked_model(run.store, variant.id, folder), reference(tmp_path / entry)):
            torch.testing.assert_close(logits(other), expected, atol=1e-6, rtol=0)
        assert values == pytest.approx(alone, abs=2e-5)


def scored_recipe() -> dict[str, Any]:
    """Every score, draws, scopes that name the same sub-layers, derived variants, and one evaluation."""
    recipe = small_recipe()
    sublayers = {"structure": "sublayers", "sparsity": 0.4}
    influence = {"score": "sublayer_influence", "demonstrations": "mt", **sublayers}
    recipe["variants"] = [
        {"name": "influence", **influence, "against": ["random"]},
        {"name": "attention", **influence, "scope": {"sublayers": ["attention"]}, "sparsity": 0.7},
        {"name": "random", "score": "random", "seed": [0, 1], **sublayers},
        {"name": "block", "score": "given", "structure": "sublayers", "scope": {"blocks": [1]}},
        {"name": "both", "score": "given", "structure": "sublayers", "scope": {"sublayers": BOTH_OF_BLOCK}},
        {"name": "bits", "score": "given", "structure": "sublayers", "scope": {"blocks": [1]}, "bits": 4},
        {
            "name": "fitted",
            "score": "given",
            "structure": "sublayers",
            "scope": {"sublayers": ["1.feed_forward"]},
            "reconstruct": {"demonstrations": "mt", "steps": 2},
        },
    ]
    return recipe


BOTH_OF_BLOCK = ["1.feed_forward", "1.attention"]


@pytest.fixture(scope="module")
def scored_run(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    folder = copied_inputs(tiny_inputs, tmp_path_factory.mktemp("scored"))
    return finished_run(folder, scored_recipe(), name="scored")


def influence_by_hand(model: Any, texts: Iterable[list[int]]) -> dict[str, float]:
    """The influence of the sub-layers of XGLM, from the states that its own code passes on, in float64 by loops."""
    states: dict[str, list[torch.Tensor]] = {}

    def keep(name: str) -> Any:
        return lambda _module, args, kwargs: states.setdefault(name, []).append((*args, *kwargs.values())[0][0])

    blocks = model.model.layers
    handles = []
    for number, block in enumerate(blocks):
        handles.append(block.register_forward_pre_hook(keep(f"{number}"), with_kwargs=True))
        handles.append(block.final_layer_norm.register_forward_pre_hook(keep(f"{number}.mid"), with_kwargs=True))
    handles.append(model.model.layer_norm.register_forward_pre_hook(keep(f"{len(blocks)}"), with_kwargs=True))
    for text in texts:
        model(torch.tensor([text]), use_cache=False)
    for handle in handles:
        handle.remove()
    order = [name for number in range(len(blocks)) for name in (f"{number}", f"{number}.mid")] + [f"{len(blocks)}"]
    sublayers = [f"{number}.{kind}" for number in range(len(blocks)) for kind in ("attention", "feed_forward")]
    result = {}
    for sublayer, before, after in zip(sublayers, order[:-1], order[1:], strict=True):
        cosines = [
            float(x @ y / (x.norm() * y.norm()))
            for of_text, of_text_after in zip(states[before], states[after], strict=True)
            for x, y in zip(of_text.double(), of_text_after.double(), strict=True)
        ]
        result[sublayer] = sum(1 - cosine for cosine in cosines) / len(cosines)
    return result


def test_influence_is_that_of_the_states_that_the_models_own_code_passes_on(scored_run: FinishedRun) -> None:
    rows = {f"{row['block']}.{row['sublayer']}": row for row in scored_run.rows("sublayer_influence")}
    (variant,) = scored_run.named("influence")
    artefact = scored_run.store.require("demonstration_sets", variant.sets[0].id).artefacts[0]
    texts = [list(map(int, ids)) for ids in scored_run.store.read_table(artefact, ["token_ids"])["token_ids"]]
    with torch.no_grad():
        expected = influence_by_hand(reference(scored_run.folder / "model"), texts)
    assert {name: row["influence"] for name, row in rows.items()} == pytest.approx(expected, rel=1e-4)
    assert all(row["ci_low"] <= row["influence"] <= row["ci_high"] for row in rows.values())
    lowest = sorted(expected, key=lambda name: expected[name])
    assert set(removed_of(scored_run, variant.id)) == set(lowest[:2])
    (attention,) = scored_run.named("attention")
    lowest = [name for name in lowest if name.endswith(".attention")]
    assert set(removed_of(scored_run, attention.id)) == set(lowest[:2])
    draws = [removed_of(scored_run, one.id) for one in scored_run.named("random")]
    assert [len(names) for names in draws] == [2, 2]
    assert draws[0] != draws[1]


def test_scopes_of_the_same_sublayers_are_one_variant(scored_run: FinishedRun) -> None:
    assert scored_run.named("block") == scored_run.named("both")
    (variant,) = scored_run.named("both")
    assert removed_of(scored_run, variant.id) == ["1.attention", "1.feed_forward"]


def test_the_masks_of_a_variant_are_rebuilt_from_the_store(scored_run: FinishedRun) -> None:
    for name in ("influence", "random", "block"):
        record = scored_run.store.require("variants", scored_run.named(name)[0].id)
        assert verify_variant(scored_run.store, record, scored_run.folder / "model").is_equal


def keep_output(outputs: list[torch.Tensor], _module: nn.Module, _args: object, result: torch.Tensor) -> None:
    outputs.append(result)


def test_a_quantised_or_reconstructed_variant_still_adds_nothing(scored_run: FinishedRun) -> None:
    folder = scored_run.folder / "model"
    for name, removed in (("bits", BOTH_OF_BLOCK), ("fitted", ["1.feed_forward"])):
        (variant,) = scored_run.named(name)
        model = load_masked_model(scored_run.store, variant.id, folder)
        outputs: list[torch.Tensor] = []
        block = model.model.layers[1]
        for path in ("fc2", *(("self_attn.out_proj",) if len(removed) > 1 else ())):
            block.get_submodule(path).register_forward_hook(functools.partial(keep_output, outputs))
        logits(model)
        assert [bool(output.any()) for output in outputs] == [False] * len(removed)


def test_the_catalog_has_the_sublayers_and_the_share_of_their_weights(scored_run: FinishedRun) -> None:
    (variant,) = scored_run.named("both")
    with Catalog.in_memory(scored_run.store) as catalog:
        rows = {row["variant_id"]: row for row in catalog.query("FROM variants")}
        labels = {row["variant_id"]: str(row["label"]) for row in catalog.query("FROM described_variants")}
        evaluated = {row["variant_id"] for row in catalog.query("FROM evaluations")}
        influence = catalog.query("FROM sublayer_influence")
    row = rows[variant.id]
    assert (row["score"], row["structure"], row["sparsity"]) == ("given", "sublayers", pytest.approx(1 / 3))
    assert row["removed_sublayers"] == ["1.attention", "1.feed_forward"]
    assert row["achieved_sparsity"] == pytest.approx(1 / 3)
    assert row["biases_changed"]
    assert "1.attention" in labels[variant.id]
    assert evaluated == set(scored_run.plan.variants)
    assert len(influence) == 6


def test_an_export_says_which_sublayers_are_zero(scored_run: FinishedRun, tmp_path: Path) -> None:
    (variant,) = scored_run.named("influence")
    export_variant(scored_run.store, variant.id, scored_run.folder / "model", tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text("utf-8")
    assert all(name in card for name in removed_of(scored_run, variant.id))


def test_what_a_model_does_not_have_is_refused_when_it_is_planned(scored_run: FinishedRun) -> None:
    given, random = {"score": "given", "structure": "sublayers"}, {"score": "random", "structure": "sublayers"}
    for entry in (
        {**given, "scope": {"sublayers": ["attention", "feed_forward"]}},
        {**given, "scope": {"sublayers": ["7.attention"]}},
        {**given, "scope": {"sublayers": ["1.attention"], "blocks": [0]}},
        {**random, "sparsity": 0.1},
    ):
        with pytest.raises(RecipeError):
            plan_of(write_recipe(scored_run.folder, {**scored_recipe(), "variants": [entry]}, name="changed.yaml"))


def test_a_kind_that_a_type_does_not_have_is_refused(tiny_inputs: Path, tmp_path: Path) -> None:
    folder = copied_inputs(tiny_inputs, tmp_path / "mamba")
    save_tiny_model_of(folder / "model", "mamba")
    entry = {"score": "given", "structure": "sublayers", "scope": {"sublayers": ["0.feed_forward"]}}
    with pytest.raises(RecipeError) as error:
        plan_of(write_recipe(folder, {**small_recipe(), "variants": [entry], "evaluations": []}))
    assert error.value.context["model_type"] == "mamba"


RANDOM = {"score": "random", "structure": "sublayers", "sparsity": 0.5}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"score": "given", "structure": "sublayers"}, "scope"),
        ({"score": "given", "structure": "sublayers", "scope": {"blocks": [1]}, "sparsity": 0.5}, "sparsity"),
        ({"score": "given", "scope": {"sublayers": ["attention"]}}, "sublayers"),
        ({"score": "sublayer_influence", "sparsity": 0.5}, "demonstrations"),
        ({"score": "block_influence", "structure": "sublayers", "demonstrations": "mt", "sparsity": 0.5}, "structure"),
        ({**RANDOM, "score": "magnitude"}, "structure"),
        ({**RANDOM, "score": "wanda", "demonstrations": "mt"}, "structure"),
        ({**RANDOM, "removes": "highest"}, "removes"),
        ({**RANDOM, "schedule": "owl"}, "schedule"),
        ({**RANDOM, "scope": {"layers": ["fc1"]}}, "layers"),
        ({**RANDOM, "scope": {"sublayers": ["mlp"]}}, "sublayers"),
        ({"score": "magnitude", "sparsity": 0.5, "scope": {"sublayers": ["attention"]}}, "sublayers"),
    ],
)
def test_keys_that_do_not_apply_to_sublayers_are_refused(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        VariantConfig.model_validate(entry)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("name", ["gpt_neox", "nemotron_h, no experts", "lfm2"])
def test_a_smaller_export_leaves_out_blocks_that_only_pass_hidden_states_on(
    name: str, run_of: RunOf, tmp_path: Path
) -> None:
    """A block of Nemotron-H has one sub-layer; the other types also keep a block of which one is removed."""
    run = run_of(name)
    (variant,) = run.named("most")
    architecture, removed = architecture_at(run.folder / "model"), removed_of(run, variant.id)
    blocks = range(architecture.n_blocks)
    kept = [
        block
        for block in blocks
        if any(f"{block}.{one.kind}" not in removed for one in architecture.block(block).sublayers)
    ]
    assert len(kept) == 1
    model = reference(run.folder / "model")
    with skipping(model, name, removed):
        expected = logits(model)
    export_variant(run.store, variant.id, run.folder / "model", tmp_path / "out", smaller=True)
    smaller = reference(tmp_path / "out")
    assert len(smaller.get_submodule(architecture.blocks)) == 1
    torch.testing.assert_close(logits(smaller), expected, atol=1e-6, rtol=0)
    card = (tmp_path / "out/README.md").read_text("utf-8")
    assert f"1 of {architecture.n_blocks} blocks" in card
