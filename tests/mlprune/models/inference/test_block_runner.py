from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.errors import ModelError
from mlprune.evaluation.scoring.prefix_tree import ScoredText
from mlprune.models.families.records import FAMILIES
from mlprune.models.inference import block_runner
from mlprune.models.inference.call_capture import capture_calls
from mlprune.models.inference.observed_block import observe_inputs, run_observed
from mlprune.models.inference.prefix_scoring import ScoringVisitor
from mlprune.models.shard_loader import load_shard
from mlprune.numeric.activations.counted_tokens import CountedTokens
from tests.chains import run_visitor
from tests.pretended_gpus import pretended_gpus
from tests.scored_texts import one_batch
from tests.tiny_models import FAMILY_NAMES, save_tiny_model

TOKENS = torch.tensor([[1, 50, 60, 70], [1, 9, 8, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]).bool()


def runner_of(path, dtype="float32"):
    return load_shard(path, range(3), n_blocks=3, dtype=dtype).runner


def run(runner, states):
    for block in runner.blocks:
        states = runner.step(block, states)
    return states


@pytest.mark.parametrize("name", FAMILY_NAMES)
@torch.inference_mode()
def test_observing_the_inputs_of_a_block_gives_the_sums_of_running_it(tmp_path, name):
    runner = runner_of(save_tiny_model(tmp_path, name))
    states = runner.embed(TOKENS, MASK)
    for block in range(3):
        after, sums = run_observed(runner, block, states, counted=CountedTokens(MASK))
        only, tokens = observe_inputs(runner, block, states, counted=CountedTokens(MASK), keeps_tokens=True)
        assert list(only) == list(sums) == list(tokens) == list(FAMILIES[name].input_names)
        assert all(torch.equal(only[key], sums[key]) for key in sums)
        for key, rows in tokens.items():
            loops = torch.stack([row.double().square().sum(0) for row in rows])
            torch.testing.assert_close(sums[key].double(), loops, rtol=1e-6, atol=1e-9)
        assert observe_inputs(runner, block, states, counted=CountedTokens(MASK))[1] == {}
        states = after


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_thread_can_run_blocks_norm_and_head_while_another_embeds(tmp_path, name, monkeypatch):
    runner = runner_of(save_tiny_model(tmp_path, name))

    @torch.inference_mode()
    def logits():
        states = run(runner, runner.embed(TOKENS, MASK))
        return runner.head(runner.apply_final_norm(states.hidden))

    expected, is_in, may_go_on, prepare = logits(), Event(), Event(), block_runner.prepare
    with torch.inference_mode():
        states = runner.embed(TOKENS, MASK)

    def slow(model, family, **inputs):
        with capture_calls(model, family):
            is_in.set()
            assert may_go_on.wait(300)
        return prepare(model, family, **inputs)

    monkeypatch.setattr(block_runner, "prepare", slow)
    with ThreadPoolExecutor(2) as pool:
        embedding = [pool.submit(logits) for _ in range(2)]
        assert is_in.wait(300)
        with torch.inference_mode():
            meanwhile = runner.head(runner.apply_final_norm(run(runner, states).hidden))
        may_go_on.set()
        assert all(torch.equal(future.result(), expected) for future in embedding)
    assert torch.equal(meanwhile, expected)


def test_capped_logits_are_scored_as_the_model_computes_them(tmp_path):
    path = save_tiny_model(tmp_path, "gemma2")
    assert runner_of(path).logit_softcap == 2.0
    batch = one_batch([ScoredText(tuple(TOKENS[0].tolist()), 1)])
    shard = load_shard(path, range(3), n_blocks=3, dtype="float32")
    log_probs = run_visitor([shard], ScoringVisitor(batch)).log_probs
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = model(TOKENS[:1]).logits[0].log_softmax(-1)[torch.arange(3), TOKENS[0, 1:]]
    torch.testing.assert_close(log_probs.float(), expected, rtol=1e-5, atol=1e-5)
    assert runner_of(save_tiny_model(tmp_path / "plain")).logit_softcap is None


@pytest.mark.parametrize("setting", ["logit_scale", "logits_scaling"])
def test_a_model_that_scales_its_logits_in_another_way_is_rejected(tmp_path, setting):
    with pytest.raises(ModelError, match=f"scales its logits.*setting='{setting}', expected=1, got=0.25"):
        runner_of(save_tiny_model(tmp_path, **{setting: 0.25}))
    assert runner_of(save_tiny_model(tmp_path / "one", **{setting: 1.0})).logit_softcap is None


@torch.inference_mode()
def test_a_mask_is_copied_once_per_device_and_not_once_per_block(tmp_path):
    path = save_tiny_model(tmp_path, blocks=4)
    with pretended_gpus(2, free_bytes=(60_000, 10**9)) as ledger:
        runner = load_shard(path, range(4), n_blocks=4, dtype="float32").runner
        devices = [str(next(module.parameters()).device) for module in runner.modules.values()]
        assert devices.count("cuda:0") >= 1
        assert devices.count("cuda:1") >= 2
        hidden_bytes = runner.embed(TOKENS, MASK).hidden.numel() * 4
        ledger.clear()
        run(runner, runner.embed(TOKENS, MASK))
        assert ledger.bytes_between_devices == hidden_bytes + 4 * MASK.shape[0] * MASK.shape[1] ** 2
