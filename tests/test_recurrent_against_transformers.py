"""Models with recurrent blocks, in one shard or two, against transformers on one text at a time.

Texts are longer than chunks, convolutions and windows, and are padded to a batch.
"""

import shutil
from functools import partial
from time import sleep

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from mlprune.capabilities.publishing.export import export_variant
from mlprune.errors import BadInputError, ModelError
from mlprune.evaluation.scoring.batches import ScoredText
from mlprune.models.architecture.architecture import oriented
from mlprune.models.chain import advance_to
from mlprune.models.fewer_blocks import remove_blocks
from mlprune.models.inference.decoding import MIN_PREFIX, StoppingCriteria, decode
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.masks.block_changes import BlockChanges
from mlprune.models.masks.masking import RemovedBlock
from mlprune.models.messages import TokenBatch
from mlprune.models.shard import Shard
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from tests.chains import worker_threads
from tests.refusals import refused
from tests.scored_texts import one_batch, score_of_text, scored, scored_alone, some_texts
from tests.tiny_models import END, PAD
from tests.tiny_recipes import N_FACTS, copied_inputs, fact, finished_run, small_recipe
from tests.tiny_types import save_tiny_model_of

ALWAYS = ("qwen3_5_text", "lfm2", "lfm3", "falcon_h1", "mamba2", "bamba")
"""Types that run in every test run: each kind of cache, with full and sliding attention."""
SLOW = (
    "mamba",
    "falcon_mamba",
    "nemotron_h, no experts",
    "granitemoehybrid, no experts",
    "qwen3_next, no experts",
)
NO_CACHE = ("openai-gpt", "recurrent_gemma", "rwkv", "xlstm")
"""Types that do not keep their states in the library's cache, or keep none."""
BOUND_BLOCKS = {
    ("bamba", 0),
    ("bamba", 1),
    ("recurrent_gemma", 0),
    ("recurrent_gemma", 1),
    ("rwkv", 0),
    *(("xlstm", block) for block in range(3)),
}
"""(type, block) where the layers of the blocks that remain depend on their numbers, or the model needs the block."""
CHANGES = {
    "bamba": {"attn_layer_indices": [1]},
    "falcon_h1": {"lm_head_multiplier": 0.5, "ssm_in_multiplier": 1.5},
    "granitemoehybrid, no experts": {"layer_types": ["linear_attention", "full_attention", "linear_attention"]},
}
LENGTHS = (11, 4, 1, 8)
N_NEW = 7
ROUNDING = 2e-4
"""Relative difference of sums that rounding in transformers' linear attention makes for a padded and a lone text. In
float64 they differ by 1e-14."""
SHARDS = pytest.mark.parametrize("n_shards", [1, 2])


def of_types(*names):
    return [*(pytest.param(name, marks=pytest.mark.slow) if name not in ALWAYS else name for name in names)]


@pytest.fixture(scope="module", params=of_types(*ALWAYS, *SLOW, *NO_CACHE))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def folder(name, tmp_path_factory):
    return save_tiny_model_of(tmp_path_factory.mktemp("model"), name, seed=5, **CHANGES.get(name, {}))


@pytest.fixture
def model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture
def architecture(folder):
    return local_chain(folder).shards[0].runner.architecture


def random_tokens(*shape, seed):
    return torch.randint(3, 259, shape, generator=torch.Generator().manual_seed(seed))


def padded_texts():
    """A batch padded on the right, of which every token counts."""
    mask = torch.arange(max(LENGTHS)).unsqueeze(0) < torch.tensor(LENGTHS).unsqueeze(1)
    return TokenBatch(torch.where(mask, random_tokens(len(LENGTHS), max(LENGTHS), seed=0), PAD), mask, mask)


@pytest.mark.thorough("runs every recurrent type")
@SHARDS
def test_statistics_of_a_padded_batch_are_those_of_each_text_alone(folder, model, architecture, n_shards):
    batch = padded_texts()
    observed = next(local_chain(folder, n_shards=n_shards).stream(StatisticsVisitor, [batch]))
    assert architecture.runs_whole_texts
    for row, length in enumerate(LENGTHS):
        inputs = inputs_of_layers(model, architecture, batch.token_ids[row : row + 1, :length])
        assert len(inputs) == sum(len(architecture.block(block).layers) for block in range(architecture.n_blocks))
        for (block, layer), read in inputs.items():
            sums = observed.sums[block, architecture.block(block).input_of(layer)][row]
            torch.testing.assert_close(sums, read.square().sum(0), rtol=ROUNDING, atol=1e-5)


