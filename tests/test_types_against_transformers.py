"""Every causal model type of transformers: a tiny model computes what transformers computes, or is refused.

The types that are used most are in the default run, all others have the mark `slow`.
"""

import json

import pytest
import torch
import transformers

from infra.pages.model_reference import OUTCOMES
from tests.type_outcomes import NAMES, outcome_of

STORED = json.loads(OUTCOMES.read_text(encoding="utf-8"))
USED = frozenset(
    (
        *("apertus", "cohere", "cohere2", "exaone4", "falcon", "falcon, several key heads", "falcon_h1", "gemma3_text"),
        *("gemma4_text", "gemma4_text, no inputs per block", "gemma4_text, shared keys", "glm4", "gptj", "granite"),
        *("gemma4_text, experts", "phimoe", "qwen3_5_moe_text", "qwen3_next"),
        *("helium", "lfm2", "llama", "mamba2", "ministral3", "modernbert-decoder", "nemotron", "olmo"),
        *("olmo3", "phi", "qwen3", "qwen3_5_text", "smollm3", "stablelm", "starcoder2"),
    )
)
"""Types in the default run."""
MARGIN = 10.0
"""Factor of the tolerances with which the table was made: another processor rounds differently."""


@pytest.fixture(autouse=True)
def one_thread():
    """Models this small run fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_table_has_every_type():
    assert set(NAMES) >= USED
    if STORED["transformers"] == transformers.__version__:
        assert list(STORED["outcomes"]) == list(NAMES)


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in USED else pytest.mark.slow) for name in NAMES])
def test_a_type_has_the_outcome_of_the_table(name, tmp_path):
    assert outcome_of(name, tmp_path, margin=MARGIN) == STORED["outcomes"].get(name)
