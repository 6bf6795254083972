"""Floating-point operations of greedy decoding in batches, compared with `generate` of transformers."""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

import mlprune.demo
from mlprune.models.inference.decoding import StoppingCriteria, decode
from mlprune.models.local_chain import local_chain
from tests.tiny_models import save_tiny_model

pytestmark = pytest.mark.thorough("runs a model for every case")

LENGTHS = (8, 20, 16, 10)
N_NEW = 8
PAD = 1
MOST_OPERATIONS = 1.3
"""Times those of transformers."""


@pytest.mark.parametrize("prefix", [0, 24])
@pytest.mark.parametrize("family", ["embedded", "gpt2", "bloom", "llama", "gemma3_text"])
def test_decoding_needs_no_more_operations_than_transformers(tmp_path: Path, family: str, prefix: int) -> None:
    embedded = Path(mlprune.demo.__file__).parent / "xglm-cldr-2m"
    folder = embedded if family == "embedded" else save_tiny_model(tmp_path, family)
    drawn = torch.Generator().manual_seed(0)
    shared = torch.randint(5, 200, (prefix,), generator=drawn).tolist()
    prompts = [shared + torch.randint(5, 200, (n,), generator=drawn).tolist() for n in LENGTHS]
    longest = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as theirs:
        expected = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=N_NEW,
            do_sample=False,
            pad_token_id=PAD,
            eos_token_id=None,
        )
    chain = local_chain(folder)
    with FlopCounterMode(display=False) as ours:
        outputs = decode(chain, prompts, StoppingCriteria(N_NEW, -1), pad_id=PAD)
    assert outputs == expected[:, longest:].tolist()
    assert ours.get_total_flops() <= MOST_OPERATIONS * theirs.get_total_flops()
    if prefix:
        assert ours.get_total_flops() < theirs.get_total_flops()
