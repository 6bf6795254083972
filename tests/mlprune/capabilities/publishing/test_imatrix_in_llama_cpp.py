"""llama.cpp's quantiser accepts our importance matrices, and uses them."""

import re
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from mlprune.capabilities.importing.model_import import import_model
from mlprune.capabilities.publishing.imatrix import export_imatrix
from mlprune.capabilities.publishing.importance import given_sets
from mlprune.store.store import Store
from tests import llama_cpp
from tests.expert_models import save_expert_model
from tests.gguf_files import write_gguf
from tests.tiny_models import tiny_tokenizer
from tests.tiny_recipes import plan_of, run_jobs, small_recipe, write_recipe, write_texts

pytestmark = [
    pytest.mark.thorough("quantises with the library of llama.cpp"),
    pytest.mark.skipif(not llama_cpp.IS_INSTALLED, reason=llama_cpp.REASON),
]
OUTSIDE_BLOCKS = {"token_embd.weight", "output.weight"}
"""llama.cpp, too, collects no importance of them."""


ROUTER = "ffn_gate_inp"
"""llama.cpp does not quantise it."""
MIXTURE = {"hidden_size": 32, "head_dim": 16, "moe_intermediate_size": 32, "intermediate_size": 32}
"""Sizes of a mixture of experts: rows of Q4_0 are multiples of 32."""


def written_matrix(folder: Path, architecture: str) -> Path:
    """Write a model as a GGUF file and as a folder, observe a set, and export its importance matrix."""
    if architecture == "qwen3moe":
        save_expert_model(folder / "model", "qwen3_moe", **MIXTURE)
        write_mixture(folder / "model", folder / "model.gguf")
    else:
        write_gguf(folder / "model.gguf", architecture).save_pretrained(folder / "model")
        tiny_tokenizer().save_pretrained(folder / "model")
    write_texts(folder)
    recipe = {**small_recipe(), "analyses": {"experts": ["mt"]} if architecture == "qwen3moe" else {}}
    plan, store = plan_of(write_recipe(folder, recipe)), Store(folder / "store")
    run_jobs([job for job in plan.jobs if job.step in ("demonstrate", "observe")], store, model=plan.model)
    (record,) = store.records("demonstration_sets")
    export_imatrix(store, given_sets({record.id: "fr-en"}, ()), folder / "model", folder / "fr-en.gguf")
    return folder / "fr-en.gguf"


def write_mixture(folder: Path, path: Path) -> None:
    """Write the stacks of experts of a model of Qwen 3, and its attention, as a GGUF file."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config, writer = model.config, gguf.GGUFWriter(path, "qwen3moe")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_expert_count(config.num_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3MOE, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        stacks = {"": tensor}
        if name.endswith("gate_up_proj"):
            stacks = dict(zip(("gate_proj", "up_proj"), tensor.chunk(2, dim=1), strict=True))
        for part, values in stacks.items():
            plain = name.removesuffix("gate_up_proj") + part if part else name.removesuffix(".weight")
            writer.add_tensor(f"{names.get_name(plain)}.weight", values.contiguous().numpy())
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()


def without_importance(log: list[str]) -> set[str]:
    """The weights of blocks of which llama.cpp logs that the matrix lacks them."""
    return set(re.findall(r"did not find weights for (\S+)", "".join(log))) - OUTSIDE_BLOCKS


def values(path: Path) -> dict[str, NDArray[np.float32]]:
    return {one.name: gguf.dequantize(one.data, one.tensor_type) for one in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3", "qwen3moe"])
def test_a_file_that_is_quantised_with_the_matrix_has_smaller_weighted_errors(
    architecture: str, tmp_path: Path
) -> None:
    matrix, source = written_matrix(tmp_path, architecture), tmp_path / "model.gguf"
    llama_cpp.quantise(source, tmp_path / "without.gguf", "Q4_0")
    importances = llama_cpp.importances(matrix)
    log = llama_cpp.quantise(source, tmp_path / "with.gguf", "Q4_0", importance=importances)
    assert without_importance(log) == set()
    exact, without, with_matrix = map(values, (source, tmp_path / "without.gguf", tmp_path / "with.gguf"))
    assert importances.keys() == {
        name for name in exact if name.startswith("blk.") and exact[name].ndim > 1 and ROUTER not in name
    }
    for name, importance in importances.items():
        weights = importance.reshape(*exact[name].shape[:-2], 1, -1)
        errors = [float((weights * (one[name] - exact[name]) ** 2).sum()) for one in (without, with_matrix)]
        assert 0 < errors[1] < errors[0], name
    others = exact.keys() - importances.keys()
    assert all(np.array_equal(without[name], with_matrix[name]) for name in others)


def test_a_weight_without_importance_is_logged(tmp_path: Path) -> None:
    importances = llama_cpp.importances(written_matrix(tmp_path, "llama"))
    half = {name: values for name, values in importances.items() if name.startswith("blk.0.")}
    log = llama_cpp.quantise(tmp_path / "model.gguf", tmp_path / "out.gguf", "Q4_0", importance=half)
    assert without_importance(log) == importances.keys() - half.keys()


def test_texts_are_scored_as_transformers_scores_them(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", "llama")
    import_model(tmp_path / "model.gguf", tmp_path / "model", dtype="float32", report=lambda line: None)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    texts = [[5, 9, 80, 31, 77, 12, 50], [7, 8], list(range(3, 60))]
    for text, nll in zip(texts, llama_cpp.text_nlls(tmp_path / "model.gguf", texts), strict=True):
        with torch.inference_mode():
            log_probs = model(torch.tensor([text])).logits[0, :-1].double().log_softmax(dim=-1)
        expected = -float(log_probs.gather(1, torch.tensor(text[1:])[:, None]).sum())
        assert nll == pytest.approx(expected, rel=0.01)  # llama.cpp rounds activations to 8 bits