def inputs_of_layers(model, architecture, tokens):
    """(block, layer) -> [tokens, in]: the input of every layer, also of those that share one."""
    inputs, handles = {}, []
    for block, module in enumerate(model.get_submodule(architecture.blocks)):
        for layer in architecture.block(block).layers:

            def keep(_, args, key=(block, layer)):
                inputs[key] = args[0].reshape(-1, args[0].shape[-1]).clone()

            handles.append(module.get_submodule(layer).register_forward_pre_hook(keep))
    with torch.inference_mode():
        model(tokens, use_cache=False)
    for handle in handles:
        handle.remove()
    return inputs


@pytest.mark.thorough("runs every recurrent type")
def test_a_sweep_observes_the_statistics_of_a_single_pass(folder, architecture):
    batch, chain = padded_texts(), local_chain(folder, n_shards=2)
    expected = next(chain.stream(StatisticsVisitor, [batch]))
    chain.on_block(0, Shard.sweep_start, "key", batch)
    for block in range(architecture.n_blocks):
        chain.on_block(block, Shard.sweep_observe, block, ["key"])
        for layer_input, sums in chain.on_block(block, Shard.sweep_take_sums)["key"].items():
            torch.testing.assert_close(sums, expected.sums[block, layer_input])
        chain.on_block(block, Shard.sweep_advance, block, ["key"])
        if block + 1 < architecture.n_blocks:
            advance_to(chain, block + 1, ["key"])


@pytest.mark.thorough("runs every recurrent type")
@SHARDS
def test_masked_models_score_texts_like_transformers(folder, model, architecture, n_shards):
    texts, chain = some_texts(heads=(6, 1)), local_chain(folder, n_shards=n_shards)
    chain.everywhere(Shard.set_keep_masks, mask_weights(model, architecture))
    expected = scored_alone(model, texts)
    for batch_tokens in (40, 10**6):
        scores = scored(chain, texts, batch_tokens=batch_tokens, whole_texts=True)
        assert [value for value, _ in scores] == pytest.approx([value for value, _ in expected], rel=1e-5, abs=1e-5)
        assert [is_likeliest for _, is_likeliest in scores] == [is_likeliest for _, is_likeliest in expected]


def mask_weights(model, architecture):
    """Remove about a third of the prunable weights of a model; return (block, layer) -> mask."""
    generator, masks = torch.Generator().manual_seed(1), {}
    for block, module in enumerate(model.get_submodule(architecture.blocks)):
        kind = architecture.block(block)
        for layer in kind.layers:
            weight = oriented(module.get_submodule(layer).weight.data, kind)
            masks[block, layer] = torch.rand(weight.shape, generator=generator) > 0.3
            weight *= masks[block, layer]
    return masks


@pytest.mark.thorough("runs every recurrent type")
@pytest.mark.parametrize(("n_shards", "n_head"), [(1, 0), (2, MIN_PREFIX)], ids=["no-head", "shared-head"])
def test_generated_tokens_are_those_of_transformers_for_each_prompt_alone(folder, model, name, n_shards, n_head):
    chain = local_chain(folder, n_shards=n_shards)
    head = random_tokens(n_head, seed=99).tolist()
    prompts = [[*head, *random_tokens(length, seed=seed).tolist()] for seed, length in enumerate((5, 2, 5, 1))]
    continued = partial(decode, chain, prompts, StoppingCriteria(N_NEW, END), pad_id=PAD)
    expected = [generated(model, prompt, use_cache=name not in NO_CACHE) for prompt in prompts]
    assert continued(batches=[[0, 1, 2], [3]]) == expected
    assert not any(shard.runner.caches.open_sessions for shard in chain.shards)


def generated(model, prompt, *, use_cache):
    """The new tokens of transformers' greedy decoding, without the one that ends the text."""
    ids = torch.tensor([prompt])
    options = {"max_new_tokens": N_NEW, "do_sample": False, "eos_token_id": END, "pad_token_id": PAD}
    mask = torch.ones_like(ids)
    new = model.generate(ids, attention_mask=mask, use_cache=use_cache, **options)[0, len(prompt) :].tolist()
    return new[: new.index(END)] if END in new else new


