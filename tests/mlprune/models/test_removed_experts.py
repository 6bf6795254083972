"""Removed experts: the router chooses among the others, as a plain float64 loop over experts without them does."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.models.inference.visitor import BatchVisitor
from mlprune.models.local_chain import LocalChain, local_chain
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.models.messages import HiddenStates, TokenBatch
from mlprune.models.shard import Shard
from tests.chains import budget_for
from tests.expert_models import EXPERT_TYPES, expert_model
from tests.expert_reference import plain_logits
from tests.refusals import refused

TOKENS = torch.randint(3, 90, (2, 9), generator=torch.Generator().manual_seed(1))
REMOVED = {1: (1, 4), 2: (0,)}
GROUPED = {1: (1, 4), 2: (0, 5)}


@dataclass
class Logits(BatchVisitor[Tensor]):
    """Returns the logits of a batch, [b, s, v]."""

    needs_head = True

    def around_block(self, runner: Any, block: int, states: HiddenStates) -> HiddenStates:
        return runner.step(block, states)

    @torch.inference_mode()
    def finish(self, runner: Any, states: Any) -> Tensor:
        return runner.logits_of(runner.head(runner.apply_final_norm(states[0].hidden)))

    def result(self) -> Tensor:
        raise NotImplementedError


def logits_of(chain: LocalChain, token_ids: Tensor = TOKENS) -> Tensor:
    mask = torch.ones_like(token_ids, dtype=torch.bool)
    return next(iter(chain.stream(Logits, [TokenBatch(token_ids, mask, mask)])))


def save_with_biases(folder: Path, model_type: str) -> Path:
    """Write a model of six experts in three blocks whose removed experts have large positive correction biases."""
    model = expert_model(model_type, n_experts=6, blocks=3)
    for name, buffer in model.named_buffers():
        if name.endswith("_bias"):
            buffer.copy_(torch.tensor([9.0, 8.0, -0.1, 0.1, 7.0, 0.2]))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def expert_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save_with_biases(tmp_path_factory.mktemp(name), name) for name in EXPERT_TYPES}


def masks_without(path: Path, removed: Mapping[int, Collection[int]]) -> dict[tuple[int, str], Tensor]:
    """Return the masks that remove all weights of experts."""
    architecture, files = architecture_at(path), WeightFiles(path, architecture_at(path))
    masks = {}
    for block, experts in removed.items():
        shapes, kind = files.layer_shapes(block), architecture.block(block).experts
        assert kind is not None
        layers = [layer for expert in experts for layer in kind.layers(expert)]
        masks |= {(block, layer): torch.zeros(shapes[layer], dtype=torch.bool) for layer in layers}
    return masks


def reference(path: Path, model_type: str, removed: Mapping[int, Collection[int]]) -> Tensor:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64, experts_implementation="eager").eval()
    return plain_logits(model_type, model.double(), TOKENS, removed)


def assert_close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("model_type", EXPERT_TYPES)
def test_a_masked_model_is_the_plain_float64_loop_without_its_experts_and_returns_to_the_dense_one(
    expert_folders, model_type
):
    path = expert_folders[model_type]
    removed = GROUPED if model_type == "deepseek_v3" else REMOVED
    chain = local_chain(path, n_shards=2)
    dense = logits_of(chain)
    assert_close(dense, reference(path, model_type, {}))
    chain.everywhere(Shard.set_keep_masks, masks_without(path, removed))
    pruned = logits_of(chain)
    assert_close(pruned, reference(path, model_type, removed))
    assert (pruned - dense).abs().max() > 1e-3
    chain.everywhere(Shard.set_keep_masks, None)
    assert torch.equal(logits_of(chain), dense)


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("model_type", ["deepseek_v3", "gpt_oss"])
def test_offloaded_blocks_and_exchanged_variants_have_the_same_logits_bit_for_bit(expert_folders, model_type):
    path = expert_folders[model_type]
    variants = [masks_without(path, removed) for removed in ({1: (0, 3)}, {1: (1, 4), 2: (1, 4)}, {})]
    chain = local_chain(path)
    expected = []
    for masks in variants:
        chain.everywhere(Shard.set_keep_masks, masks)
        expected.append(logits_of(chain))
    assert not torch.equal(expected[0], expected[1])
    for other in (chain, local_chain(path, n_shards=2), local_chain(path, budget=budget_for(path, 1))):
        for masks, logits in zip(variants, expected, strict=True):
            other.everywhere(Shard.exchange_changes, Changes(masks))
            assert torch.equal(logits_of(other), logits)


@dataclass(frozen=True)
class Changes:
    """Masks of a variant, by block."""

    masks: Mapping[tuple[int, str], Tensor]

    def __call__(self, block: int) -> BlockChanges:
        return BlockChanges.of({layer: mask for (of, layer), mask in self.masks.items() if of == block})


@pytest.mark.parametrize("model_type", ["qwen3_moe", "deepseek_v3"])
def test_removed_experts_compose_with_masks_of_other_layers_and_of_kept_experts(expert_folders, model_type):
    path = expert_folders[model_type]
    removed = {1: (1, 4)}
    architecture = architecture_at(path)
    masks = masks_without(path, removed)
    experts = architecture.block(1).experts
    assert experts is not None
    generator = torch.Generator().manual_seed(0)
    shapes = WeightFiles(path, architecture).layer_shapes(1)
    for layer in (*experts.layers(0), experts.layers(2)[0], "self_attn.o_proj"):
        masks[1, layer] = torch.rand(shapes[layer], generator=generator) > 0.5
    chain = local_chain(path)
    chain.everywhere(Shard.set_keep_masks, masks)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64, experts_implementation="eager").eval()
    with torch.no_grad():
        for (block, layer), mask in masks.items():
            weight_of(model, architecture, block, layer).masked_fill_(~mask, 0)
    assert_close(logits_of(chain), plain_logits(model_type, model.double(), TOKENS, removed))


def weight_of(model: Any, architecture: Architecture, block: int, layer: str) -> Tensor:
    module = model.get_submodule(f"{architecture.blocks}.{block}")
    experts = architecture.block(block).experts
    if experts is None or not experts.has(layer):
        return module.get_submodule(layer).weight
    _, expert, name = layer.rsplit(".", 2)
    return getattr(module.get_submodule(experts.path), name)[int(expert)]


@pytest.mark.parametrize(
    ("model_type", "removed", "context"),
    [
        ("mixtral", range(1, 6), {"expected": 2, "got": 1}),
        ("gpt_oss", range(5), {"expected": 2, "got": 1}),
        ("deepseek_v3", (0, 1, 3, 4), {"kept_by_group": [1, 1], "expected_groups": 1}),
    ],
)
def test_a_variant_that_keeps_too_few_experts_is_refused_and_changes_nothing(
    expert_folders, model_type, removed, context
):
    chain = local_chain(expert_folders[model_type])
    dense = logits_of(chain)
    with refused(ModelError, block=1, **context):
        chain.everywhere(Shard.set_keep_masks, masks_without(expert_folders[model_type], {1: removed, 2: (0,)}))
    assert torch.equal(logits_of(chain), dense)


def test_a_block_without_any_expert_adds_what_is_next_to_them_whatever_its_router_chooses(expert_folders):
    path = expert_folders["qwen2_moe"]
    chain, model = local_chain(path), AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    chain.everywhere(Shard.set_keep_masks, masks_without(path, {1: range(6)}))
    experts = model.model.layers[1].mlp.experts
    experts.register_forward_hook(lambda _module, _args, result: torch.zeros_like(result))
    with torch.no_grad():
        expected = model(TOKENS, use_cache=False).logits.double()
    assert_close(logits_of(chain), expected)


def test_a_group_that_is_removed_as_a_whole_is_never_chosen(expert_folders):
    path, removed = expert_folders["deepseek_v3"], {1: (0, 1, 2), 2: (3, 4)}
    chain = local_chain(path)
    chain.everywhere(Shard.set_keep_masks, masks_without(path, removed))
    assert_close(logits_of(chain), reference(path, "deepseek_v3", removed))


def test_masks_that_remove_nothing_leave_the_dense_model_bit_for_bit(expert_folders):
    path = expert_folders["qwen3_moe"]
    chain = local_chain(path, n_shards=2)
    dense = logits_of(chain)
    masks = masks_without(path, {block: range(6) for block in range(3)})
    chain.everywhere(Shard.set_keep_masks, {key: ~mask for key, mask in masks.items()})
    assert torch.equal(logits_of(chain), dense)


def test_threads_that_run_blocks_at_once_choose_among_the_same_experts(expert_folders, threads):
    path = expert_folders["deepseek_v3"]
    chain = local_chain(path)
    chain.everywhere(Shard.set_keep_masks, masks_without(path, GROUPED))
    mask = torch.ones_like(TOKENS, dtype=torch.bool)
    batches = [TokenBatch(TOKENS + number, mask, mask) for number in range(6)]
    results = []
    for n_threads in (1, 2):
        threads(n_threads)
        results.append(list(chain.stream(Logits, batches)))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
