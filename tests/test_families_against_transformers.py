"""Every model type, in one shard or several, against the forward of transformers on one text at a time.

Texts are longer than the window of blocks with sliding attention, and are padded to a batch.
"""

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.inference.decoding import MIN_PREFIX, StoppingCriteria, decode
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import TokenBatch
from tests.scored_texts import scored, scored_alone, some_texts
from tests.tiny_models import ALL_FAMILY_NAMES, END, HIDDEN, PAD, WINDOW, save_tiny_model

BLOCKS = 3
LENGTHS = (WINDOW + 7, WINDOW, 1, 2 * WINDOW)
FEW_SHARDS = pytest.mark.parametrize("n_shards", [1, 2])
"""The first of two shards has two blocks, one of each kind of attention."""
ONE_BLOCK_SHARDS = pytest.mark.parametrize("n_shards", [1, 3])
"""In three shards every block is alone, and the first shard prepares masks for other kinds of blocks."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small run fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


VARIANTS = {
    **{name: (name, {}) for name in ALL_FAMILY_NAMES},
    "opt-350m": ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": HIDDEN // 2}),
}
"""Id -> model type and changes of its config. OPT-350m has projections next to its embeddings, and no last norm."""


@pytest.fixture(scope="module", params=VARIANTS)
def folder(request, tmp_path_factory):
    name, changes = VARIANTS[request.param]
    return save_tiny_model(tmp_path_factory.mktemp(name), name, seed=5, blocks=BLOCKS, **changes)


@pytest.fixture(scope="module")
def architecture(folder):
    return architecture_at(folder)


@pytest.fixture(scope="module")
def model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def random_tokens(*shape, seed):
    return torch.randint(3, 259, shape, generator=torch.Generator().manual_seed(seed))


def padded_texts():
    """[b, s] ids, padded on the right, and the mask of real tokens."""
    mask = torch.arange(max(LENGTHS)).unsqueeze(0) < torch.tensor(LENGTHS).unsqueeze(1)
    return torch.where(mask, random_tokens(len(LENGTHS), max(LENGTHS), seed=0), PAD), mask


@pytest.mark.thorough("runs every family")
@FEW_SHARDS
def test_logits_are_those_of_the_model(folder, model, n_shards):
    tokens, mask = padded_texts()
    runners = [shard.runner for shard in local_chain(folder, n_shards=n_shards).shards]
    with torch.inference_mode():
        states = runners[0].embed(tokens, mask)
        for runner in runners:
            for block in runner.blocks:
                states = runner.step(block, states)
        logits = runners[-1].logits_of(runners[-1].head(runners[-1].apply_final_norm(states.hidden)))
        for row, length in enumerate(LENGTHS):
            alone = model(tokens[row : row + 1, :length], use_cache=False).logits[0]
            torch.testing.assert_close(logits[row, :length], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.thorough("runs every family")
@FEW_SHARDS
def test_observed_statistics_are_those_of_hooks_on_the_model(folder, model, architecture, n_shards):
    tokens, mask = padded_texts()
    observed = next(local_chain(folder, n_shards=n_shards).stream(StatisticsVisitor, [TokenBatch(tokens, mask, mask)]))
    for row, length in enumerate(LENGTHS):
        inputs = inputs_of_layers(model, architecture, tokens[row : row + 1, :length])
        assert len(inputs) == BLOCKS * len(architecture.layers)
        for (block, layer), read in inputs.items():
            sums = observed.sums[block, architecture.block(block).input_of(layer)][row]
            torch.testing.assert_close(sums, read.square().sum(0), rtol=2e-5, atol=1e-5)


def inputs_of_layers(model, architecture, tokens):
    """(block, layer) -> [tokens, in]: the input of every layer, also of those that share one."""
    inputs, handles = {}, []
    for block, module in enumerate(model.get_submodule(architecture.blocks)):
        for layer in architecture.layers:

            def keep(_, args, key=(block, layer)):
                inputs[key] = args[0].reshape(-1, args[0].shape[-1]).clone()

            handles.append(module.get_submodule(layer).register_forward_pre_hook(keep))
    with torch.inference_mode():
        model(tokens, use_cache=False)
    for handle in handles:
        handle.remove()
    return inputs


def test_a_block_runs_its_layers_in_the_order_of_the_architecture(model, architecture):
    inputs = inputs_of_layers(model, architecture, padded_texts()[0])
    assert list(inputs) == [(block, layer) for block in range(BLOCKS) for layer in architecture.layers]


@pytest.mark.thorough("runs every family")
@ONE_BLOCK_SHARDS
def test_texts_with_shared_prefixes_score_as_whole_texts(folder, model, n_shards):
    texts = some_texts(heads=(WINDOW + 3, 1))
    scores = scored(local_chain(folder, n_shards=n_shards), texts)
    expected = [value for value, _ in scored_alone(model, texts)]
    assert [value for value, _ in scores] == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.thorough("runs every family")
@pytest.mark.parametrize(("n_shards", "n_head"), [(1, 0), (3, MIN_PREFIX)], ids=["no-head", "shared-head"])
def test_greedy_decoding_chooses_what_the_model_chooses(folder, model, n_shards, n_head):
    head = random_tokens(n_head, seed=99).tolist()
    prompts = [[*head, *random_tokens(length, seed=length).tolist()] for length in LENGTHS]
    n_new = WINDOW + 3
    options = {"stopping": StoppingCriteria(n_new, END), "pad_id": PAD, "batches": [[0, 1], [2, 3]]}
    outputs = decode(local_chain(folder, n_shards=n_shards), prompts, **options)
    for prompt, new in zip(prompts, outputs, strict=True):
        text = list(prompt)
        with torch.inference_mode():
            for _ in range(n_new):
                chosen = int(model(torch.tensor([text]), use_cache=False).logits[0, -1].argmax())
                if chosen == END:
                    break
                text.append(chosen)
        assert new == text[len(prompt) :]
