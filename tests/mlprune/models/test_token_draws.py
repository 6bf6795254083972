"""Decoding with drawn tokens, compared with one text at a time."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from mlprune.models.inference.decoding import decode
from mlprune.models.local_chain import local_chain
from mlprune.models.token_draws import Sampling
from mlprune.numeric.inference.sampling import uniform_number
from tests.tiny_models import PAD, save_tiny_model

PROMPTS = [[1, 50, 60], [1, 50, 60], [1, 9], [7]]
N_NEW = 4


@pytest.fixture(scope="module", params=["xglm", "gemma2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp(request.param), request.param, seed=4)


def drawn_alone(path: Path, sampling: Sampling) -> list[list[int]]:
    """Tokens drawn from the logits of transformers, one text at a time and without a cache."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    texts = []
    for text, prompt in enumerate(PROMPTS):
        ids = list(prompt)
        for position in range(N_NEW):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids])).logits[0, -1].double() / sampling.temperature
            logits[list(sampling.banned)] = -torch.inf
            reached = torch.cumsum(logits.softmax(dim=0), dim=0)
            ids.append(int((reached <= uniform_number(sampling.seed, text, position)).sum()))
        texts.append(ids[len(prompt) :])
    return texts


def test_draws_depend_on_seed_text_and_position_and_not_on_batches(folder: Path) -> None:
    sampling = Sampling(3, 1.5, (0, 1, 2))
    expected = drawn_alone(folder, sampling)
    assert expected[0] != expected[1]  # the same prompt, another text
    assert not {0, 1, 2} & {token for text in expected for token in text}
    chain = local_chain(folder, n_shards=2)
    for batches in (None, [[3, 1], [2, 0]]):
        drawn = decode(chain, PROMPTS, max_new_tokens=N_NEW, stop_id=-1, pad_id=PAD, batches=batches, sampling=sampling)
        assert drawn == expected