@pytest.mark.thorough("runs every recurrent type")
@pytest.mark.parametrize("removed", [0, 1, 2])
def test_models_without_a_block_score_and_generate_like_transformers(folder, model, architecture, removed):
    chain = local_chain(folder, n_shards=2)
    chain.everywhere(Shard.exchange_changes, lambda block: RemovedBlock() if block == removed else BlockChanges({}))
    blocks = model.get_submodule(architecture.blocks)
    blocks[removed] = Identity(blocks[removed], n_returned=architecture.block(removed).n_returned)
    texts = some_texts(heads=(1,))
    expected = [value for value, _ in scored_alone(model, texts)]
    values = [value for value, _ in scored(chain, texts, whole_texts=True)]
    assert values == pytest.approx(expected, rel=1e-5, abs=1e-5)
    prompts = [random_tokens(length, seed=length).tolist() for length in (5, 2)]
    decoded = decode(chain, prompts, StoppingCriteria(4, -1), pad_id=PAD)
    assert decoded == [likeliest(model, prompt, n_new=4) for prompt in prompts]


@pytest.mark.thorough("runs every recurrent type")
@pytest.mark.parametrize("removed", [0, 1, 2])
def test_an_export_without_a_block_equals_the_model_without_it_or_is_refused(
    folder, model, architecture, name, removed, tmp_path
):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    if (name, removed) in BOUND_BLOCKS:
        with refused(BadInputError, removed=[removed]):
            remove_blocks(tmp_path, architecture, [removed])
        return
    remove_blocks(tmp_path, architecture, [removed])
    blocks = model.get_submodule(architecture.blocks)
    blocks[removed] = Identity(blocks[removed], n_returned=architecture.block(removed).n_returned)
    tokens = random_tokens(1, 9, seed=1)
    with torch.inference_mode():
        exported = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()(tokens, use_cache=False)
        torch.testing.assert_close(exported.logits, model(tokens, use_cache=False).logits, rtol=1e-4, atol=1e-4)


class Identity(nn.Module):
    """A block that returns the hidden states that it gets. It has the attributes of the block that it replaces."""

    def __init__(self, block, *, n_returned):
        super().__init__()
        self.replaced, self.n_returned = [block], n_returned

    def __getattr__(self, name):
        return getattr(vars(self)["replaced"][0], name)

    def forward(self, hidden_states, *_, **__):
        return hidden_states if self.n_returned is None else (hidden_states, *[None] * (self.n_returned - 1))


def likeliest(model, prompt, *, n_new):
    """The likeliest next tokens, without a cache."""
    text = list(prompt)
    with torch.inference_mode():
        for _ in range(n_new):
            text.append(int(model(torch.tensor([text]), use_cache=False).logits[0, -1].argmax()))
    return text[len(prompt) :]


def test_a_recurrent_model_refuses_to_continue_prefixes(tmp_path):
    chain = local_chain(save_tiny_model_of(tmp_path, "mamba2"))
    with refused(ModelError, got=1):
        list(chain.stream(ScoringVisitor, [one_batch(some_texts(heads=(6, 1)))]))


@pytest.mark.thorough("runs every recurrent type")
@pytest.mark.parametrize(("name", "most"), [("recurrent_gemma", 1), ("mamba2", 2)])
def test_blocks_that_keep_states_in_their_modules_run_one_text_at_a_time(tmp_path, name, most):
    chain = local_chain(save_tiny_model_of(tmp_path, name))
    block, running, n_running = chain.shards[0].runner.modules[0], [], []
    original = block.forward

    def forward(*args, **kwargs):
        running.append(None)
        sleep(0.05)
        n_running.append(len(running))
        result = original(*args, **kwargs)
        running.pop()
        return result

    vars(block)["forward"] = forward
    texts = [ScoredText((4, 6), 1), ScoredText(tuple(range(5, 15)), 1)]
    with worker_threads(2):
        scored(chain, texts, batch_tokens=1, whole_texts=True)
    assert max(n_running) == most


@pytest.mark.thorough("runs every recurrent type")
def test_a_recipe_evaluates_the_pruned_recurrent_model(tiny_inputs, tmp_path):
    inputs = copied_inputs(tiny_inputs, tmp_path / "inputs")
    shutil.rmtree(inputs / "model")
    save_tiny_model_of(inputs / "model", "lfm2", seed=3)
    run = finished_run(inputs, small_recipe(), name="recurrent")
    (variant,) = run.named("sweep")
    export_variant(run.store, variant.id, inputs / "model", tmp_path / "export")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype=torch.float32).eval()
    (job,) = (job for job in run.plan.jobs if isinstance(job, EvaluateJob) and job.variant_id == variant.id)
    (spec,) = (spec for spec in job.evaluations if spec.task.language == "fr")
    table = run.store.read_table(run.store.require(*spec.identity.key).artefacts[0])
    texts = [
        fact("fr", number)["prompt"].replace("<mask>", candidate)
        for number in range(N_FACTS)
        for candidate in fact("fr", number)["candidates"]
    ]
    assert table["log_likelihood"] == pytest.approx([score_of_text(model, text)[0] for text in texts], abs=1e-4)
