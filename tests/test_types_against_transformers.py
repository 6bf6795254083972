"""Every causal model type of transformers: a tiny model computes what transformers computes, or is refused.

Types of every kind of block are in `make test`, those that are used most in `make test-all`. All others are `slow`.
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
"""Types that are used most."""
KINDS = frozenset(("falcon_h1", "gemma4_text, experts", "glm4", "gptj", "lfm2", "mamba2", "qwen3_5_text"))
"""Types of each kind of block: with a state space, experts, parallel parts, a convolution, linear attention."""
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
    assert set(NAMES) >= USED >= KINDS
    if STORED["transformers"] == transformers.__version__:
        assert list(STORED["outcomes"]) == list(NAMES)


def marks_of(name: str) -> tuple[pytest.MarkDecorator, ...]:
    """Who runs a type."""
    if name not in USED:
        return (pytest.mark.slow,)
    return () if name in KINDS else (pytest.mark.thorough("builds models of many types"),)


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks_of(name)) for name in NAMES])
def test_a_type_has_the_outcome_of_the_table(name, tmp_path):
    assert outcome_of(name, tmp_path, margin=MARGIN) == STORED["outcomes"].get(name)
