"""Waits of the host while a batch is decoded: one per step, for the chosen tokens."""

from pathlib import Path

import pytest

from mlprune.models.inference.decoding import StoppingCriteria, decode
from mlprune.models.local_chain import local_chain
from tests.pretended_gpus import pretended_gpus
from tests.tiny_models import save_tiny_model

pytestmark = pytest.mark.thorough("computes on pretended devices")

PROMPTS = [[5, 6, 7, 8, 9], [10, 11], [12, 13, 14, 15]]
N_NEW = 6


@pytest.mark.parametrize("family", ["xglm", "bloom", "mistral", "llama", "gpt2", "gemma3_text"])
def test_decoding_waits_once_per_step(tmp_path: Path, family: str) -> None:
    folder = save_tiny_model(tmp_path, family)
    with pretended_gpus(1) as ledger:
        chain = local_chain(folder)
        ledger.clear()
        decode(chain, PROMPTS, StoppingCriteria(N_NEW, -1), pad_id=1)
    waits: dict[str, int] = {}
    for (_, line), n in ledger.waited.items():
        module = line.partition(":")[0].rpartition("/")[2]
        waits[module] = waits.get(module, 0) + n
    of_masks = waits.pop("block_runner.py", 0)
    assert waits == {"decoding.py": N_NEW}
    # transformers reads the mask of a whole prompt before it builds one
    assert of_masks <= 2, ledger.by_line()
    assert family not in ("xglm", "bloom", "mistral") or of_masks == 0


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text"])
def test_prompts_of_one_length_are_decoded_without_a_mask(tmp_path: Path, family: str) -> None:
    folder = save_tiny_model(tmp_path, family)
    with pretended_gpus(1) as ledger:
        chain = local_chain(folder)
        ledger.clear()
        decode(chain, PROMPTS[:1], StoppingCriteria(N_NEW, -1), pad_id=1)
    assert ledger.waits == N_NEW, ledger.by_line()
